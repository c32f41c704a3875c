"""What comes over the network: fsspec and with it object stores, and the HTTP clients."""

from __future__ import annotations

import functools
import threading
from types import ModuleType
from typing import Any, Literal

from mlrepro_nb.capture.data.audit import Access, target
from mlrepro_nb.capture.data.readers.calls import (
    Call,
    argument,
    is_url,
    note_path,
    of_mode,
    opens,
    paths,
    scheme,
)
from mlrepro_nb.capture.data.readers.wrap import Note, Wrappers

READERS: dict[str, tuple[Call, ...]] = {
    "fsspec.core": (opens("open_files", "urlpath", kind="url"),),
}

# Archives and caches within another file system: what they are in is noted itself.
_INNER = frozenset({"zip", "tar", "dir", "simplecache", "filecache", "blockcache", "reference"})
_METHODS: dict[str, tuple[int, Access]] = {
    "cat": (0, "read"), "cat_file": (0, "read"), "cat_ranges": (0, "read"),
    "get": (0, "read"), "get_file": (0, "read"),
    "put": (1, "write"), "put_file": (1, "write"),
    "pipe": (0, "write"), "pipe_file": (0, "write"),
    "cp_file": (0, "read"), "copy": (0, "read"),
}  # fmt: skip
"""Position and access of the remote path."""
_NAMES = ("path", "rpath", "paths", "path1")
_LAYER = "wrapper:fsspec"


def wrap_filesystem(module: ModuleType, wrappers: Wrappers) -> None:
    """Wrap what every file system inherits."""

    def opening(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(args) > 1 or "path" in kwargs:
            mode = kwargs.get("mode", args[2] if len(args) > 2 else "rb")
            _note(args[0], argument(args, kwargs, "path", 1), of_mode(mode))

    wrappers.wrap(module, "AbstractFileSystem.open", opening)
    for name, (position, access) in _METHODS.items():
        wrappers.wrap(module, f"AbstractFileSystem.{name}", _of_method(position + 1, access))


def wrap_async_filesystem(module: ModuleType, wrappers: Wrappers) -> None:
    """Wrap what an asynchronous file system (S3, GCS, HTTP) makes of its coroutines."""
    original = module.sync_wrapper

    @functools.wraps(original)
    def sync_wrapper(func: Any, obj: Any = None) -> Any:
        made = original(func, obj=obj)
        known = _METHODS.get(getattr(func, "__name__", "").removeprefix("_"))
        if known is None or obj is None:
            return made
        note = _of_method(known[0], known[1], obj)

        @functools.wraps(made)
        def method(*args: Any, **kwargs: Any) -> Any:
            note(args, kwargs)
            return made(*args, **kwargs)

        return method

    wrappers.replace(module, "sync_wrapper", sync_wrapper)


def _of_method(position: int, access: Access, filesystem: Any = None) -> Note:
    def note(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = next((kwargs[name] for name in _NAMES if name in kwargs), None)
        if given is None and len(args) > position:
            given = args[position]
        owner = filesystem if filesystem is not None else args[0]
        if isinstance(given, dict):
            given = list(given)
        for one in given if isinstance(given, list | tuple) else (given,):
            _note(owner, one, access)

    return note


def _note(filesystem: Any, given: Any, access: Access) -> None:
    watch = target()
    if watch is None or given is None:
        return
    try:
        where = scheme(filesystem)
        if where in _INNER:
            return
        for path in (given,) if where else paths(given, inside=access != "write"):
            text = str(path)
            if where:
                # As its own kind of URL: an HTTP file system keeps the whole of it.
                stripped = str(filesystem._strip_protocol(text))  # noqa: SLF001
                text = stripped if is_url(stripped) else f"{where}://{stripped.lstrip('/')}"
            note_path(watch, text, access, _LAYER)
    except Exception as error:  # noqa: BLE001 - it must not become the user's exception
        watch.failed(error)


# --- HTTP and S3 clients

_SENDS = frozenset({"PUT", "PATCH", "DELETE"})


def request(layer: str) -> Note:
    """Return what notes ``request(self, method, url)``."""

    def note(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch = target()
        # What fsspec asks for in its own thread was noted as what it is.
        if watch is None or threading.current_thread().name == "fsspecIO":
            return
        try:
            method = str(argument(args, kwargs, "method", 1) or "GET").upper()
            url = argument(args, kwargs, "url", 2) or argument(args, kwargs, "str_or_url", 2)
            access: Literal["read", "write"] = "write" if method in _SENDS else "read"
            if url is not None and is_url(str(url)):
                watch.note_url(str(url), layer, access)
        except Exception as error:  # noqa: BLE001 - it must not become the user's exception
            watch.failed(error)

    return note


CLIENTS = {
    "requests.sessions": "Session.request", "httpx._client": "Client.request",
    "aiohttp.client": "ClientSession._request",
}  # fmt: skip


def wrap_client(module: ModuleType, wrappers: Wrappers) -> None:
    """Wrap an HTTP client's one way out."""
    layer = f"wrapper:{module.__name__.partition('.')[0]}"
    wrappers.wrap(module, CLIENTS[module.__name__], request(layer))
    if module.__name__ == "httpx._client":
        wrappers.wrap(module, "AsyncClient.request", request(layer))
        wrappers.wrap(module, "Client.stream", request(layer))


_S3_READS = frozenset({"GetObject", "HeadObject", "SelectObjectContent", "CopyObject"})
_S3_WRITES = frozenset({"PutObject", "CreateMultipartUpload", "DeleteObject"})


def wrap_botocore(module: ModuleType, wrappers: Wrappers) -> None:
    """Wrap boto3's one way out, for the objects of a bucket."""

    def note(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch = target()
        operation = argument(args, kwargs, "operation_name", 1)
        asked = argument(args, kwargs, "api_params", 2)
        if watch is None or not isinstance(asked, dict) or "Bucket" not in asked:
            return
        if operation in _S3_READS | _S3_WRITES and asked.get("Key"):
            url = f"s3://{asked['Bucket']}/{asked['Key']}"
            watch.note_url(url, "wrapper:botocore", "read" if operation in _S3_READS else "write")

    wrappers.wrap(module, "BaseClient._make_api_call", note)
