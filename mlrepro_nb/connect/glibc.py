"""The one door to glibc's list of shared libraries, ``/etc/ld.so.cache``.

What `ldconfig` would write, without running it: `dlopen` finds a library in a folder
of its own only by this list, and ``ctypes.util.find_library`` finds none without it.
The format is that of glibc 2.2 and later; since 2.32 there is no other in the file.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping

import msgspec

PATH = "/etc/ld.so.cache"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_EXTENDED = 1 << 62
"""Bit of an entry that says that it is for some processors only."""


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the list."""

    name: str
    path: str
    flags: int
    version: int = 0
    hardware: int = 0


def read(content: bytes) -> tuple[Library, ...] | None:
    """Return the libraries of a list; None where it is none, or says what is not known here."""
    if len(content) < _HEADER.size:
        return None
    magic, count, _, order, _ = _HEADER.unpack_from(content)
    if magic != _MAGIC or order not in (0, 2):
        return None
    found = []
    try:
        for at in range(count):
            values = _ENTRY.unpack_from(content, _HEADER.size + at * _ENTRY.size)
            flags, name, path, version, hardware = values
            if hardware & _EXTENDED:
                return None
            found.append(
                Library(
                    name=_text(content, name), path=_text(content, path), flags=flags,
                    version=version, hardware=hardware,
                )
            )  # fmt: skip
    except (struct.error, ValueError):
        return None
    return tuple(found)


def with_libraries(content: bytes, added: Mapping[str, str]) -> bytes | None:
    """Return a list with more libraries, paths by name; None where it cannot be read."""
    there = read(content)
    libc = next((entry for entry in there or () if entry.name.startswith("libc.so.")), None)
    if there is None or libc is None:
        return None
    new = [Library(name=name, path=path, flags=libc.flags) for name, path in added.items()]
    return _written([e for e in there if e.name not in added] + new)


def _written(entries: list[Library]) -> bytes:
    # The dynamic linker searches it by halves, from the greatest name to the least.
    place = functools.cmp_to_key(_compare)
    entries = sorted(entries, key=lambda e: (e.flags, e.hardware, e.path))
    entries.sort(key=lambda e: place(e.name.encode()), reverse=True)
    strings = bytearray()
    places: dict[str, int] = {}
    start = _HEADER.size + len(entries) * _ENTRY.size
    for text in (text for entry in entries for text in (entry.name, entry.path)):
        if text not in places:
            places[text] = start + len(strings)
            strings += text.encode() + b"\0"
    head = _HEADER.pack(_MAGIC, len(entries), len(strings), 2, 0)
    return head + b"".join(
        _ENTRY.pack(e.flags, places[e.name], places[e.path], e.version, e.hardware)
        for e in entries
    ) + bytes(strings)  # fmt: skip


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode()


def _compare(one: bytes, other: bytes) -> int:
    """Return the order of two names as the dynamic linker has it: runs of digits are numbers."""
    i = j = 0
    while i < len(one):
        here, there = one[i : i + 1], other[j : j + 1]
        if here.isdigit():
            if not there.isdigit():
                return 1
            first, i = _number(one, i)
            second, j = _number(other, j)
            if first != second:
                return first - second
        elif there.isdigit():
            return -1
        elif here != there:
            return ord(here) - (ord(there) if there else 0)
        else:
            i, j = i + 1, j + 1
    return -ord(other[j : j + 1]) if j < len(other) else 0


def _number(text: bytes, at: int) -> tuple[int, int]:
    end = at
    while text[end : end + 1].isdigit():
        end += 1
    return int(text[at:end]), end
