"""The cross-check: which files in the project's folders were opened unseen by the other layers.

inotify tells of every open in a folder, also by code below Python, but not by
whom. So what it tells is blamed on a cell only

- while the cell runs,
- if no other layer, in the kernel or its children, said that it opens the file,
- if it is a file of the sort that notebooks read: no notebook, source, lock file
  or what editors and version control leave.

An editor or a second kernel that opens such a file in the same moment is still
blamed on the cell. Therefore the record says `partial` when this layer alone saw
a file, and names it.
"""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH100, PTH109, PTH111, PTH119
from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import threading
import time
from collections import deque
from pathlib import Path

from mlrepro_nb.capture.data import audit
from mlrepro_nb.capture.data.audit import Access, unwatched
from mlrepro_nb.capture.data.files import READ, WRITE, FileWatch
from mlrepro_nb.capture.data.folders import below, done_to, is_others, is_private
from mlrepro_nb.capture.data.inotify import (
    CLOSE_WRITE,
    CREATE,
    IGNORED,
    IS_FOLDER,
    MOVED_TO,
    OPEN,
    OVERFLOW,
    Inotify,
    events,
    most_watches,
)
from mlrepro_nb.capture.data.paths import is_ignored, printable
from mlrepro_nb.capture.watch import Execution, Recording, Watch

MOST_FOLDERS = 8192
"""Folders that are looked at; the nearest to the notebook come first."""

_PAUSE = 0.05
"""Seconds between two readings while a cell opens files: fewer wake-ups, larger batches."""
_FEW = 4096
"""Bytes of events that are looked at before a cell begins; more must wait for the thread."""

_AT_START = 0.003
"""Seconds that a kernel's start may wait for the nearest folders; a thread goes on."""
_TOLD = 3
"""Files that a gap names."""

_WRITTEN = CLOSE_WRITE | CREATE | MOVED_TO
_EVER = sys.maxsize - 1
"""After all executions."""


class RootsWatch(Watch):
    """Compares what inotify sees with what the other layers noted.

    Parameters
    ----------
    recording : Recording
        The recorder.
    files : FileWatch
        The kernel's other layers.
    """

    title = "the cross-check of files"

    def __init__(self, recording: Recording, files: FileWatch) -> None:
        self._recording = recording
        self._files = files
        self._inotify: Inotify | None = None
        self._lock = threading.RLock()
        """Held while the handles are used, or closed; a signal's handler may come in between."""
        self._order: int | None = None
        self._begun = 0
        self._batches: deque[tuple[int | None, int, bytes, bool]] = deque()
        """(execution, its beginning in ns, events, whether they are its last)"""
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._folders: dict[int, str] = {}
        self._watched: dict[str, None] = {}
        self._most = 0
        self._waiting: deque[str] = deque()
        """Folders that are to be walked."""
        self._wake = -1
        self._stopped = False
        self._closed = False
        self._asked = 0
        self._done = 0
        self._dirty = False
        """Whether the running cell has events that are not compared yet."""
        self._found: dict[str, int] = {}
        """What the running cell opened: path to the events' bits."""
        self._own: dict[str, bool] = {}
        """What we opened ourselves, and whether to write: that we hashed a file that a cell read
        says nothing of who writes to it later."""

    # --- life

    def start(self) -> None:
        """Look at the project's folders, which a thread walks."""
        if sys.platform != "linux" or not hasattr(os, "eventfd"):
            return
        try:
            self._inotify = Inotify()
        except OSError:
            return  # no more instances: the other layers are as good as they are
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._most = min(MOST_FOLDERS, most_watches() // 4)
        self._order, self._begun = self._recording.current(), time.time_ns()
        here = os.getcwd()
        if _is_project(here):
            self._waiting.append(here)
            self._walk(seconds=_AT_START)
        else:
            self._add(here)
        audit.keep_own_opens(keep=True)
        self._files.roots = self
        threading.Thread(target=self._work, args=(here,), name="mlrepro-roots", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        if self._inotify is None or self._stopped:
            return
        self._stopped = True
        self._files.roots = None
        audit.keep_own_opens(keep=False)
        self._ring()

    def cell_begins(self, execution: Execution) -> None:
        """Leave what was opened between the cells out."""
        if self._inotify is None:
            return
        self._follow(self._turn(execution.order, last=False))

    def _follow(self, raw: bytes) -> None:
        """Look at once at folders that came between the cells: the next may read in them."""
        for number, mask, name in events(raw) if len(raw) < _FEW else ():
            if mask & IS_FOLDER and mask & (CREATE | MOVED_TO) and number in self._folders:
                path = f"{self._folders[number]}/{name}"
                if not is_ignored(path + "/x"):
                    self._new_folder(path, None)

    def cell_ends(self, execution: Execution) -> None:
        """Keep what the cell opened, for the thread to look at."""
        if self._inotify is not None:
            self._turn(None, last=True)

    def seal(self, timeout: float) -> None:
        """Wait until what was opened so far has been looked at."""
        if self._inotify is None or self._stopped or self._closed:
            return
        self._turn(self._order, last=True)
        asked, until = self._asked, time.perf_counter() + min(timeout, 1.0)
        while self._done < asked and time.perf_counter() < until:
            time.sleep(0.002)

    def watch_folder(self, folder: str, *, at_once: bool = False) -> None:
        """Look at a folder too; in the thread, unless it must be now."""
        if folder in self._watched or self._stopped:
            return
        if at_once:
            if is_private(folder):
                self._add(folder)
        else:
            self._watched[folder] = None
            self._wanted.put(folder)
            self._ring()

    def _ring(self) -> None:
        """Wake the thread."""
        with self._lock:
            # A number that was closed may be another file's by now.
            if not self._closed:
                os.eventfd_write(self._wake, 1)

    def _turn(self, order: int | None, *, last: bool) -> bytes:
        """Read what belongs to the cell so far, before another one begins."""
        assert self._inotify is not None
        with self._lock:
            raw = b"" if self._closed else self._inotify.read()
            if raw or (last and self._dirty):
                self._queue(raw, last=last)
                self._ring()
            if order != self._order:
                self._order, self._begun = order, time.time_ns()
        return raw

    def _queue(self, raw: bytes, *, last: bool) -> None:
        self._batches.append((self._order, self._begun, raw, last))
        self._asked += 1
        self._dirty = not last

    # --- the thread

    def _work(self, here: str) -> None:
        with unwatched():
            try:
                self._walk()
                self._waiting += self._roots(here)
                self._walk()
                self._listen()
            except Exception as error:  # noqa: BLE001
                self._recording.gap(
                    f"The cross-check of files failed: {type(error).__name__}: {error}"
                )
            finally:
                with self._lock, contextlib.suppress(OSError):
                    self._closed = True
                    if self._inotify is not None:
                        self._inotify.close()
                    os.close(self._wake)

    def _roots(self, here: str) -> list[str]:
        """Return the project's folder, if there is one around the working folder."""
        from mlrepro_nb.store import project_root

        root = project_root(Path(here))
        return [str(root)] if root is not None and _is_project(str(root)) else []

    def _walk(self, *, seconds: float | None = None) -> None:
        """Look at the folders that wait and those below them, nearest first.

        Without a limit it sleeps most of the time: the kernel has better things to do. What
        counts is then what this thread used, not what it waited for on a busy machine.
        """
        clock = time.thread_time if seconds is None else time.perf_counter
        began = clock()
        while self._waiting and not self._stopped:
            folder = self._waiting.popleft()
            if not self._add(folder):
                self._waiting.clear()
                return
            self._waiting += below(folder)
            took = clock() - began
            if seconds is not None and took > seconds:
                return
            if seconds is None and took > 0.002:
                time.sleep(4 * took)
                self._look()
                began = clock()

    def _add(self, folder: str) -> bool:
        """Look at a folder; return whether there may be more."""
        if len(self._folders) >= self._most or self._inotify is None:
            return False
        try:
            folder = os.path.realpath(folder)
            with self._lock:
                if self._closed:
                    return False
                number = self._inotify.watch(folder)
        except OSError as error:
            return error.errno != 28  # ENOSPC: the user's other programs need the rest
        self._folders[number] = folder
        self._watched[folder] = None
        return True

    def _listen(self) -> None:
        assert self._inotify is not None
        poll = select.poll()
        poll.register(self._inotify.handle, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._stopped:
            self._look()
            poll.poll()
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            if not self._batches and self._wanted.empty() and not self._stopped:
                time.sleep(_PAUSE)

    def _look(self) -> None:
        """Take in what there is."""
        assert self._inotify is not None
        with self._lock:
            if raw := self._inotify.read():
                self._queue(raw, last=False)
                if self._order is None:
                    self._follow(raw)
        while self._batches:
            order, begun, raw, last = self._batches.popleft()
            self._take(order, raw)
            if last and order is not None:
                self._compare(order, begun)
            self._done += 1
        while not self._wanted.empty():
            folder = self._wanted.get()
            if is_private(folder):
                self._add(folder)

    def _take(self, order: int | None, raw: bytes) -> None:
        for number, mask, name in events(raw):
            if mask & OVERFLOW:
                self._files.unseen(
                    "More files were opened at once than inotify reports: of those that only it "
                    "sees some may be missing."
                )
                continue
            folder = self._folders.get(number)
            if folder is None:
                continue
            if mask & IGNORED:
                del self._folders[number]
                self._watched.pop(folder, None)
                continue
            path = f"{folder}/{name}"
            if mask & IS_FOLDER:
                if mask & (CREATE | MOVED_TO) and not is_ignored(path + "/x"):
                    self._new_folder(path, order)
            elif order is not None and name:
                self._found[path] = self._found.get(path, 0) | mask

    def _new_folder(self, top: str, order: int | None) -> None:
        """Look at a new folder; what is in it already was made before that could be seen."""
        if os.path.basename(top).startswith("."):
            return
        for folder, inner, names in os.walk(top):
            inner[:] = [name for name in inner if not name.startswith(".")]
            if not self._add(folder):
                return
            if order is not None:
                for name in names:
                    path = f"{folder}/{name}"
                    self._found[path] = self._found.get(path, 0) | CREATE

    def _compare(self, order: int, begun: int) -> None:
        """Report what of a cell's files the other layers did not note."""
        found, self._found = self._found, {}
        own = self._ours()
        try:
            if found:
                self._blame(order, begun, found, own)
        finally:
            own.pop(audit.PROGRAM, None)

    def _blame(self, order: int, begun: int, found: dict[str, int], own: dict[str, bool]) -> None:
        children = self._files.children
        if children is not None and any(not self._files.is_known(path, order) for path in found):
            children.collect()
        real: dict[str, int] | None = None
        unseen: list[tuple[str, Access, str]] = []
        for path, mask in found.items():
            access = done_to(path, mask, begun)
            # A source that no program of the cell's may have written is one that a person saved.
            how = access if access and order in self._files.programs else "read"
            if is_ignored(path, how) or is_others(path):
                continue
            if path in own and (own[path] or access == "read" or not mask & _WRITTEN):
                continue  # that it has changed since may be a later cell's doing
            if access == "read" and audit.PROGRAM in own:
                continue  # git, which we asked, may have looked at it
            if mask == CREATE and self._files.is_known(path, _EVER) & WRITE:
                continue  # listed late in a new folder, into which a later cell had put it
            bit = WRITE if access == "write" else READ
            # A file that is noted as written is known; what is read of it is its own.
            if access is None or self._files.is_known(path, order) & (bit | WRITE):
                continue
            if real is None:
                real = self._real(order)
            if not real.get(os.path.realpath(path), 0) & (bit | WRITE):
                if access == "write":
                    self._before(order, path, mask)
                unseen.append((path, access, "inotify"))
        if unseen:
            self._files.late(order, unseen)
            if order not in self._files.programs:
                self._tell(unseen)

    def _before(self, order: int, path: str, mask: int) -> None:
        """Report what a file held that a program was given and changed, if it read that."""
        if not self._files.was_given(path, order):
            return
        # It was opened, and yet not written to: another file took its place.
        if mask & OPEN and not mask & CLOSE_WRITE:
            self._files.was_changed(order, path, "inotify")
        else:
            self._files.unseen(
                f"{printable(os.path.basename(path))} was given to a program that changed it and "
                "may have read what it held before."
            )

    def _tell(self, unseen: list[tuple[str, Access, str]]) -> None:
        names = ", ".join(printable(os.path.basename(path)) for path, _, _ in unseen[:_TOLD])
        more = f" and {len(unseen) - _TOLD} more" if len(unseen) > _TOLD else ""
        self._files.unseen(
            f"Only inotify saw who opened {names}{more}: a library below Python, which may read "
            "more outside the project, or another program (mlrepro record --deep tells)."
        )

    def _ours(self) -> dict[str, bool]:
        opened = audit.own_opens
        for path in list(opened or ()):
            wrote = opened.pop(path, False) if opened else False
            path = path if path == audit.PROGRAM else os.path.abspath(path)
            self._own[path] = wrote or self._own.get(path, False)
        return self._own

    def _real(self, order: int) -> dict[str, int]:
        """Return what is known by the path without symbolic links."""
        found: dict[str, int] = {}
        for path, bits in self._files.known(order).items():
            target = os.path.realpath(path)
            found[target] = found.get(target, 0) | bits
        return found


def _is_project(folder: str) -> bool:
    """Return whether all below a folder is one project's, not a home or more."""
    home = os.path.expanduser("~")
    return is_private(folder) and not f"{home}/".startswith(folder.rstrip("/") + "/")
