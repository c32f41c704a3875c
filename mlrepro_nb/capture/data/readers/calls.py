"""How a call names the files that it opens."""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH110, PTH111, PTH112, PTH118, PTH207
from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from mlrepro_nb.capture.data.audit import Access, target
from mlrepro_nb.capture.data.readers.wrap import Note

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LONGEST = 4096


class Call(msgspec.Struct, frozen=True):
    """A function that opens files, and which of its arguments names them."""

    attribute: str
    """In its module: ``read_csv``, ``File.__init__``, or a class."""
    parameter: str
    position: int
    """Without ``self``."""
    access: Access | Literal["mode"]
    """``mode`` where the argument after it, or the one called so, tells."""
    kind: Literal["path", "url", "uri"] = "path"
    """``url``: only what is remote counts, others see the rest. ``uri``: a path that may have
    ``?format=csv`` or ``#cache`` after it."""


def reads(attribute: str, parameter: str, position: int = 0, **options: Any) -> Call:
    """Describe a function that reads."""
    return Call(attribute, parameter, position, "read", **options)


def writes(attribute: str, parameter: str, position: int = 0, **options: Any) -> Call:
    """Describe a function that writes."""
    return Call(attribute, parameter, position, "write", **options)


def opens(attribute: str, parameter: str, position: int = 0, **options: Any) -> Call:
    """Describe a function whose `mode` says what it does."""
    return Call(attribute, parameter, position, "mode", **options)


def noting(call: Call, layer: str) -> Note:
    """Return what a wrapper of the function tells of each call."""
    shift = call.position + ("." in call.attribute)

    def note(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch = target()
        if watch is None:
            return
        try:
            given = argument(args, kwargs, call.parameter, shift)
            access = call.access
            if access == "mode":
                access = of_mode(argument(args, kwargs, "mode", shift + 1))
            elsewhere = scheme(kwargs.get("filesystem"))
            found = paths(given, uri=call.kind == "uri", remote=elsewhere, inside=access != "write")
            for path in found:
                note_path(watch, path, access, layer, url_only=call.kind == "url")
        except Exception as error:  # noqa: BLE001 - it must not become the user's exception
            watch.failed(error)

    return note


def note_path(watch: Any, path: str, access: Access, layer: str, *, url_only: bool = False) -> None:
    """Tell a watch of a path or URL."""
    if is_url(path):
        watch.note_url(path, layer, "write" if access == "write" else "read")
    elif not url_only:
        watch.note(path, access, layer)


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], name: str, position: int) -> Any:
    """Return an argument that was given by name or position, or None."""
    if name in kwargs:
        return kwargs[name]
    return args[position] if len(args) > position else None


def of_mode(mode: Any) -> Access:
    """Return what a mode like ``r+`` does; None is ``r``."""
    text = str(mode or "r")
    if text.strip("btU") == "r" or text == "read":
        return "read"
    return "write" if text[0] in "wx" else "both"


def is_url(path: str) -> bool:
    """Return whether this names something that is not in a local file system."""
    return _URL.match(path) is not None


def scheme(filesystem: Any) -> str | None:
    """Return the scheme of an Arrow or fsspec file system, or None for the local one."""
    if filesystem is None or isinstance(filesystem, str):
        return None
    name = getattr(filesystem, "type_name", None)
    if name is None:
        protocol = getattr(filesystem, "protocol", None)
        name = protocol[0] if isinstance(protocol, list | tuple) and protocol else protocol
    if not isinstance(name, str) or name in ("local", "file", "subtree", "mock", "abstract"):
        return None
    return name.removeprefix("py::fsspec+").removeprefix("py::")


def paths(
    given: Any, *, uri: bool = False, remote: str | None = None, inside: bool = True
) -> Iterator[str]:
    """Yield the files that an argument names: a path, a pattern, a folder, or several.

    Parameters
    ----------
    given : object
        The argument; what is no path names none.
    uri : bool
        Whether a query or fragment may follow the path.
    remote : str, optional
        Scheme of the file system that the path is in, if it is not the local one.
    inside : bool
        Whether a folder or pattern stands for the files that it has now: it is read.
    """
    if isinstance(given, bytes):
        # A path or the very data; only one that exists is a path.
        given = os.fsdecode(given) if len(given) < _LONGEST and os.path.exists(given) else None
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
        given = os.fsdecode(given) if isinstance(given, bytes) else given
    if isinstance(given, str):
        yield from _named(given, uri=uri, remote=remote, inside=inside)
    elif isinstance(given, list | tuple):
        for one in given:
            if isinstance(one, str | os.PathLike):
                yield from paths(one, uri=uri, remote=remote, inside=inside)


def _named(text: str, *, uri: bool, remote: str | None, inside: bool) -> Iterator[str]:
    if not text or "\n" in text or "\0" in text or len(text) > _LONGEST:
        return
    text = text.rpartition("::")[2] if "::" in text and "://" in text else text
    if text.startswith(("file://", "local://")):
        text = text.partition("://")[2]
    elif is_url(text):
        yield text
        return
    if remote is not None:
        yield f"{remote}://{text.lstrip('/')}"
        return
    if text.startswith("~"):
        text = os.path.expanduser(text)
    if uri and not os.path.exists(text):
        text = re.split(r"[?#]", text)[0]
    if not inside:
        yield text
    elif os.path.isdir(text):
        yield from _inside(text)
    elif any(mark in text for mark in "*?[") and not os.path.exists(text):
        for match in sorted(glob.glob(text, recursive=True)):
            yield from _inside(match) if os.path.isdir(match) else (match,)
    else:
        yield text


def _inside(folder: str) -> Iterator[str]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        yield from (os.path.join(where, name) for name in sorted(names)
                    if not name.startswith((".", "_")))  # fmt: skip
