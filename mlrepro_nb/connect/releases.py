"""What the package index has of a distribution: its releases, and what is in their wheels.

Asked through the simple API (PEP 503, 691), which every mirror serves; of a wheel only the
end is fetched, where its table of contents is, and the one file that is wanted.
"""

from __future__ import annotations

import functools
import hashlib
import io
import time
import zipfile
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import msgspec

from mlrepro_nb.connect import index
from mlrepro_nb.connect.command import redact
from mlrepro_nb.errors import ToolError

_ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.1"
)
_TIMEOUT = (4.0, 20.0)
_PART = 1 << 16
_WHOLE = 32 << 20
"""A wheel that a server does not give in parts is fetched whole up to this size."""
_SULK = 60.0
"""Seconds for which an index that did not answer is not asked again."""
_silent: dict[str, float] = {}


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a distribution, as its index lists it."""

    name: str
    url: str
    yanked: bool = False
    requires_python: str | None = None
    uploaded: str | None = None
    """ISO time; None where the index does not say."""

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel."""
        return self.name.endswith(".whl")

    @property
    def is_pure(self) -> bool:
        """Whether it is a wheel of Python alone, for any platform."""
        return self.name.endswith("-none-any.whl")

    def fits(self, python: str) -> bool:
        """Whether it is a wheel that a Python of this version can install on this machine."""
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        if not self.is_wheel:
            return False
        try:
            tags = parse_wheel_filename(self.name)[3]
            needs = SpecifierSet(self.requires_python or "")
        except (InvalidWheelFilename, InvalidSpecifier):
            return False
        return bool(tags & _tags(python)) and needs.contains(python, prereleases=True)


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a distribution."""

    version: str
    files: tuple[File, ...]

    @property
    def wheel(self) -> File | None:
        """A wheel of it whose content stands for all: the one for any platform, if there is one."""
        wheels = [file for file in self.files if file.is_wheel]
        pure = [file for file in wheels if file.is_pure]
        linux = [file for file in wheels if "linux" in file.name and "x86_64" in file.name]
        return next(iter((*pure, *linux, *wheels)), None)

    def usable(self, python: str) -> bool:
        """Whether it has a wheel that a Python of this version can install on this machine."""
        return any(file.fits(python) for file in self.files)


def releases(name: str) -> list[Release] | None:
    """Return a distribution's final releases, the oldest first; None where the index has none.

    What was yanked is left out, and so are versions before a final one.

    Raises
    ------
    ToolError
        The index cannot be reached.
    """
    found = files(name)
    if found is None:
        return None
    from packaging.version import InvalidVersion, Version

    kept: dict[Version, list[File]] = {}
    for file in found:
        try:
            version = Version(str(_version(file.name)))
        except InvalidVersion:
            continue
        if not file.yanked and not version.is_prerelease:
            kept.setdefault(version, []).append(file)
    return [Release(version=str(v), files=tuple(kept[v])) for v in sorted(kept)]


@functools.lru_cache(maxsize=256)
def files(name: str) -> tuple[File, ...] | None:
    """Return the files that the index has of a distribution; None where it has no such.

    Raises
    ------
    ToolError
        The index cannot be reached, or refuses.
    """
    from packaging.utils import canonicalize_name

    settings = index.settings()
    found: list[File] | None = None
    for root in (settings.url or index.PYPI, *settings.extra_urls):
        page = _page(f"{root.rstrip('/')}/{canonicalize_name(name)}/")
        if page is not None:
            found = [*(found or ()), *page]
    return None if found is None else tuple(found)


def hashes(name: str, version: str, python: str) -> tuple[str, ...]:
    """Return the SHA-256 (hexadecimal) of what a Python would install of a version.

    The files are read for it: this is for an index whose pages give none (PEP 503 lets them).
    They are the wheels that fit, or, where none does, everything that there is.

    Raises
    ------
    ToolError
        The index cannot be reached, has no such file any more, or does not give it.
    """
    from packaging.utils import canonicalize_version

    wanted = canonicalize_version(version)
    there = [
        file for file in files(name) or ()
        if (of := _version(file.name)) is not None and canonicalize_version(of) == wanted
    ]  # fmt: skip
    if not there:
        raise ToolError(
            f"The package index {index.named()} gives no hash of {name} {version}, and has no file "
            "of it that could be hashed.",
            _HASHLESS,
            tool="index",
        )
    fitting = [file for file in there if file.fits(python)] or there
    try:
        return tuple(sorted({_hash(file) for file in fitting}))
    except ToolError as error:
        raise ToolError(
            f"The package index {index.named()} gives no hash of {name} {version}. {error.message}",
            _HASHLESS,
            tool="index",
        ) from None


_HASHLESS = (
    "Have the index give hashes (#sha256=… in its links), or see that its files can be downloaded "
    "from here; then record again."
)


def _hash(file: File) -> str:
    import requests

    digest = hashlib.sha256()
    with _get(file.url, **{"Accept-Encoding": "identity"}) as answer:
        if answer.status_code != 200:
            raise _unreadable(file.url, f"HTTP {answer.status_code}")
        try:
            for piece in answer.iter_content(1 << 20):
                digest.update(piece)
        except requests.RequestException as error:
            raise _unreadable(file.url, type(error).__name__) from None
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def members(file: File) -> frozenset[str]:
    """Return the paths of the files in a wheel.

    Raises
    ------
    ToolError
        It cannot be fetched or is no wheel.
    """
    with _opened(file) as wheel:
        return frozenset(wheel.namelist())


@functools.lru_cache(maxsize=64)
def member(file: File, path: str) -> bytes:
    """Return one file of a wheel.

    Raises
    ------
    ToolError
        It cannot be fetched, is no wheel, or lacks the file.
    """
    with _opened(file) as wheel:
        try:
            return wheel.read(path)
        except (KeyError, zipfile.BadZipFile, OSError) as error:
            raise _unreadable(file.url, str(error)) from None


def provides(file: File, module: str) -> bool:
    """Whether a wheel has a module or package, by its dotted name.

    Raises
    ------
    ToolError
        It cannot be fetched or is no wheel.
    """
    path = module.replace(".", "/")
    return any(
        name.startswith(f"{path}/") or (
            name.startswith(f"{path}.") and name.endswith((".py", ".so", ".pyd", ".pyi"))
        )
        for name in map(_installed, members(file))
    )  # fmt: skip


def _installed(path: str) -> str:
    """Return where a wheel's file gets to: what is in ``NAME.data/purelib`` goes to the root."""
    head, _, rest = path.partition("/")
    kind, _, inner = rest.partition("/")
    return inner if head.endswith(".data") and kind in ("purelib", "platlib") else path


def forget() -> None:
    """Forget what an index said, and that one did not answer."""
    files.cache_clear()
    _silent.clear()


def _version(name: str) -> str | None:
    from packaging.utils import (
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )

    try:
        if name.endswith(".whl"):
            return str(parse_wheel_filename(name)[1])
        return str(parse_sdist_filename(name)[1])
    except (InvalidSdistFilename, InvalidWheelFilename):
        return None


@functools.lru_cache(maxsize=8)
def _tags(python: str) -> frozenset[Any]:
    """Return the tags of wheels that a CPython of a version installs on this machine."""
    from packaging import tags

    major, minor = (int(part) for part in python.split(".")[:2])
    return frozenset(
        [*tags.cpython_tags((major, minor)),
         *tags.compatible_tags((major, minor), f"cp{major}{minor}")]
    )  # fmt: skip


# --- HTTP


def _get(url: str, **headers: str) -> Any:
    import requests

    settings = index.settings()
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if time.monotonic() - _silent.get(host, -_SULK) < _SULK:
        raise _unreachable(url, "it did not answer a moment ago")
    authorities = index.ca_bundle()
    verify: bool | str = str(authorities) if authorities else True
    if {host, parts.hostname} & set(settings.trusted_hosts):
        verify = False
    proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else None
    try:
        return requests.get(
            url, headers=headers, timeout=_TIMEOUT, verify=verify, proxies=proxies, stream=True
        )
    except requests.RequestException as error:
        _silent[host] = time.monotonic()
        raise _unreachable(url, type(error).__name__) from None


def _page(url: str) -> list[File] | None:
    import requests

    with _get(url, Accept=_ACCEPT) as answer:
        if answer.status_code in (404, 410):
            return None
        if answer.status_code != 200:
            raise _unreachable(url, f"HTTP {answer.status_code}")
        try:
            content, kind = answer.content, answer.headers.get("Content-Type", "")
        except requests.RequestException as error:
            raise _unreachable(url, type(error).__name__) from None
    if "json" in kind:
        return _from_json(content, url)
    reader = _Links(answer.url)
    reader.feed(content.decode("utf-8", "replace"))
    return reader.files


def _from_json(content: bytes, url: str) -> list[File]:
    try:
        listed = msgspec.json.decode(content)["files"]
        return [
            File(
                name=entry["filename"], url=urljoin(url, entry["url"]),
                yanked=bool(entry.get("yanked")), requires_python=entry.get("requires-python"),
                uploaded=entry.get("upload-time"),
            )
            for entry in listed
        ]  # fmt: skip
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise _unreachable(url, f"no list of files: {error}") from None


class _Links(HTMLParser):
    """Reads the anchors of a page of the simple API."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.files: list[File] = []
        self._base = base

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "base":
            self._base = urljoin(self._base, told.get("href") or "")
        if tag != "a" or not told.get("href"):
            return
        url = urldefrag(urljoin(self._base, str(told["href"])))[0]
        self.files.append(File(
            name=urlsplit(url).path.rpartition("/")[2], url=url, yanked="data-yanked" in told,
            requires_python=told.get("data-requires-python"),
            uploaded=told.get("data-upload-time"),
        ))  # fmt: skip


class _Remote(io.RawIOBase):
    """A file behind HTTP of which only the parts are fetched that are read."""

    def __init__(self, url: str) -> None:
        self._url, self._place = url, 0
        self._parts: list[tuple[int, bytes]] = []
        with _get(url, Range=f"bytes=-{_PART}", **{"Accept-Encoding": "identity"}) as answer:
            if answer.status_code == 206:
                self.size = int(answer.headers["Content-Range"].rpartition("/")[2])
                tail = self._body(answer)
            elif answer.status_code == 200 and (
                int(answer.headers.get("Content-Length") or _WHOLE) < _WHOLE
            ):
                tail = self._body(answer)
                self.size = len(tail)
            else:
                raise _unreadable(url, f"HTTP {answer.status_code}")
        self._parts.append((self.size - len(tail), tail))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        self._place = start + offset
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        end = self.size if size is None or size < 0 else min(self.size, self._place + size)
        if end <= self._place:
            return b""
        found = self._at(self._place, end)
        self._place = end
        return found

    def _at(self, begin: int, end: int) -> bytes:
        for start, content in self._parts:
            if start <= begin and end <= start + len(content):
                return content[begin - start : end - start]
        last = min(self.size, max(end, begin + _PART))
        with _get(
            self._url, Range=f"bytes={begin}-{last - 1}", **{"Accept-Encoding": "identity"}
        ) as answer:
            if answer.status_code != 206:
                raise _unreadable(self._url, f"HTTP {answer.status_code}")
            content = self._body(answer)
        self._parts.append((begin, content))
        return content[: end - begin]

    def _body(self, answer: Any) -> bytes:
        import requests

        try:
            return bytes(answer.content)
        except requests.RequestException as error:
            raise _unreadable(self._url, type(error).__name__) from None


def _opened(file: File) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(_Remote(file.url))
    except (zipfile.BadZipFile, ValueError, KeyError, OSError) as error:
        raise _unreadable(file.url, str(error)) from None


def _unreachable(url: str, why: str) -> ToolError:
    return ToolError(
        f"The package index cannot be asked: {redact(url)} ({why}).",
        "Connect, or set the index in pip's or uv's configuration.",
        tool="index",
    )


def _unreadable(url: str, why: str) -> ToolError:
    return ToolError(
        f"The index's {redact(url).rpartition('/')[2]} cannot be looked into ({why}).",
        "Try again later, or ask another index.",
        tool="index",
    )


def newest(listed: Iterable[Release], python: str | None = None) -> Release | None:
    """Return the newest of some releases, of those with a wheel for a Python where one is named."""
    fitting = [r for r in listed if python is None or r.usable(python)]
    return fitting[-1] if fitting else None
