"""Which files the process reads and writes, and their digests.

`audit` and `readers` say what is opened; a `FileWatch` keeps it until the end
of the cell and learns the digests in a thread.
"""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH100
from __future__ import annotations

import os
import queue
import threading
from typing import Any, Literal

from mlrepro_nb.capture.data.audit import Access, as_path, attach, by_machinery, detach, unwatched
from mlrepro_nb.capture.data.hashing import DigestCache, FileDigest, hash_file, regular, signature
from mlrepro_nb.capture.data.paths import is_ignored, is_source
from mlrepro_nb.capture.watch import Execution, Recording, Watch
from mlrepro_nb.connect import dvc

_AT_ONCE = 512 << 20
"""Bytes of the largest file that a cell waits for, which it is about to overwrite."""


class FileWatch(Watch):
    """Notes which files are opened, and learns their digests in a thread.

    Its events are ``file`` (what a file held), ``removed`` and ``opens``.

    Parameters
    ----------
    recording : Recording
        The recorder.
    cache : DigestCache, optional
        Digests of earlier sessions.
    """

    title = "file accesses"
    part = "opens"

    def __init__(self, recording: Recording, *, cache: DigestCache | None = None) -> None:
        self._recording = recording
        self._emit = recording.emit
        self.execution = recording.current
        self._cache = cache
        self._seen: set[tuple[str, str, int | None]] = set()
        self._pending: list[dict[str, Any]] = []
        self._unhashed: dict[str, int | None] = {}
        """Files that were read and whose digest is not known yet: path to execution."""
        self._written: dict[str, tuple[int | None, tuple[int, ...] | None]] = {}
        self._both: dict[str, tuple[int, ...] | None] = {}
        """Files opened to read and write: path to signature when they were last looked at."""
        self._digests: dict[str, FileDigest] = {}
        self._lock = threading.RLock()
        self._jobs: queue.SimpleQueue[tuple[str, str, int | None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._queued = 0
        self.sources: dict[str, int | None] = {}
        """Python sources outside the distributions that were opened."""

    # --- life

    def start(self) -> None:
        """Begin to watch. One watch is active in a process."""
        self._thread = threading.Thread(target=self._work, name="mlrepro-files", daemon=True)
        self._thread.start()
        attach(self)

    def stop(self) -> None:
        """Watch no more."""
        detach(self)
        self._jobs.put(None)

    def failed(self, error: BaseException) -> None:
        """Note that the hook itself failed."""
        self.gap(f"Watching files failed once: {type(error).__name__}: {error}")

    def gap(self, text: str) -> None:
        """Note what could not be seen."""
        with unwatched():
            self._recording.gap(text)

    def cell_ended(self, execution: Execution) -> Any:
        """Return what the cell opened."""
        return self.drain()

    def seal(self, timeout: float) -> None:
        """Report what a cell that still runs has opened, and wait for the digests."""
        order = self.execution()
        if order is not None and (opens := self.drain()):
            self._emit("opens", {"order": order, "opens": opens})
        if not self.settle(timeout):
            self.gap("Some files were too big to be hashed before the kernel ended.")

    # --- what was opened

    def note(self, given: Any, access: Access, layer: str) -> None:
        """Note that a path, a folder's or file's, is about to be opened."""
        path = as_path(given)
        if path is None:
            return
        absolute = os.path.abspath(path)
        order = self.execution()
        key = (absolute, access, order)
        if key in self._seen:
            return
        if is_ignored(absolute):
            if is_source(absolute) and access == "read":
                self.sources.setdefault(absolute, order)
            self._seen.add(key)
            return
        if by_machinery():
            return
        with self._lock:
            self._seen.add(key)
            if access == "both":
                self._note_both(path, absolute, order, layer)
            elif access == "read":
                self._note_read(path, absolute, order, layer)
            else:
                self.about_to_change(absolute)
                self._note_write(path, absolute, order, layer)

    def note_url(self, url: str, layer: str, access: Literal["read", "write"] = "read") -> None:
        """Note that a URL is about to be opened."""
        from mlrepro_nb.capture.secrets import mask

        key = (url, "url", self.execution())
        if key in self._seen or by_machinery(anywhere=True):
            return
        self._seen.add(key)
        self._pending.append(
            {"path": mask(url), "absolute": None, "access": access, "order": key[2],
             "layer": layer}
        )  # fmt: skip

    def about_to_change(self, absolute: str) -> None:
        """Take the digest of a file that was read, before it is overwritten."""
        if absolute not in self._unhashed:
            return
        status = regular(absolute)
        if status is not None and status.st_size <= _AT_ONCE:
            self._resolve(absolute, "read", self._unhashed.get(absolute))
        else:
            self.gap(f"{absolute} was overwritten before its digest could be taken.")

    def moved(self, source: str, target: str) -> None:
        """Note that a file takes another's place."""
        self.about_to_change(target)
        self.about_to_change(source)
        if source in self._written:
            self._written.pop(source)
            self._pending = [
                entry for entry in self._pending
                if not (entry["absolute"] == source and entry["access"] == "write")
            ]  # fmt: skip
            self._emit("removed", {"absolute": source})
        if not is_ignored(target):
            self._note_write(target, target, self.execution(), "audit")

    def removed(self, absolute: str) -> None:
        """Note that a file is about to be deleted: what was written to it is no result."""
        self.about_to_change(absolute)
        if self._written.pop(absolute, None) is not None:
            self._emit("removed", {"absolute": absolute})

    def _note_read(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        self._unhashed.setdefault(absolute, order)
        self._add(path, absolute, "read", order, layer)

    def _note_write(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        self._written[absolute] = (order, None)
        self._add(path, absolute, "write", order, layer)

    def _note_both(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        status = regular(absolute)
        if status is None or status.st_size == 0:
            self._note_write(path, absolute, order, layer)
            return
        self._note_read(path, absolute, order, layer)
        self.about_to_change(absolute)
        self._both.setdefault(absolute, signature(status))

    def _add(self, path: str, absolute: str, access: str, order: int | None, layer: str) -> None:
        self._pending.append(
            {"path": path, "absolute": absolute, "access": access, "order": order, "layer": layer}
        )

    # --- at the end of a cell

    def drain(self) -> list[dict[str, Any]]:
        """Return what was opened since the last call; digests follow as ``file`` events."""
        order = self.execution()
        with self._lock:
            for absolute, before in list(self._both.items()):
                status = regular(absolute)
                now = signature(status) if status else None
                if now is not None and now != before:
                    self._both[absolute] = now
                    self._note_write(absolute, absolute, order, "audit")
            pending, self._pending = self._pending, []
            kept = []
            for entry in pending:
                absolute = entry["absolute"]
                if absolute is None:
                    kept.append(entry)
                    continue
                if regular(absolute) is None and absolute not in self._digests:
                    # Never there, a folder, or gone again: scratch of the cell's own.
                    self._unhashed.pop(absolute, None)
                    continue
                kept.append(entry)
                if entry["access"] == "write" or absolute in self._unhashed:
                    self._queue(absolute, entry["access"], entry["order"])
            if len(self._seen) > 100_000:
                self._seen.clear()
        return kept

    def settle(self, timeout: float) -> bool:
        """Wait until every digest is known, writes looked at again; return whether they all are."""
        with self._lock:
            for absolute, (order, last) in list(self._written.items()):
                status = regular(absolute)
                if status is not None and signature(status) != last:
                    self._queue(absolute, "write", order)
        return self._idle.wait(timeout)

    # --- digests

    def _queue(self, absolute: str, access: str, order: int | None) -> None:
        self._idle.clear()
        self._queued += 1
        self._jobs.put((absolute, access, order))

    def _work(self) -> None:
        with unwatched():
            while (job := self._jobs.get()) is not None:
                try:
                    self._resolve(*job)
                except Exception as error:  # noqa: BLE001
                    self.gap(f"{job[0]} could not be hashed: {type(error).__name__}: {error}")
                with self._lock:
                    self._queued -= 1
                    if self._queued == 0:
                        self._idle.set()

    def _resolve(self, absolute: str, access: str, order: int | None) -> None:
        if access == "read" and absolute not in self._unhashed:
            return
        status = regular(absolute)
        known = self._digests.get(absolute)
        if access == "write" and status is not None:
            last = self._written.get(absolute, (order, None))[1]
            if last == signature(status):
                return
        if known is not None and status is not None and known.stat == signature(status):
            found: FileDigest | None = known
        else:
            found = hash_file(absolute, md5=dvc.is_tracked(absolute), cache=self._cache)
        if found is None:
            return
        with self._lock:
            if access == "read":
                if self._unhashed.pop(absolute, -1) == -1:
                    return
            elif absolute in self._written:
                self._written[absolute] = (order, found.stat)
            self._digests[absolute] = found
        self._emit(
            "file",
            {"absolute": absolute, "access": access, "order": order, "digest": found.digest,
             "md5": found.md5, "size": found.size},
        )  # fmt: skip
