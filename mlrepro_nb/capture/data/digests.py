"""What the files that were opened held: digests that are learnt in a thread.

`mlrepro_nb.capture.data.files` says which files were opened; this says what was
in them, as ``files`` events. A cell waits only where a file that it has read is
about to be overwritten in place: for its bytes if they are few (they are kept),
else for its digest, unless the file system can clone it in no time.
"""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH114, PTH116, PTH120
from __future__ import annotations

import contextlib
import functools
import os
import stat
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import msgspec

from mlrepro_nb.capture.data import tables
from mlrepro_nb.capture.data.audit import unwatched
from mlrepro_nb.capture.data.hashing import (
    ChangingFileError,
    DigestCache,
    FileDigest,
    hash_descriptor,
    hash_files,
    hash_resting,
    regular,
    signature,
)
from mlrepro_nb.capture.data.paths import is_secret, printable
from mlrepro_nb.capture.data.snapshot import clone, contents
from mlrepro_nb.capture.watch import Recording
from mlrepro_nb.capture.worker import Worker
from mlrepro_nb.connect import dvc

_AT_ONCE = 512 << 20
"""Bytes of the largest file that a cell waits for, which it is about to overwrite."""

KEPT = 64 << 20
"""Bytes of the largest input that is kept when the run overwrites it."""

_KEPT_IN_ALL = 512 << 20
_IN_MEMORY = 128 << 20
"""Bytes of overwritten inputs that wait in memory until the thread comes to them."""

_BATCH = 500

Keep = Callable[[bytes], str]


class _Before(msgspec.Struct):
    """What a file held before it changed."""

    absolute: str
    readers: dict[str, int | None]
    """Names under which it was read and not hashed, with the execution."""
    inputs: dict[str, int | None]
    """Names under which the run took it as an input, if its bytes are to be kept."""
    descriptor: int | None = None
    data: bytes | None = None


class _Ask(msgspec.Struct):
    """A file to be hashed as it is when its turn comes."""

    absolute: str
    access: str
    order: int | None


class _Held(msgspec.Struct):
    """An open file to be hashed, wherever its name leads by then."""

    absolute: str
    descriptor: int
    then: Callable[[FileDigest], None]


class Digests:
    """Learns the digests of files, without letting a cell wait.

    Parameters
    ----------
    recording : Recording
        The recorder; it receives ``files`` events.
    cache : DigestCache, optional
        Digests of earlier sessions.
    keep : callable, optional
        Keeps the bytes of an input that the run overwrites, and returns their name.
    """

    def __init__(
        self, recording: Recording, cache: DigestCache | None = None, keep: Keep | None = None
    ) -> None:
        self._recording = recording
        self._cache = cache
        self._keep = keep
        self._room = _KEPT_IN_ALL
        self._waiting = 0
        self._unhashed: dict[str, tuple[int | None, tuple[int, ...] | None]] = {}
        """Files that were read and whose digest is not known yet: execution, status then."""
        self._inputs: dict[str, int | None] = {}
        """Files that were read before they were written: path to execution."""
        self._others: dict[tuple[int, int], set[str]] = {}
        """Names of files that have several, or are reached through links, by device and inode."""
        self._written: dict[str, tuple[int | None, FileDigest | None]] = {}
        """Files that were written: execution, and what they held when last looked at."""
        self._digests: dict[str, FileDigest] = {}
        """What files held when they were read."""
        self._coming: set[str] = set()
        """Files that are gone or changed, and of which the thread still has what they held."""
        self._lock = threading.RLock()
        self._worker = Worker("mlrepro-files", self._work, most=_BATCH)
        self._idle = threading.Event()
        self._idle.set()
        self._queued = 0

    # --- what was opened

    def was_read(self, absolute: str, order: int | None) -> None:
        """Note that a file is about to be read: its digest is wanted (see `ask`)."""
        if is_secret(absolute):
            return
        with self._lock:
            known = self._digests.get(absolute)
            if absolute in self._unhashed:
                return
            now = self._status(absolute)
            if known is not None and known.rested and now == known.stat:
                return  # as it was when it was read before
            self._unhashed[absolute] = (order, now)
            if absolute not in self._written:
                self._inputs.setdefault(absolute, order)

    def was_written(self, absolute: str, order: int | None) -> None:
        """Note that a file is written: its digest is wanted when it is done."""
        with self._lock:
            self._written[absolute] = (order, None)

    def is_known(self, absolute: str) -> bool:
        """Return whether it is known, or will be, what the file held when it was read."""
        return absolute in self._digests or absolute in self._coming

    def known(self, absolute: str, then: tuple[int, ...]) -> FileDigest | None:
        """Return what a file held when it had a signature, if that was learnt."""
        found = self._digests.get(absolute)
        if found is not None and found.stat == then:
            return found
        status: Any = SimpleNamespace(
            **dict(zip(("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"), then,
                       strict=True))
        )  # fmt: skip
        (cached,) = self._cache.get_many([status]) if self._cache is not None else [None]
        if cached is None:
            return None
        return FileDigest(digest=cached[0], md5=cached[1], size=status.st_size, stat=then)

    def was_scratch(self, absolute: str) -> None:
        """Forget that a file was read: it is not there (any more)."""
        with self._lock:
            self._unhashed.pop(absolute, None)
            self._inputs.pop(absolute, None)

    def was_removed(self, absolute: str) -> bool:
        """Forget that a file was written; return whether it had been."""
        with self._lock:
            return self._written.pop(absolute, None) is not None

    def about_to_change(
        self, absolute: str, how: Literal["written", "replaced", "removed"] = "written"
    ) -> None:
        """Take what a file that was read holds, before it changes.

        A file that is replaced or removed stays readable through a descriptor, and
        is hashed in the thread. One that is written in place is not.
        """
        if not self._unhashed and not self._inputs:
            return
        with self._lock:
            names = self._names(absolute)
            readers = {n: self._unhashed[n][0] for n in names if n in self._unhashed}
            # What the run made itself, or overwrote before, is no input (any more).
            inputs = {n: self._inputs.pop(n) for n in names if n in self._inputs}
            if self._keep is None or how == "removed":
                inputs = {}
            if not readers and not inputs:
                return
            status = regular(absolute)
            if status is None:
                return
            if status.st_size > min(_limit(), self._room):
                inputs = {}
            if not readers and not inputs:
                return
            before = _Before(absolute=absolute, readers=readers, inputs=inputs)
            if how != "written":
                before.descriptor = _opened(absolute)
            elif inputs:
                before.data = contents(absolute)
            else:
                before.descriptor = clone(absolute)
            for name in readers:
                self._unhashed.pop(name)
            self._coming.update(readers)
        if inputs:
            self._room -= status.st_size
        if before.data is not None and self._waiting + len(before.data) <= _IN_MEMORY:
            self._waiting += len(before.data)
            self._put(before)
        elif before.descriptor is not None:
            self._put(before)
        elif before.data is not None or status.st_size <= _AT_ONCE:
            self._emit(self._of_before(before))
        else:
            self._gap(f"{absolute} was overwritten before its digest could be taken.")

    def hold(self, absolute: str, then: Callable[[FileDigest], None]) -> None:
        """Have a file hashed as it is now, even if it is deleted at once, and tell its digest."""
        descriptor = _opened(absolute) if regular(absolute) is not None else None
        if descriptor is not None:
            self._put(_Held(absolute=absolute, descriptor=descriptor, then=then))

    # --- digests

    def ask(self, absolute: str, access: str, order: int | None) -> None:
        """Have a file hashed in the thread, if that is still to be done."""
        if not is_secret(absolute) and (access == "write" or absolute in self._unhashed):
            self._put(_Ask(absolute=absolute, access=access, order=order))

    def settle(self, timeout: float) -> bool:
        """Wait until every digest is known, writes looked at again; return whether they all are."""
        with self._lock:
            for absolute, (order, last) in list(self._written.items()):
                status = regular(absolute)
                if status is not None and not is_secret(absolute) and not _is_as(status, last):
                    self._put(_Ask(absolute=absolute, access="write", order=order))
        if self._idle.wait(timeout):
            return True
        with self._lock:
            # What was hashed and only looked at again, as its last change was so recent, is known.
            return not self._unhashed and all(
                last is not None and (status := regular(absolute)) is not None
                and signature(status) == last.stat
                for absolute, (_, last) in self._written.items()
            )  # fmt: skip

    def _put(self, job: _Ask | _Before | _Held) -> None:
        with self._lock:
            self._idle.clear()
            self._queued += 1
        self._worker.put(job)

    def _work(self, jobs: list[_Ask | _Before | _Held]) -> None:
        try:
            self._emit(self._of_all(jobs))
        except Exception as error:  # noqa: BLE001
            self._gap(f"Files could not be hashed: {type(error).__name__}: {error}")
        with self._lock:
            self._queued -= len(jobs)
            if self._queued == 0:
                self._idle.set()

    def _of_all(self, jobs: list[_Ask | _Before | _Held]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        asked: dict[bool, list[_Ask]] = {False: [], True: []}
        for job in jobs:
            if not isinstance(job, _Ask):
                found += self._of_open(job)
            elif self._is_due(job):
                asked[dvc.is_tracked(job.absolute)].append(job)
        for md5, some in asked.items():
            # A file that was written and then read is asked for twice.
            paths = list(dict.fromkeys(job.absolute for job in some))
            hashed = dict(zip(paths, hash_files(paths, md5=md5, cache=self._cache), strict=True))
            for job in some:
                found += self._of_ask(job, hashed[job.absolute])
        return found

    def _of_open(self, job: _Before | _Held) -> list[dict[str, Any]]:
        try:
            if isinstance(job, _Before):
                return self._of_before(job)
            self._of_held(job)
        except Exception as error:  # noqa: BLE001
            self._gap(f"{job.absolute} could not be hashed: {type(error).__name__}: {error}")
        return []

    def _is_due(self, job: _Ask) -> bool:
        if job.access == "read":
            return job.absolute in self._unhashed
        status = regular(job.absolute)
        last = self._written.get(job.absolute, (None, None))[1]
        return status is not None and not _is_as(status, last)

    def _of_ask(self, job: _Ask, found: FileDigest | None) -> list[dict[str, Any]]:
        absolute = job.absolute
        if found is None:
            if regular(absolute) is not None:
                why = "it changes all the time" if os.access(absolute, os.R_OK) else "no permission"
                self._gap(f"{absolute} could not be hashed: {why}.")
            return []
        with self._lock:
            order = job.order
            if job.access == "read":
                wanted = self._unhashed.pop(absolute, None)
                if wanted is None:
                    return []
                order, then = wanted
                if then not in (None, found.stat) and absolute not in self._written:
                    self._gap(f"{absolute} was changed by another program while it was in use.")
                self._digests[absolute] = found
            elif absolute in self._written:
                self._written[absolute] = (self._written[absolute][0], found)
        return [_event(absolute, job.access, order, found)]

    def _of_before(self, job: _Before) -> list[dict[str, Any]]:
        """Return what a file held before it changed; its bytes are kept if it was an input."""
        md5 = dvc.is_tracked(job.absolute)
        data = job.data
        try:
            if job.descriptor is not None:
                if job.inputs:
                    data = contents(job.descriptor)
                found = None if data is not None else hash_descriptor(job.descriptor, md5=md5)
            else:
                found = hash_resting(job.absolute, md5=md5) if data is None else None
        except ChangingFileError:
            self._gap(f"{job.absolute} was overwritten before its digest could be taken.")
            return []
        finally:
            if job.descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(job.descriptor)
        if data is not None:
            found = _of_bytes(data, md5=md5)
        if job.data is not None:
            with self._lock:
                self._waiting = max(0, self._waiting - len(job.data))
        if found is None:
            return []
        kept = self._kept(job, data, found)
        told = []
        with self._lock:
            for name, order in {**job.inputs, **job.readers}.items():
                if name in job.readers:
                    self._digests.setdefault(name, found)
                told.append(
                    {**_event(name, "read", order, found), "kept": kept if name in job.inputs
                     else None}
                )  # fmt: skip
        return told

    def _kept(self, job: _Before, data: bytes | None, found: FileDigest) -> str | None:
        if data is None or not job.inputs or self._keep is None:
            return None
        for name in job.inputs:
            known = self._digests.get(name)
            if name not in job.readers and known is not None and known.digest != found.digest:
                return None  # it was changed by others since it was read
        try:
            return self._keep(data)
        except Exception as error:  # noqa: BLE001 - a full disk
            self._gap(f"{job.absolute} was overwritten and could not be kept: {error}")
            return None

    def _of_held(self, job: _Held) -> None:
        try:
            job.then(hash_descriptor(job.descriptor))
        finally:
            with contextlib.suppress(OSError):
                os.close(job.descriptor)

    # --- names

    def _status(self, absolute: str) -> tuple[int, ...] | None:
        """Return the signature of a file; note its name if it has others."""
        try:
            status = os.lstat(absolute)
        except (OSError, ValueError):
            return None
        linked = stat.S_ISLNK(status.st_mode)
        if linked:
            found = regular(absolute)
            if found is None:
                return None
            status = found
        elif not stat.S_ISREG(status.st_mode):
            return None
        if linked or status.st_nlink > 1 or _is_linked(os.path.dirname(absolute)):
            self._others.setdefault((status.st_dev, status.st_ino), set()).add(absolute)
        return signature(status)

    def _names(self, absolute: str) -> list[str]:
        """Return the names by which a file was read, and the one by which it is written."""
        names = {absolute: None}
        with contextlib.suppress(OSError, ValueError):
            if os.path.islink(absolute) or _is_linked(os.path.dirname(absolute)):
                names[os.path.realpath(absolute)] = None
            if self._others:
                status = os.stat(absolute)
                names |= dict.fromkeys(self._others.get((status.st_dev, status.st_ino), ()))
        return list(names)

    # --- what is told

    def _emit(self, files: list[dict[str, Any]]) -> None:
        if files:
            self._recording.emit("files", files)

    def _gap(self, text: str) -> None:
        with unwatched():
            self._recording.gap(text)


def _event(absolute: str, access: str, order: int | None, found: FileDigest) -> dict[str, Any]:
    return {
        "absolute": printable(absolute), "access": access, "order": order, "digest": found.digest,
        "md5": found.md5, "size": found.size,
        **({"stat": found.stat} if found.stat and tables.form(absolute) else {}),
    }  # fmt: skip


def _is_as(status: os.stat_result, last: FileDigest | None) -> bool:
    """Return whether a file is certainly as it was when it was hashed."""
    return last is not None and last.rested and signature(status) == last.stat


def _of_bytes(data: bytes, *, md5: bool) -> FileDigest:
    import hashlib

    from blake3 import blake3

    return FileDigest(
        digest=f"blake3:{blake3(data).hexdigest()}",
        md5=f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}" if md5 else None,
        size=len(data),
        stat=(),
    )


def _opened(absolute: str) -> int | None:
    try:
        return os.open(absolute, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None


def _limit() -> int:
    """Return the bytes of the largest input that is kept: ``MLREPRO_KEEP_MIB``, 0 for none."""
    try:
        return int(float(os.environ["MLREPRO_KEEP_MIB"]) * (1 << 20))
    except (KeyError, ValueError, OverflowError):
        return KEPT


@functools.lru_cache(maxsize=4096)
def _is_linked(folder: str) -> bool:
    return os.path.realpath(folder) != folder
