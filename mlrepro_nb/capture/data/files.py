"""Which files the process reads and writes.

`audit` and `readers` say what is opened, `children` what child processes open,
`roots` what was opened unseen; a `FileWatch` keeps it until the end of the cell,
and has `Digests` learn what was in them.
"""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH100, PTH109, PTH110, PTH112, PTH116, PTH118, PTH119, PTH120
from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal, Protocol

from mlrepro_nb.capture.data.audit import (
    Access,
    as_path,
    attach,
    by_library,
    by_machinery,
    detach,
    unwatched,
)
from mlrepro_nb.capture.data.digests import Digests, Keep
from mlrepro_nb.capture.data.hashing import DigestCache, regular, signature
from mlrepro_nb.capture.data.held import Held, held
from mlrepro_nb.capture.data.paths import is_ignored, is_source, printable
from mlrepro_nb.capture.data.programs import is_pool, reading
from mlrepro_nb.capture.data.scripts import imported_by
from mlrepro_nb.capture.watch import Execution, Recording, Watch

READ, WRITE = 1, 2
_NEVER = sys.maxsize
_BITS = {"read": READ, "write": WRITE, "both": READ | WRITE}
_MOST_LISTED = 5000
"""Folders listed by a cell that are kept: one may walk over all of a disk."""
_COARSE_NS = 20_000_000
"""How far a file's times may lag behind the clock: the kernel stamps files once a tick."""


class Children(Protocol):
    """Who hears child processes (`children`)."""

    def collect(self) -> None:
        """Note what they have opened since the last time."""


class Roots(Protocol):
    """Who looks at folders (`roots`)."""

    def watch_folder(self, folder: str, *, at_once: bool = False) -> None:
        """Look at a folder too."""


class FileWatch(Watch):
    """Notes which files are opened.

    Its events are ``files`` (what they held), ``removed`` and ``opens``.

    Parameters
    ----------
    recording : Recording
        The recorder.
    cache : DigestCache, optional
        Digests of earlier sessions.
    keep : callable, optional
        Keeps the bytes of an input that the run overwrites.
    """

    title = "file accesses"
    part = "opens"

    def __init__(
        self, recording: Recording, *, cache: DigestCache | None = None, keep: Keep | None = None
    ) -> None:
        self._recording = recording
        self._emit = recording.emit
        self.execution = recording.current
        self.digests = Digests(recording, cache, keep)
        self._seen: set[tuple[str, str, int | None]] = set()
        self._pending: list[dict[str, Any]] = []
        self._opened: list[dict[str, Any]] = []
        """What the last cell opened, until it is reported."""
        self._both: dict[str, tuple[str, str, tuple[int, ...]]] = {}
        """Files opened to read and write: path to the path as given, its layer, and the file's
        signature when it was last looked at."""
        self._lock = threading.RLock()
        self._folders: dict[str, tuple[int, str, str]] = {}
        """Folders that a writer was given: path to the time, in ns, when it was, its layer, and
        the path as given."""
        self._unseen: set[str] = set()
        self.sources: dict[str, int | None] = {}
        """Python sources outside the distributions that were opened."""
        self.imports: set[str] = set()
        """Top-level modules that Python programs which cells started import."""
        self._listed: dict[str, None] = {}
        """Folders that the cell has listed."""
        self._known: dict[str, list[int]] = {}
        """Every path that was noted, data or not: the first execution that read and wrote it."""
        self.machinery: set[str] = set()
        """Paths that Jupyter, MLflow or we opened for ends of their own."""
        self._held: dict[str, tuple[int | None, tuple[int, ...]]] = {}
        """Signatures of files before a program started that was given them, by the execution."""
        self.programs: dict[int | None, None] = {}
        """Executions that started a program which may read or write data."""
        self.children: Children | None = None
        self.roots: Roots | None = None

    # --- life

    def start(self) -> None:
        """Begin to watch. One watch is active in a process."""
        attach(self)

    def stop(self) -> None:
        """Watch no more."""
        detach(self)

    def failed(self, error: BaseException) -> None:
        """Note that the hook itself failed."""
        self.gap(f"Watching files failed once: {type(error).__name__}: {error}")

    def gap(self, text: str) -> None:
        """Note what could not be seen."""
        with unwatched():
            self._recording.gap(text)

    def unseen(self, text: str) -> None:
        """Note what these layers could not see, and the deep one (strace) would."""
        if text not in self._unseen:
            self._unseen.add(text)
            with unwatched():
                order = self.execution()
                self._emit("gap", {"text": text, "order": order, "closed_by": "strace"})

    def cell_ends(self, execution: Execution) -> None:
        """Take what the cell opened: the cross-check compares with it."""
        self._opened = self.drain()

    def cell_ended(self, execution: Execution) -> Any:
        """Return what the cell opened."""
        opened, self._opened = self._opened, []
        return opened

    def seal(self, timeout: float) -> None:
        """Report what a cell that still runs has opened, and wait for the digests."""
        order = self.execution()
        if opens := self.drain():
            self._emit("opens", {"order": order, "opens": opens})
        if not self.digests.settle(timeout):
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
        self._knows(absolute, access, order)
        if is_ignored(absolute, access):
            if is_source(absolute):
                self.sources[absolute] = order
            self._seen.add(key)
            return
        if by_machinery():
            self.machinery.add(absolute)
            return
        self._noted(path, absolute, access, order, layer)

    def note_of_child(
        self, path: str, absolute: str, access: Access, layer: str, was: list[int] | None
    ) -> None:
        """Note what a child process opened; `was` is the file's signature when it did."""
        order = self.execution()
        if (absolute, access, order) in self._seen:
            return
        self._knows(absolute, access, order)
        if access == "both" and was is not None:
            status = regular(absolute)
            self._noted(path, absolute, "read", order, layer)
            if status is not None and list(signature(status)) != was:
                self.digests.was_scratch(absolute)
                self.gap(f"{absolute} was read and changed in a child process: what it held before"
                         " is not known.")  # fmt: skip
                self._noted(path, absolute, "write", order, layer)
        else:
            self._noted(path, absolute, "write" if access == "both" else access, order, layer)

    def _noted(
        self, path: str, absolute: str, access: Access, order: int | None, layer: str
    ) -> None:
        if self.roots is not None:
            self.roots.watch_folder(os.path.dirname(absolute))
        with self._lock:
            self._seen.add((absolute, access, order))
            if access == "both":
                self._note_both(path, absolute, order, layer)
            elif access == "read":
                self._note_read(path, absolute, order, layer)
            else:
                self.digests.about_to_change(absolute)
                self._note_write(path, absolute, order, layer)

    def note_url(self, url: str, layer: str, access: Literal["read", "write"] = "read") -> None:
        """Note that a URL is about to be opened."""
        if not by_machinery(anywhere=True):
            self.url_of_child(url, layer, access)

    def url_of_child(self, url: str, layer: str, access: Literal["read", "write"]) -> None:
        """Note that a child process opened a URL."""
        from mlrepro_nb.capture.secrets import mask

        key = (url, f"url:{access}", self.execution())
        if key in self._seen:
            return
        self._seen.add(key)
        self._pending.append(
            {"path": mask(url), "absolute": None, "access": access, "order": key[2],
             "layer": layer}
        )  # fmt: skip

    def listed(self, folder: str) -> None:
        """Note that a folder's files are about to be listed."""
        if len(self._listed) < _MOST_LISTED and folder not in self._listed and not by_machinery():
            self.listed_by_child(folder)

    def listed_by_child(self, folder: str) -> None:
        """Note that a child process listed a folder's files."""
        if len(self._listed) < _MOST_LISTED and not is_ignored(f"{folder}/."):
            self._listed.setdefault(folder)

    def entered(self, folder: str) -> None:
        """Note that a folder becomes the working folder: what it holds may be read next."""
        if self.roots is not None:
            self.roots.watch_folder(folder, at_once=True)

    def started(self, argv: list[str]) -> None:
        """Note that a program is about to be started."""
        if self.execution() is None or by_machinery():
            return
        if is_pool(argv) and self.children is not None:
            return  # it reports itself
        commands = reading(argv, by_library=by_library())
        self.program(commands, held(commands))

    def program(self, commands: list[list[str]], before: Held) -> None:
        """Note that commands run of which only what the folders' cross-check sees is known.

        Parameters
        ----------
        commands : list of list of str
            Each as its words.
        before : dict
            The files that they are given, as they were before they started.
        """
        for absolute, one in before.items():
            self._held[absolute] = self.execution(), tuple(one)
        for words in commands:
            self.programs.setdefault(self.execution())
            for word in words[1:]:
                if "://" in word and not word.startswith("-"):
                    self.url_of_child(word, "audit", "read")
                elif is_source(absolute := os.path.abspath(word)) and regular(absolute) is not None:
                    # In the kernel a source is a module; of what a program runs none else tells.
                    self._noted(word, absolute, "read", self.execution(), "audit")
                elif self.roots is not None and os.path.exists(word):
                    folder = word if os.path.isdir(word) else os.path.dirname(word)
                    self.roots.watch_folder(os.path.abspath(folder), at_once=True)
            self._follow(words)
            name = printable(os.path.basename(words[0]))
            self.unseen(
                f"`{name}` was started: of what a child process reads and writes, only files in "
                "the project are seen (mlrepro record --deep sees all)."
                if self.roots is not None
                else f"`{name}` was started: what a child process reads and writes is not seen."
            )

    def _follow(self, words: list[str]) -> None:
        """Note the project's sources that a Python program imports, and what else it does."""
        sources, imports = imported_by(words)
        self.imports |= imports
        for file in sources:
            if (file, "read", self.execution()) not in self._seen:
                self._noted(os.path.relpath(file), file, "read", self.execution(), "audit")

    def _knows(self, absolute: str, access: Access, order: int | None) -> None:
        orders = self._known.setdefault(absolute, [_NEVER, _NEVER])
        now = -1 if order is None else order
        for at, bit in enumerate((READ, WRITE)):
            if _BITS[access] & bit and now < orders[at]:
                orders[at] = now

    def known(self, order: int) -> dict[str, int]:
        """Return all paths that were noted until the end of an execution, as `READ` | `WRITE`."""
        return {
            path: (READ if read <= order else 0) | (WRITE if write <= order else 0)
            for path, (read, write) in list(self._known.items())
        }

    def is_known(self, absolute: str, order: int) -> int:
        """Return what was noted of a path until the end of an execution."""
        read, write = self._known.get(absolute, (_NEVER, _NEVER))
        return (READ if read <= order else 0) | (WRITE if write <= order else 0)

    def moved(self, source: str, target: str) -> None:
        """Note that a file takes another's place."""
        self.digests.about_to_change(target, "replaced")
        self.digests.about_to_change(source, "removed")
        if self.digests.was_removed(source):
            self._pending = [
                entry for entry in self._pending
                if not (entry["absolute"] == source and entry["access"] == "write")
            ]  # fmt: skip
            self._emit("removed", {"absolute": printable(source)})
        self._knows(target, "write", self.execution())
        if not is_ignored(target, "write"):
            self._note_write(target, target, self.execution(), "audit")

    def removed(self, absolute: str) -> None:
        """Note that a file is about to be deleted: what was written to it is no result."""
        if not self.digests.was_removed(absolute):
            self.digests.about_to_change(absolute, "removed")
            return
        self._emit("removed", {"absolute": printable(absolute)})
        written, kept = False, []
        for entry in self._pending:
            same = entry["absolute"] == absolute
            written = written or (same and entry["access"] == "write")
            if not (same and written):
                kept.append(entry)  # what was read before it was written is an input
            elif entry["access"] == "read":
                self.digests.was_scratch(absolute)
        if any(entry["absolute"] == absolute for entry in kept):
            self.digests.about_to_change(absolute, "removed")
        self._pending = kept

    def _note_read(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        self.digests.was_read(absolute, order)
        self._add(path, absolute, "read", order, layer)

    def _note_write(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        if os.path.isdir(absolute):
            if layer == "audit":
                return  # an unnamed file in a folder (O_TMPFILE)
            self._folders.setdefault(absolute, (time.time_ns() - _COARSE_NS, layer, path))
            return
        self.digests.was_written(absolute, order)
        self._add(path, absolute, "write", order, layer)

    def _note_both(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        status = regular(absolute)
        if status is None or status.st_size == 0:
            self._note_write(path, absolute, order, layer)
            return
        self._note_read(path, absolute, order, layer)
        self.digests.about_to_change(absolute)
        self._both.setdefault(absolute, (path, layer, signature(status)))

    def _add(self, path: str, absolute: str, access: str, order: int | None, layer: str) -> None:
        self._pending.append(
            {"path": path, "absolute": absolute, "access": access, "order": order, "layer": layer}
        )

    # --- at the end of a cell

    def drain(self) -> list[dict[str, Any]]:
        """Return what was opened since the last call; digests follow as ``file`` events."""
        if self.children is not None:
            self.children.collect()
        order = self.execution()
        if self._listed:
            listed, self._listed = self._listed, {}
            if order is not None:
                folders = [printable(folder) for folder in listed]
                self._emit("listed", {"order": order, "folders": folders})
        with self._lock:
            for absolute, (path, layer, before) in list(self._both.items()):
                status = regular(absolute)
                now = signature(status) if status else None
                if now is not None and now != before:
                    self._both[absolute] = (path, layer, now)
                    self._note_write(path, absolute, order, layer)
            pending, self._pending = self._pending, []
            kept = []
            for entry in self._with_folders(pending):
                absolute = entry["absolute"]
                if absolute is None:
                    kept.append(entry)
                    continue
                if regular(absolute) is None and not self.digests.is_known(absolute):
                    # Never there, a folder, or gone again: scratch of the cell's own.
                    self.digests.was_scratch(absolute)
                    continue
                self.digests.ask(absolute, entry["access"], entry["order"])
                kept.append(_said(entry))
            if len(self._seen) > 100_000:
                self._seen.clear()
        return kept

    def _with_folders(self, pending: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the entries, a folder that was to be written as the files that are new in it."""
        folders, self._folders = self._folders, {}
        for entry in pending:
            absolute = entry["absolute"]
            if entry["access"] == "write" and absolute and os.path.isdir(absolute):
                self.digests.was_removed(absolute)
                folders.setdefault(absolute, (0, entry["layer"], entry["path"]))
                continue
            yield entry
        noted = {entry["absolute"] for entry in pending if entry["access"] == "write"}
        for folder, (since, layer, given) in folders.items():
            for path in _changed(folder, since):
                if path in noted or is_ignored(path, "write"):
                    continue
                self._knows(path, "write", self.execution())
                self.digests.was_written(path, self.execution())
                yield {"path": given.rstrip("/") + path[len(folder):], "absolute": path,
                       "access": "write", "order": self.execution(), "layer": layer}  # fmt: skip

    def was_given(self, absolute: str, order: int) -> bool:
        """Return whether an execution started a program that was given a file."""
        return absolute in self._held and self._held[absolute][0] == order

    def was_changed(self, order: int, absolute: str, layer: str) -> None:
        """Report what a file held that a program of an execution read and then changed."""
        before = self.digests.known(absolute, self._held[absolute][1])
        if before is None:
            self.gap(f"{absolute} was read and changed by a program: what it held before is not"
                     " known.")  # fmt: skip
            return
        self._knows(absolute, "read", order)
        self._emit("files", [{"absolute": printable(absolute), "access": "read", "order": order,
                              "digest": before.digest, "md5": before.md5,
                              "size": before.size}])  # fmt: skip
        self._late(order, [(absolute, "read", layer)])

    def late(self, order: int, opens: list[tuple[str, Access, str]]) -> None:
        """Report what is learnt of an execution after its end: path, access and layer of each."""
        for absolute, access, _ in opens:
            self._knows(absolute, access, order)
            if access == "read":
                self.digests.was_read(absolute, order)
            else:
                self.digests.was_written(absolute, order)
            self.digests.ask(absolute, access, order)
        self._late(order, opens)

    def _late(self, order: int, opens: list[tuple[str, Access, str]]) -> None:
        here = os.getcwd().rstrip("/") + "/"
        found = [
            _said({"path": absolute.removeprefix(here), "absolute": absolute, "access": access,
                   "order": order, "layer": layer})
            for absolute, access, layer in opens
        ]  # fmt: skip
        self._emit("opens", {"order": order, "opens": found})


def _said(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry whose names JSON can hold, whatever bytes they are made of."""
    path, absolute = printable(entry["path"]), printable(entry["absolute"])
    return {**entry, "path": path, "absolute": absolute}


def _changed(folder: str, since: int) -> Iterator[str]:
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(where, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_mtime_ns >= since:
                yield path
