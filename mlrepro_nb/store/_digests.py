"""Digests of files that were hashed before: a cache, in a database of its own.

It may be deleted at any time. It is not in the index, so that a kernel that hashes
100,000 files keeps nobody waiting who puts a record.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mlrepro_nb.store._journal import is_remote

_LAYOUT = """
CREATE TABLE IF NOT EXISTS file (
    device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    blake3 TEXT NOT NULL, md5 TEXT,
    PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tree (
    fingerprint TEXT PRIMARY KEY, digest TEXT NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS content (
    digest TEXT PRIMARY KEY, rows TEXT
) WITHOUT ROWID;
"""
_AT_ONCE = 500
"""Inodes that one query asks for: SQLite takes 999 parameters at least."""

_CORRUPT, _NOT_A_DATABASE = 11, 26
"""SQLite's codes for a database that is damaged, and for a file that is none."""

Known = tuple[str, "str | None"]
"""BLAKE3 and md5 of a file."""


class FileDigests:
    """What is known of files that have not changed since they were hashed.

    A file is known by its device and inode; size, mtime_ns and ctime_ns must
    all be as they were (an edit that restores mtime still moves ctime). Whoever
    puts a digest sees to it that the file had been at rest (see
    `mlrepro_nb.capture.data.hashing`).

    No method raises: a cache that cannot be read knows nothing.

    Parameters
    ----------
    path : Path
        The database. It is made by the first `put`, if its folder is there.
    rehash : bool
        Know nothing, so that everything is hashed again; what is put is kept.
    """

    def __init__(self, path: Path, *, rehash: bool = False) -> None:
        self.path = path
        self._rehash = rehash
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._lock = threading.RLock()

    def get(self, stat: os.stat_result) -> Known | None:
        """Return the digests of a file, or None."""
        return self.get_many([stat])[0]

    def get_many(self, stats: Sequence[os.stat_result]) -> list[Known | None]:
        """Return the digests of many files, None for those that are not known."""
        found: dict[tuple[int, ...], Known] = {}
        by_device: dict[int, list[int]] = {}
        for stat in stats:
            by_device.setdefault(stat.st_dev, []).append(_signed(stat.st_ino))
        for device, inodes in by_device.items():
            for start in range(0, len(inodes), _AT_ONCE):
                asked = inodes[start : start + _AT_ONCE]
                marks = ",".join("?" * len(asked))
                for inode, size, mtime, ctime, blake3, md5 in self._read(
                    "SELECT inode, size, mtime_ns, ctime_ns, blake3, md5 FROM file"
                    f" WHERE device = ? AND inode IN ({marks})",
                    (_signed(device), *asked),
                ):
                    found[device, inode, size, mtime, ctime] = (blake3, md5)
        return [
            found.get((s.st_dev, _signed(s.st_ino), s.st_size, s.st_mtime_ns, s.st_ctime_ns))
            for s in stats
        ]

    def put(self, stat: os.stat_result, blake3: str, md5: str | None) -> None:
        """Keep a file's digests, with the status it had before and after it was hashed."""
        self.put_many([(stat, blake3, md5)])

    def put_many(self, files: Iterable[tuple[os.stat_result, str, str | None]]) -> None:
        """Keep the digests of many files."""
        rows = [
            (_signed(s.st_dev), _signed(s.st_ino), s.st_size, s.st_mtime_ns, s.st_ctime_ns, b, m)
            for s, b, m in files
        ]
        self._write("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def get_tree(self, fingerprint: str) -> tuple[str, int] | None:
        """Return digest and bytes of a folder whose files all have the status they had."""
        for digest, size in self._read(
            "SELECT digest, size FROM tree WHERE fingerprint = ?", (fingerprint,)
        ):
            return digest, size
        return None

    def rehashing(self) -> FileDigests:
        """Return a cache in the same place that knows nothing."""
        return FileDigests(self.path, rehash=True)

    def put_tree(self, fingerprint: str, digest: str, size: int) -> None:
        """Keep the digest and bytes of a folder."""
        self._write("INSERT OR REPLACE INTO tree VALUES (?, ?, ?)", [(fingerprint, digest, size)])

    def get_rows(self, digest: str) -> str | None:
        """Return the digest of the rows of a table, by the digest of its file."""
        for (rows,) in self._read("SELECT rows FROM content WHERE digest = ?", (digest,)):
            return str(rows)
        return None

    def put_rows(self, digest: str, rows: str) -> None:
        """Keep the digest of the rows of a table."""
        self._write("INSERT OR REPLACE INTO content VALUES (?, ?)", [(digest, rows)])

    def close(self) -> None:
        """Close the database; the next call opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _read(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            try:
                if self._rehash or not self.path.exists():
                    return []
                return self._connect().execute(query, parameters).fetchall()
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
                return []

    def _write(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._lock:
            try:
                if self.path.parent.is_dir():
                    with self._connect() as db:
                        db.executemany(statement, rows)
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Throw a damaged database away: it is only a cache."""
        code = getattr(error, "sqlite_errorcode", None)
        damaged = code in (_CORRUPT, _NOT_A_DATABASE) if code is not None else (
            "malformed" in str(error) or "not a database" in str(error)
        )  # fmt: skip
        if damaged:
            self.close()
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    self.path.with_name(self.path.name + suffix).unlink()

    def _connect(self) -> sqlite3.Connection:
        # A forked child must not use its parent's connection (SQLite's own rule).
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        self._pid = os.getpid()
        db = sqlite3.connect(self.path, timeout=5, check_same_thread=False)
        # WAL shares memory, which two machines cannot.
        db.execute(f"PRAGMA journal_mode = {'TRUNCATE' if is_remote(self.path.parent) else 'WAL'}")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_LAYOUT)
        self._connection = db
        return db


def _signed(number: int) -> int:
    """Return a 64-bit number as SQLite has them: inodes may use the highest bit."""
    return number - (1 << 64) if number >= 1 << 63 else number
