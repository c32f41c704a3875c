"""What a file holds now, taken before it changes."""

# ruff: noqa: PTH120
from __future__ import annotations

import contextlib
import os

_FICLONE = 0x40049409
"""``ioctl_ficlone(2)``: the same extents under another inode; btrfs, XFS, bcachefs, ZFS."""


def clone(path: str) -> int | None:
    """Return a descriptor of a copy of a file that takes no time, or None.

    The copy has no name, and its space is shared with the file until that changes.
    None where the file system cannot do it, which most cannot.
    """
    import fcntl

    temporary = getattr(os, "O_TMPFILE", None)
    if temporary is None:
        return None
    source = target = None
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        target = os.open(os.path.dirname(path), temporary | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.ioctl(target, _FICLONE, source)
    except (OSError, ValueError):
        if target is not None:
            os.close(target)
        return None
    finally:
        if source is not None:
            os.close(source)
    return target


def contents(file: str | int) -> bytes | None:
    """Return the bytes of a file, given by path or descriptor, or None where it changes or fails.

    A descriptor stays open.
    """
    descriptor = None
    try:
        descriptor = (
            os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if isinstance(file, str)
            else file
        )
        before = os.fstat(descriptor)
        data = bytearray(before.st_size)
        view, done = memoryview(data), 0
        while done < len(data):
            count = os.readv(descriptor, [view[done:]])
            if not count:
                return None
            done += count
        after = os.fstat(descriptor)
        same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        return bytes(data) if same else None
    except (OSError, ValueError, MemoryError):
        return None
    finally:
        if descriptor is not None and isinstance(file, str):
            with contextlib.suppress(OSError):
                os.close(descriptor)
