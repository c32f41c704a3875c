"""What precedes an entry of a layer's tar: nothing of a machine, a user or a day."""

from __future__ import annotations

import tarfile

EPOCH = 315532800
"""1980-01-01, the oldest date that a wheel can hold. Not the commit's: a layer of
dependencies must not change with every commit."""

_NAME = 100
_PREFIX = 155
"""Bytes of a path: of its end, and of the folders before that, which have a place of their own."""
_OCTAL = 8**11
"""Size of a file that no longer has its place."""


def header(path: str, kind: bytes, mode: int, size: int = 0, link: str = "") -> bytes:
    """Return an entry's header as `tarfile` writes it, PAX where a path is too long or not ASCII.

    Nearly every entry is a file whose path is neither. It is put together here: of some ten
    thousand, `tarfile` takes most of a second.
    """
    # As POSIX splits a path (ustar): where its end is as long as it can be.
    at = path.find("/", len(path) - _NAME - 1) if len(path) > _NAME else 0
    fits = 0 <= at <= _PREFIX and (at > 0 or len(path) <= _NAME)
    if kind == tarfile.REGTYPE and fits and path.isascii() and size < _OCTAL:
        name, prefix = (path[at + 1 :], path[:at]) if at else (path, "")
        start = name.encode("ascii").ljust(_NAME, b"\0") + b"%07o\0%b%011o\0%b" % (
            mode, _ROOT, size, _DATE,
        )  # fmt: skip
        end = prefix.encode("ascii").ljust(_END, b"\0")
        return b"%b%06o\0 %b%b" % (start, sum(start) + _SUM + sum(end), _MIDDLE, end)
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, size, link
    entry.mtime = EPOCH
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


_ROOT = b"0000000\0" * 2
_DATE = b"%011o\0" % EPOCH
_END = tarfile.BLOCKSIZE - 345
_MIDDLE = (tarfile.REGTYPE + bytes(_NAME) + b"ustar\x0000").ljust(345 - 156, b"\0")
_SUM = sum(_MIDDLE) + sum(b" " * 8)  # the checksum's own place counts as spaces
