"""What an outside store calls that which was read, where its answer says so, and what it held.

Nothing is asked for: an HTTP response names an ETag or a date, S3 a version, a Delta
table the version that was opened, a lakeFS path its commit. The answer to a GET that the
user's code has read as a whole is hashed as it was handed over.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from mlrepro_nb.capture.data.audit import as_path
from mlrepro_nb.capture.data.readers.wrap import Wrappers
from mlrepro_nb.capture.imports import ImportHook
from mlrepro_nb.capture.secrets import mask
from mlrepro_nb.capture.watch import Recording, Watch


class Answer(NamedTuple):
    """What a call told of what it read."""

    path: str
    """Or URL, as it was asked for."""
    version: str | None = None
    content: bytes | None = None
    """All that it held, if it is all here."""


Answered = Callable[[tuple[Any, ...], dict[str, Any], Any], Answer | None]
"""Returns what was told, from a call's arguments and its result."""


def of_headers(headers: Mapping[str, Any]) -> str | None:
    """Return the version that an HTTP response names, the most exact one."""
    told = {str(name).lower(): str(value) for name, value in headers.items()}
    for name, kind in (
        ("x-amz-version-id", "s3"), ("x-goog-generation", "gcs"), ("etag", "etag"),
        ("last-modified", "last-modified"),
    ):  # fmt: skip
        if told.get(name, "null") not in ("null", ""):
            return f"{kind}:{told[name]}"
    return None


def of_url(url: str) -> str | None:
    """Return the version that a URL itself names."""
    parts = urlsplit(url)
    if parts.scheme == "lakefs":
        reference = parts.path.lstrip("/").partition("/")[0]
        return f"lakefs:{reference}" if reference else None
    asked = parse_qs(parts.query)
    for name in ("versionId", "versionid", "generation"):
        if name in asked:
            return f"{'gcs' if name == 'generation' else 's3'}:{asked[name][0]}"
    return None


class VersionWatch(Watch):
    """Reports, as ``version`` events, what outside stores call that which was read, and its digest.

    Parameters
    ----------
    recording : Recording
        The recorder.
    """

    title = "versions of outside data"

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._wrappers = Wrappers()
        self._last: dict[tuple[str, bool], tuple[str | None, str | None]] = {}
        """What was last told of a path: its version and digest, by whether there was a content."""
        self._hook = ImportHook({name: functools.partial(self._wrap, name) for name in _ANSWERS})

    def start(self) -> None:
        """Wrap what is imported, and what will be."""
        self._hook.start()

    def stop(self) -> None:
        """Leave the libraries as they were found."""
        self._hook.stop()
        self._wrappers.restore()

    def _wrap(self, name: str, module: ModuleType) -> None:
        for attribute, answered in _ANSWERS[name]:
            owner, _, method = attribute.partition(".")
            found: Any = getattr(module, owner, None)
            original = getattr(found, method, None)
            if original is not None:
                stand_in = _telling(original, functools.partial(self._note, answered))
                self._wrappers.replace_method(found, method, stand_in)

    def _note(self, answered: Answered, args: tuple[Any, ...], kwargs: Any, result: Any) -> None:
        try:
            told = answered(args, kwargs, result)
            order = self._recording.current()
            # Only inside a cell: the rest is somebody else's.
            if told is None or order is None:
                return
            path, version = told.path, mask(told.version) if told.version else None
            digest = _digest(told.content) if told.content is not None else None
            if "://" in path:
                path = mask(path)
            key, found = (path, told.content is not None), (version, digest)
            if found in ((None, None), self._last.get(key)):
                return
            self._last[key] = found
            data: dict[str, Any] = {"path": path, "version": version}
            if told.content is not None:
                data |= {"digest": digest, "size": len(told.content), "order": order}
            self._recording.emit("version", data)
        except Exception:  # noqa: BLE001 - it must not become the user's exception
            pass


def _telling(original: Any, tell: Callable[..., None]) -> Any:
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def later(*args: Any, **kwargs: Any) -> Any:
            result = await original(*args, **kwargs)
            tell(args, kwargs, result)
            return result

        return later

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        tell(args, kwargs, result)
        return result

    return wrapper


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], name: str, position: int) -> Any:
    return kwargs.get(name, args[position] if len(args) > position else None)


def _digest(content: bytes) -> str:
    from blake3 import blake3

    return f"blake3:{blake3(content).hexdigest()}"


def _of_request(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Answer:
    """``request(self, method, url)``: requests, httpx, aiohttp."""
    url = str(_argument(args, kwargs, "url", 2) or kwargs.get("str_or_url"))
    method = str(_argument(args, kwargs, "method", 1) or "")
    # Not by the property: it would read what the user's code reads by and by.
    content = vars(result).get("_content")
    whole = method.upper() == "GET" and getattr(result, "status_code", None) == _OK
    return Answer(
        url,
        of_url(url) or of_headers(result.headers),
        content if whole and isinstance(content, bytes) else None,
    )


_OK = 200


def _of_aiohttp(args: tuple[Any, ...], _kwargs: dict[str, Any], result: Any) -> Answer | None:
    """``read(self)`` of aiohttp's response: what it returns is all that it held."""
    response = args[0]
    if response.method != "GET" or response.status != _OK:
        return None
    first = response.history[0] if response.history else response
    return Answer(str(first.url), content=result)


_opened: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""Responses that urllib opened, and how their URL was spelled."""


def _of_urlopen(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Answer:
    given = _argument(args, kwargs, "fullurl", 1)
    url = str(getattr(given, "full_url", given))
    method = given.get_method() if hasattr(given, "get_method") else None
    posts = _argument(args, kwargs, "data", 2) is not None or method not in (None, "GET")
    if not posts and getattr(result, "status", None) == _OK:
        _opened[result] = url
    return Answer(url, of_url(url) or of_headers(result.headers))


def _of_read(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Answer | None:
    """``read(self, amt=None)`` of a response that urllib opened: all of it, or it counts not."""
    response = args[0]
    if _argument(args, kwargs, "amt", 1) is not None or response not in _opened:
        return None
    length = response.headers.get("Content-Length")
    if length is not None and length != str(len(result)):
        return None  # some of it was read before
    return Answer(_opened.pop(response), content=result)


def _of_s3(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Answer | None:
    asked = _argument(args, kwargs, "api_params", 2)
    if _argument(args, kwargs, "operation_name", 1) not in ("GetObject", "HeadObject"):
        return None
    version, etag = result.get("VersionId"), result.get("ETag")
    found = f"s3:{version}" if version not in (None, "null") else etag and f"etag:{etag}"
    return Answer(f"s3://{asked['Bucket']}/{asked['Key']}", found)


def _of_delta(args: tuple[Any, ...], kwargs: dict[str, Any], _result: Any) -> Answer | None:
    given = as_path(_argument(args, kwargs, "table_uri", 1))
    return Answer(given, f"delta:{args[0].version()}") if given else None


_ANSWERS: dict[str, tuple[tuple[str, Answered], ...]] = {
    "urllib.request": (("OpenerDirector.open", _of_urlopen),),
    "http.client": (("HTTPResponse.read", _of_read),),
    "requests.sessions": (("Session.request", _of_request),),
    "httpx._client": (("Client.request", _of_request), ("AsyncClient.request", _of_request)),
    "aiohttp.client": (("ClientSession._request", _of_request),),
    "aiohttp.client_reqrep": (("ClientResponse.read", _of_aiohttp),),
    "botocore.client": (("BaseClient._make_api_call", _of_s3),),
    "aiobotocore.client": (("AioBaseClient._make_api_call", _of_s3),),
    "deltalake.table": (("DeltaTable.__init__", _of_delta),),
}
