"""Digests of files, kept so that no file is read twice."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from typing import Any, Protocol

import msgspec
from blake3 import blake3

# As they were when this module was imported: a cell may replace `builtins.open`.
_open = io.open
_stat = os.stat

_CHUNK = 4 << 20


class FileDigest(msgspec.Struct, frozen=True, kw_only=True):
    """What a file held."""

    digest: str
    md5: str | None = None
    size: int
    stat: tuple[int, ...]
    """`signature` of the file when it was read."""


class DigestCache(Protocol):
    """Where digests are kept between sessions; `mlrepro_nb.store.Store` is one."""

    def cached_digest(self, stat: os.stat_result) -> tuple[str, str | None] | None:
        """Return (blake3, md5) of an unchanged file."""

    def cache_digest(self, stat: os.stat_result, blake3: str, md5: str | None) -> None:
        """Keep them."""


def signature(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file's content does: an edit that restores mtime moves ctime."""
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


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
    """Return a file's digest, or None where no regular file can be read.

    A file that changes while it is read is read again, three times at most.
    """
    for _ in range(3):
        before = regular(path)
        if before is None:
            return None
        kept = _cached(cache, before)
        if kept and (kept[1] or not md5):
            return FileDigest(
                digest=kept[0], md5=kept[1], size=before.st_size, stat=signature(before)
            )
        identity, second = blake3(), hashlib.md5(usedforsecurity=False)
        try:
            with _open(path, "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK):
                    identity.update(chunk)
                    if md5:
                        second.update(chunk)
        except OSError:
            return None
        after = regular(path)
        if after is not None and signature(after) == signature(before):
            found = FileDigest(
                digest=f"blake3:{identity.hexdigest()}",
                md5=f"md5:{second.hexdigest()}" if md5 else None,
                size=before.st_size,
                stat=signature(before),
            )
            _keep(cache, after, found)
            return found
    return None


def _cached(cache: DigestCache | None, status: os.stat_result) -> Any:
    if cache is None:
        return None
    try:
        return cache.cached_digest(status)
    except Exception:  # noqa: BLE001 - a cache that fails is a cache that has nothing
        return None


def _keep(cache: DigestCache | None, status: os.stat_result, found: FileDigest) -> None:
    if cache is None:
        return
    with contextlib.suppress(Exception):
        cache.cache_digest(status, found.digest, found.md5)
