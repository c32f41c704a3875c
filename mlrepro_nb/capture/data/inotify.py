"""Linux's inotify, by the three calls of libc that it is."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

OPEN = 0x20
CLOSE_WRITE = 0x08
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
OVERFLOW = 0x4000
IGNORED = 0x8000
_ONLYDIR = 0x01000000
_DONT_FOLLOW = 0x02000000
IS_FOLDER = 0x40000000

_WANTED = OPEN | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | _ONLYDIR
_EVENT = struct.Struct("iIII")
_BATCH = 1 << 20
"""Bytes that are read at once."""


class Inotify:
    """Tells what is opened, created and renamed in folders, without saying by whom.

    Raises
    ------
    OSError
        This system has no inotify, or no more instances.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._add, init = libc.inotify_add_watch, libc.inotify_init1
        except AttributeError:
            raise OSError("no inotify") from None
        self._add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self.handle = int(init(os.O_NONBLOCK | os.O_CLOEXEC))
        if self.handle < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def watch(self, folder: str) -> int:
        """Look at a folder and return the number that events of it carry.

        Raises
        ------
        OSError
            It is no folder, cannot be read, or there may be no more watches (ENOSPC).
        """
        number = int(self._add(self.handle, os.fsencode(folder), _WANTED | _DONT_FOLLOW))
        if number < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", folder)
        return number

    def read(self) -> bytes:
        """Return what there is, raw, or nothing; it never waits."""
        try:
            return os.read(self.handle, _BATCH)
        except (BlockingIOError, InterruptedError):
            return b""

    def close(self) -> None:
        """Look at nothing any more."""
        os.close(self.handle)


def events(raw: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield (number of the folder, what happened, name) of each event in what `read` returned."""
    at = 0
    while at + _EVENT.size <= len(raw):
        number, mask, _cookie, length = _EVENT.unpack_from(raw, at)
        at += _EVENT.size
        yield number, mask, os.fsdecode(raw[at : at + length].rstrip(b"\0"))
        at += length


def most_watches() -> int:
    """Return how many folders this user may look at."""
    try:
        with open("/proc/sys/fs/inotify/max_user_watches", encoding="ascii") as limit:
            return int(limit.read())
    except (OSError, ValueError):
        return 8192
