"""Bytes from wherever a URL or a path leads: this machine, HTTP, or what fsspec reads.

A transfer may begin in the middle, so that one that was cut off goes on.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from mlrepro_nb.connect.command import redact
from mlrepro_nb.errors import ToolError

CHUNK = 1 << 20
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two bytes."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class CutOffError(ToolError):
    """A transfer did not come to its end; another try may."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials for HTTP."""

    user: str | None = None
    password: str | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return "Login(…)"


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes on their way."""

    start: int
    """Where they begin, which may be earlier than was asked for."""
    chunks: Iterator[bytes]


@contextlib.contextmanager
def opened(place: str, start: int = 0, login: Login | None = None) -> Iterator[Transfer | None]:
    """Yield the bytes of a place from `start` on; None where nothing is there.

    Parameters
    ----------
    place
        A path, or a URL. HTTP's credentials are those given, else those of a
        ``.netrc`` file; other systems' are found as their libraries find them.

    Raises
    ------
    CutOffError
        It did not answer, or stopped in the middle.
    ToolError
        It refuses, or what would read it is not installed.
    """
    scheme = place.partition("://")[0].lower() if "://" in place else "file"
    if scheme == "file":
        opening = _file(place, start)
    elif scheme in ("http", "https"):
        opening = _http(place, start, login)
    else:
        opening = _fsspec(place, scheme, start)
    with opening as found:
        yield found


@contextlib.contextmanager
def _file(place: str, start: int) -> Iterator[Transfer | None]:
    path = Path(unquote(urlsplit(place).path) if "://" in place else place)
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        yield None
        return
    except OSError as error:
        raise ToolError(
            f"{path} cannot be read by user {os.getuid()}: {error.strerror or error}.",
            "Give that user the right to read it, or mount it again.",
            tool="data",
        ) from None
    with file:
        file.seek(start)
        yield Transfer(start=start, chunks=_pieces(file, str(path)))


def _pieces(file: Any, place: str) -> Iterator[bytes]:
    try:
        while piece := file.read(CHUNK):
            yield piece
    except OSError as error:
        raise _cut_off(place, str(error)) from error


@contextlib.contextmanager
def _http(place: str, start: int, login: Login | None) -> Iterator[Transfer | None]:
    import requests

    # Not compressed on the way: an offset counts the file's own bytes.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    auth: Any = None
    if login is not None and login.token:
        auth = _Bearer(login.token)
    elif login is not None and login.user:
        auth = (login.user, login.password or "")
    try:
        answer = requests.get(place, headers=headers, auth=auth, stream=True, timeout=TIMEOUT)
    except requests.exceptions.SSLError as error:
        raise ToolError(
            f"The TLS certificate of {_host(place)} cannot be verified.",
            "Mount the network's certificate authorities and name the file with "
            "REQUESTS_CA_BUNDLE.",
            tool="data",
        ) from error
    except requests.RequestException as error:
        raise _cut_off(place, type(error).__name__) from error
    with answer:
        status = answer.status_code
        if status in (404, 410):
            yield None
            return
        if status == 416:  # all of it is there already, or it is shorter than what is there
            yield Transfer(start=start, chunks=iter(()))
            return
        if status in _BUSY:
            raise _cut_off(place, f"HTTP {status}")
        if status not in (200, 206):
            raise _refused(place, f"HTTP {status}")
        begins = 0
        if status == 206:
            said = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            begins = int(said[1]) if said else start
        yield Transfer(start=begins, chunks=_streamed(answer, place))


class _Bearer:
    """A token, not replaced by what a ``.netrc`` says."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _streamed(answer: Any, place: str) -> Iterator[bytes]:
    import requests

    try:
        yield from answer.iter_content(CHUNK)
    except (requests.RequestException, OSError) as error:
        raise _cut_off(place, type(error).__name__) from error


@contextlib.contextmanager
def _fsspec(place: str, scheme: str, start: int) -> Iterator[Transfer | None]:
    try:
        fsspec: Any = import_module("fsspec")
        file = fsspec.open(place, "rb").open()
    except (ImportError, ValueError) as error:
        raise ToolError(
            f"What reads {scheme}:// is not in this environment ({error}).",
            "Install it in the kernel's environment (s3:// wants s3fs, gs:// gcsfs, az:// adlfs) "
            "and record again, or mount the data.",
            tool="data",
        ) from error
    except FileNotFoundError:
        yield None
        return
    except Exception as error:
        raise _refused(place, f"{type(error).__name__}: {redact(str(error))[:200]}") from error
    with file:
        if start:
            file.seek(start)
        yield Transfer(start=start, chunks=_pieces(file, place))


def _host(place: str) -> str:
    return urlsplit(place).hostname or redact(place)


def _cut_off(place: str, why: str) -> CutOffError:
    return CutOffError(
        f"{redact(place)} could not be read to its end ({why}).",
        "Check the network, and start again: what arrived is kept.",
        tool="data",
    )


def _refused(place: str, why: str) -> ToolError:
    return ToolError(
        f"{redact(place)} cannot be read ({why}).",
        "Give credentials: MLREPRO_DVC_USER and MLREPRO_DVC_PASSWORD or MLREPRO_DVC_TOKEN for "
        "DVC's remote over HTTP, a mounted .netrc for other hosts, or those of the cloud "
        "(AWS_ACCESS_KEY_ID…), from a Secret.",
        tool="data",
    )
