"""What precedes an entry of a layer's tar: nothing of a machine, a user or a day."""

from __future__ import annotations

import tarfile

EPOCH = 315532800
"""1980-01-01, the oldest date that a wheel can hold. Not the commit's: a layer of
dependencies must not change with every commit."""

_NAME = 100
"""Bytes of a path that need no second header."""
_OCTAL = 8**11
"""Size of a file that no longer has its place."""


def header(path: str, kind: bytes, mode: int, size: int = 0, link: str = "") -> bytes:
    """Return an entry's header as `tarfile` writes it, PAX where a name is too long or not ASCII.

    Nearly every entry is a file with a short name. It is put together here: of some ten
    thousand, `tarfile` takes most of a second.
    """
    if kind == tarfile.REGTYPE and len(path) <= _NAME and path.isascii() and size < _OCTAL:
        start = path.encode("ascii").ljust(_NAME, b"\0") + b"%07o\0%b%011o\0%b" % (
            mode, _ROOT, size, _DATE,
        )  # fmt: skip
        return b"%b%06o\0 %b" % (start, sum(start) + _SUM, _REST)
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, size, link
    entry.mtime = EPOCH
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


_ROOT = b"0000000\0" * 2
_DATE = b"%011o\0" % EPOCH
_REST = (tarfile.REGTYPE + bytes(_NAME) + b"ustar\x0000").ljust(tarfile.BLOCKSIZE - 156, b"\0")
_SUM = sum(_REST) + sum(b" " * 8)  # the checksum's own place counts as spaces
