"""Digests of files, kept so that no file is read twice.

BLAKE3 is as fast as memory is read, so what a digest costs is reading: into one
small buffer that stays in the processor's cache. A mapped file would be no faster,
and a file that is cut short while it is mapped kills the process.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
from blake3 import blake3

# As they were when this module was imported: a cell may replace `os.open`.
_open, _readv, _close = os.open, os.readv, os.close
_stat, _fstat = os.stat, os.fstat

_CHUNK = 512 << 10
_SMALL = 128 << 10
_BLOCK = 5000
"""Files that are looked up in the cache together."""

REST_NS = 2_000_000_000
"""Age of a change from which on a file's status tells a later one: a clock's tick may
be as long as that on some file systems, and two edits in one tick look alike."""


class FileDigest(msgspec.Struct, frozen=True, kw_only=True):
    """What a file held."""

    digest: str
    md5: str | None = None
    size: int
    stat: tuple[int, ...]
    """`signature` of the file when it was read."""
    rested: bool = True
    """Whether the file's last change was over for `REST_NS` when it was read."""


class DigestCache(Protocol):
    """Where digests are kept between sessions; `mlrepro_nb.store.FileDigests` is one."""

    def get_many(self, stats: Sequence[os.stat_result]) -> list[tuple[str, str | None] | None]:
        """Return (blake3, md5) of each file that is unchanged, None for the others."""

    def put_many(self, files: Sequence[tuple[os.stat_result, str, str | None]]) -> None:
        """Keep them."""

    def get_tree(self, fingerprint: str) -> tuple[str, int] | None:
        """Return digest and bytes of an unchanged folder."""

    def put_tree(self, fingerprint: str, digest: str, size: int) -> None:
        """Keep them."""

    def get_rows(self, digest: str) -> str | None:
        """Return the digest of a table's rows, by that of its file."""

    def put_rows(self, digest: str, rows: str) -> None:
        """Keep it."""


class ChangingFileError(OSError):
    """A file changes whenever it is read."""


def signature(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file's content does: an edit that restores mtime moves ctime."""
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


def rested(status: os.stat_result, now: int) -> bool:
    """Return whether a file's last change is long enough ago that its status tells the next."""
    return now - max(status.st_mtime_ns, status.st_ctime_ns) >= REST_NS


def regular(path: str) -> os.stat_result | None:
    """Return the status of a path if a regular file is there."""
    try:
        status = _stat(path)
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def hash_file(
    path: str, *, md5: bool = False, cache: DigestCache | None = None
) -> FileDigest | None:
    """Return a file's digest, or None where no regular file can be read as it rests.

    A file that changes while it is read is read again, three times at most.
    """
    try:
        return hash_resting(path, md5=md5, cache=cache)
    except ChangingFileError:
        return None


def hash_resting(
    path: str, *, md5: bool = False, cache: DigestCache | None = None
) -> FileDigest | None:
    """Return a file's digest, or None where no regular file can be read.

    Raises
    ------
    ChangingFileError
        It changed whenever it was read.
    """
    status = regular(path)
    if status is None:
        return None
    if cache is not None:
        (known,) = cache.get_many([status])
        if known is not None and (known[1] or not md5):
            return _known(status, known)
    found = _hashed(path, md5=md5)
    if found is not None and found[1].rested and cache is not None:
        cache.put_many([(found[0], found[1].digest, found[1].md5)])
    return found[1] if found else None


def hash_files(
    paths: Sequence[str], *, md5: bool = False, cache: DigestCache | None = None
) -> Iterator[FileDigest | None]:
    """Yield what `hash_file` returns for each of many files, in their order."""
    for start in range(0, len(paths), _BLOCK):
        block = paths[start : start + _BLOCK]
        states = [regular(path) for path in block]
        there = [status for status in states if status is not None]
        known = iter(cache.get_many(there) if cache is not None else [None] * len(there))
        fresh: list[tuple[os.stat_result, str, str | None]] = []
        for path, status in zip(block, states, strict=True):
            if status is None:
                yield None
                continue
            kept = next(known)
            if kept is not None and (kept[1] or not md5):
                yield _known(status, kept)
                continue
            try:
                found = _hashed(path, md5=md5)
            except ChangingFileError:
                found = None
            if found is not None and found[1].rested:
                fresh.append((found[0], found[1].digest, found[1].md5))
            yield found[1] if found else None
        if cache is not None and fresh:
            cache.put_many(fresh)


def hash_descriptor(descriptor: int, *, md5: bool = False) -> FileDigest:
    """Return the digest of the rest of an open file, whatever its path leads to by now.

    Raises
    ------
    ChangingFileError
        It changed while it was read.
    OSError
        It cannot be read.
    """
    now = time.time_ns()
    before = _fstat(descriptor)
    identity = blake3()
    second = hashlib.md5(usedforsecurity=False) if md5 else None
    left = before.st_size
    buffer = memoryview(bytearray(_CHUNK if left > _SMALL else left + 1))
    while left >= 0 and (count := _readv(descriptor, [buffer])):
        left -= count  # it may grow faster than it is read
        identity.update(buffer[:count])
        if second is not None:
            second.update(buffer[:count])
    after = _fstat(descriptor)
    # A name more or less moves ctime: unlinked or renamed, it still holds what it held.
    named = after.st_nlink == before.st_nlink
    if signature(after)[: 5 if named else 4] != signature(before)[: 5 if named else 4]:
        raise ChangingFileError(0, "the file changed while it was read")
    return FileDigest(
        digest=f"blake3:{identity.hexdigest()}",
        md5=f"md5:{second.hexdigest()}" if second is not None else None,
        size=before.st_size,
        stat=signature(before),
        rested=rested(before, now),
    )


def _hashed(path: str, *, md5: bool) -> tuple[os.stat_result, FileDigest] | None:
    for _ in range(3):
        try:
            descriptor = _open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            return None
        try:
            found = hash_descriptor(descriptor, md5=md5)
        except ChangingFileError:
            continue
        except OSError:
            return None
        finally:
            _close(descriptor)
        # Replaced meanwhile, the path holds something else.
        after = regular(path)
        if after is not None and signature(after) == found.stat:
            return after, found
        if after is None:
            return None
    raise ChangingFileError(0, f"{path} changed whenever it was read")


def _known(status: os.stat_result, known: tuple[str, str | None]) -> FileDigest:
    return FileDigest(
        digest=known[0], md5=known[1], size=status.st_size, stat=signature(status), rested=True
    )
