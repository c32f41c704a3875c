"""Small files out of an image's layers, as a container would see them."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from mlrepro_nb.connect.oci._opened import opened

_LARGEST = 64 << 20

_Found = TypeVar("_Found")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file or a symbolic link of a layer."""

    content: bytes = b""
    link: str | None = None
    """Where it leads."""


def texts_in(layer: Path, wanted: re.Pattern[str]) -> dict[str, str | None]:
    """Return the files of one layer whose absolute path matches, and what it hides below.

    None stands for a path that is hidden; one that ends in ``/`` is a folder of
    which nothing below is seen.
    """
    return {
        name: None if entry is None else entry.content.decode("utf-8", "replace")
        for name, entry in entries_in(layer, wanted).items()
        if entry is None or entry.link is None
    }


def entries_in(layer: Path, wanted: re.Pattern[str]) -> dict[str, Entry | None]:
    """Return files and links of one layer whose absolute path matches, and what it hides below."""
    found: dict[str, Entry | None] = {}
    with opened(layer) as archive:
        for member in archive:
            name = posixpath.normpath(f"/{member.name}")
            folder, base = posixpath.split(name)
            if base == ".wh..wh..opq":
                found.setdefault(folder.rstrip("/") + "/", None)
            elif base.startswith(".wh."):
                found.setdefault(posixpath.join(folder, base[4:]), None)
            elif wanted.fullmatch(name) and member.isfile() and member.size <= _LARGEST:
                found[name] = Entry(content=_content(archive, member))
            elif wanted.fullmatch(name) and member.issym():
                found[name] = Entry(link=member.linkname)
    # A layer may bring anew what it hides; folders that it hides lead nowhere else.
    return {k: v for k, v in found.items() if v is not None or _leads(k, wanted)}


def _leads(hidden: str, wanted: re.Pattern[str]) -> bool:
    """Whether hiding a path can hide a wanted file: it, or a folder of the usual few above it."""
    return bool(wanted.fullmatch(hidden)) or hidden.count("/") <= 4


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file is not None else b""


def stacked(layers: Iterable[Mapping[str, _Found | None]]) -> dict[str, _Found]:
    """Return what is left to be seen of layers, the lowest first."""
    seen: dict[str, _Found] = {}
    for layer in layers:
        for hidden in (name for name, text in layer.items() if text is None):
            inside = hidden if hidden.endswith("/") else f"{hidden}/"
            for name in [n for n in seen if n == hidden or n.startswith(inside)]:
                del seen[name]
        seen |= {name: text for name, text in layer.items() if text is not None}
    return seen
