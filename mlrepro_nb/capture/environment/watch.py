"""Watches what comes into the process: imported modules, and the software around them."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from mlrepro_nb.capture import orphan
from mlrepro_nb.capture.cells.source import imported_names
from mlrepro_nb.capture.data.audit import unwatched
from mlrepro_nb.capture.environment import cuda, libraries, startup, system, variables
from mlrepro_nb.capture.environment.distributions import checkout, owners_of_shared
from mlrepro_nb.capture.environment.importers import ImportLog
from mlrepro_nb.capture.environment.modules import LocalModules
from mlrepro_nb.capture.environment.surveyor import Surveyor, cache_file, installed
from mlrepro_nb.capture.environment.used import UsedModules
from mlrepro_nb.capture.environment.workers import WorkerImports
from mlrepro_nb.capture.watch import Execution, Recording, Watch
from mlrepro_nb.capture.worker import Worker

_STORE = re.compile(r"(?m)^\s*%store\s+-r\b[ \t]*(.*)$")

_QUIET = 1.0
"""Seconds without a cell after which files are checked, which takes the machine's time."""
_PATIENCE = 20.0
"""Seconds after which they are checked beside the cells."""


class Files(Protocol):
    """Who hears of files (`data.files`)."""

    @property
    def sources(self) -> dict[str, int | None]:
        """Python files that cells opened themselves, with the last execution that did."""

    @property
    def imports(self) -> set[str]:
        """Top-level modules that Python programs which cells started import."""


class Children(Protocol):
    """Who hears child processes (`data.children`)."""

    def imported(self) -> list[dict[str, Any]]:
        """Return what they imported since the last time."""


class EnvironmentWatch(Watch):
    """Reports the software that a kernel runs on.

    Its events are ``imports`` and ``modules`` (as they come), ``distributions``
    (what is installed; again if that changed), ``edits`` (files of them that
    are not what was installed), ``checkouts`` (the state of what is installed
    from a folder under git) and ``environment`` (all else).

    A cell waits for none of it: a thread looks at what cells imported, and a
    process of its own at what is installed.

    Parameters
    ----------
    recording : Recording
        The recorder.
    files : Files
        Who hears of the files that cells open themselves (``%run``), and of programs.
    children : Children, optional
        Who hears what child processes import.
    fresh : bool
        Whether no code of the user's has run in this process yet.
    """

    title = "the environment"

    def __init__(
        self, recording: Recording, files: Files,
        children: Children | None = None, *, fresh: bool,
    ) -> None:  # fmt: skip
        self._recording = recording
        self._children = children
        self._told: list[dict[str, Any]] = []
        """What child processes imported, until the thread looks at it."""
        self._emit = recording.emit
        self._files = files
        self._opened: dict[str, int | None] = {}
        self._log = ImportLog()
        self._workers = WorkerImports(self._log)
        self._used = UsedModules(fresh=fresh)
        self._modules = LocalModules(recording.gap)
        self._variables = variables.variables()  # libraries set variables of their own later
        self._startup: list[dict[str, Any]] | None = None
        self._kernelspec: dict[str, Any] | None = None
        self._restored: dict[str, dict[str, Any]] = {}
        self._taken = 0
        self._looked = 0
        self._reported: dict[str, Any] = {}
        self._reported_modules: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._began = 0.0
        self._worker: Worker[Execution | None] = Worker("mlrepro-modules", self._work)
        self._surveyed: list[dict[str, Any]] = []
        self._folders: list[tuple[str, int]] = []
        self._described = threading.Event()
        self._checked: set[str] = set()
        self._asking = threading.Lock()
        self._surveying = threading.Lock()
        self._checking: threading.Thread | None = None
        self._hurry = threading.Event()

    # --- life

    def start(self) -> None:
        """Begin to watch imports."""
        self._log.start()
        self._workers.start()

    def stop(self) -> None:
        """Watch imports no more."""
        self._workers.stop()
        self._log.stop()

    def cell_begins(self, execution: Execution) -> None:
        """Note which modules the cell names itself."""
        self._began = time.time()
        if "import" in execution.source:
            self._used.named |= imported_names(execution.source)

    def cell_ends(self, execution: Execution) -> None:
        """Have a thread look at what the cell imported, if it did."""
        if "%store" in execution.source:
            self._note_restored(execution.source)
        entries = self._log.entries
        opened = self._files.sources != self._opened
        told = self._hear(execution.order)
        if not opened and not told and len(entries) == self._looked and not self._reloads():
            return
        # Whoever sees the result may write to the project's sources at once, and so may the next
        # cell: they cannot wait.
        while self._looked < len(entries):
            entry = entries[self._looked]
            if entry.importer == "__main__" or entry.importer in self._log.again:
                self._log.again |= self._modules.take([entry], execution.order)
            self._looked += 1
        if opened:
            self._opened = dict(self._files.sources)
            self._modules.take_opened(self._opened)
        self._worker.put(execution)

    def _hear(self, order: int | None) -> bool:
        """Take what child processes told; return whether they did."""
        told = self._children.imported() if self._children is not None else []
        for one in told:
            self._modules.take_of_worker(one["sources"], order)
        self._told += told
        return bool(told) or not self._files.imports <= self._used.by_programs

    def describe(self) -> None:
        """Report the installed software."""
        self._look_back()
        self._emit("environment", self._environment())
        with self._lock:
            self._log.again |= self._modules.take_process()
        try:
            self._survey()
        finally:
            self._described.set()
        self._worker.put(None)

    def seal(self, timeout: float) -> None:
        """Report what is in the process now."""
        deadline = time.monotonic() + timeout
        self._look_back()
        self._hear(self._recording.current())
        self._take(self._recording.current())
        self._modules.take_opened(dict(self._files.sources))
        with self._lock:
            self._used.look(getattr(self._recording.shell, "user_ns", None) or {})
            self._modules.take_process()
            self._used.named |= self._modules.imports
        self._described.wait(max(0.0, deadline - time.monotonic()))
        if self._described.is_set():
            self._survey_again(max(0.1, deadline - time.monotonic()))
        self._report()
        self._ask_whether_tried(max(0.0, deadline - time.monotonic()))
        self._report(sealing=True)
        self._emit("modules", self._modules.report())
        self._emit("environment", {**self._environment(), **self._in_process()})
        self._hurry.set()
        self._check()
        if (running := self._checking) is not None:
            running.join(max(0.0, deadline - time.monotonic()))
        self._hurry.clear()

    def _look_back(self) -> None:
        """Find out what ran before the first cell, and what started the kernel."""
        with self._lock:
            if self._startup is None:
                self._kernelspec = startup.kernelspec(startup.kernelspec_name())
                self._startup = startup.startup(self._recording.shell)

    # --- what is installed

    def _survey(self, timeout: float | None = None) -> None:
        folders = _folders()
        found = installed(sys.path, sys.prefix, timeout=timeout)
        if found is None:
            return  # whoever makes the record asks again
        self._surveyed, self._folders = found["distributions"], folders
        self._emit("distributions", found)

    def _survey_again(self, timeout: float | None = None) -> None:
        """Survey anew if something was installed or removed since."""
        if not self._surveying.acquire(timeout=-1 if timeout is None else timeout):
            return
        try:
            if self._folders != _folders():
                self._survey(timeout)
        finally:
            self._surveying.release()

    def _check(self) -> None:
        """Have what came into the process looked at once no cell runs, one batch at a time.

        That is which libraries were only tried, and whether the distributions are as installed.
        """
        if self._checking is not None and self._checking.is_alive():
            return
        with self._lock:
            unasked = self._used.open(self._reported.get("modules", ()))
        if not unasked and not self._unchecked():
            return

        def run() -> None:
            orphan.wait_for_quiet(_QUIET, _PATIENCE, self._hurry)
            with unwatched():
                self._ask_whether_tried()
                self._report()
                self._check_files(self._unchecked())

        self._checking = threading.Thread(target=run, name="mlrepro-check", daemon=True)
        self._checking.start()

    def _unchecked(self) -> list[dict[str, Any]]:
        """Return the distributions in the process whose files were not checked."""
        used = set(self._reported.get("modules", ()))
        return [
            entry
            for entry in self._surveyed
            if entry["name"] not in self._checked and used & set(entry["modules"])
        ]

    def _check_files(self, wanted: list[dict[str, Any]]) -> None:
        if not wanted:
            return
        names = [entry["name"] for entry in wanted]
        self._checked.update(names)
        states = {e["name"]: checkout(Path(e["folder"])) for e in wanted if e.get("folder")}
        if states:
            self._emit("checkouts", states)
        libraries.libraries(libraries.mapped())  # what the seal would have to wait for
        files = [[entry["name"], entry["location"]] for entry in wanted]
        request = {"check": files, "prefix": sys.prefix, "cache": cache_file()}
        found = Surveyor(request).answer()
        if found is not None:
            self._emit("edits", {"of": names, "found": found})

    # --- what is in the process

    def _ask_whether_tried(self, timeout: float | None = None) -> None:
        """Find out which libraries would have gone on without what they imported.

        Not with the check of files: that takes many seconds, and a record that is
        made meanwhile would count what was only tried as needed.
        """
        if not self._asking.acquire(timeout=-1 if timeout is None else timeout):
            return
        try:
            used = set(self._reported.get("modules", ()))
            with self._lock:
                unasked = self._used.open(used)
            request = {"stacks": [stack for _, stack in unasked]}
            told = Surveyor(request).answer(timeout) if unasked else None
            if told is not None:
                with self._lock:
                    self._used.asked.update(edge for edge, _ in unasked)
                    pairs = zip(unasked, told["guarded"], strict=True)
                    self._used.tried.update(edge for (edge, _), tried in pairs if tried)
        finally:
            self._asking.release()

    def _work(self, ended: list[Execution | None]) -> None:
        for execution in ended:
            try:
                self._take(execution.order if execution else None, edited=execution is not None)
                self._report()
                if self._described.is_set():
                    # Not left for the end: a kernel that shuts down has no time for it.
                    self._survey_again()
                if self._recording.mode != "interactive":
                    # The run of all cells at once has no quiet moment, and who waits for its
                    # end would wait for this too.
                    self._ask_whether_tried()
                    self._report()
                self._check()
            except Exception as error:  # noqa: BLE001, PERF203 - the cells go on
                self._recording.gap(f"Recording imports failed: {type(error).__name__}: {error}")

    def _take(self, order: int | None, *, edited: bool = False) -> None:
        with self._lock:
            entries = self._log.entries[self._taken :]
            self._taken += len(entries)
            self._used.take(entries)
            self._used.by_programs |= self._files.imports
            told, self._told = self._told, []
            for one in told:
                self._used.take_of_worker(one["edges"], one["packages"])
            before = self._reported_modules
            self._log.again |= self._modules.take(
                (e for e in entries if e.module not in self._log.again), order
            )
            if edited and order is not None and self._reloads():
                self._modules.take_edited(order, self._began)
            after = self._modules.report()
            self._used.named |= self._modules.imports
            self._reported_modules = after
        if after != before:
            self._emit("modules", after)

    def _report(self, *, sealing: bool = False) -> None:
        with self._lock:
            found = self._used.report()
            if sealing and self._surveyed:
                found["owners"] = owners_of_shared(found["modules"], self._surveyed)
            elif "owners" in self._reported:
                found["owners"] = self._reported["owners"]
            if found == self._reported:
                return
            self._reported = found
        self._emit("imports", found)

    def _reloads(self) -> bool:
        """Return whether IPython's autoreload loads edited modules again before a cell."""
        manager = getattr(self._recording.shell, "magics_manager", None)
        magics = getattr(manager, "registry", {}).get("AutoreloadMagics")
        return bool(getattr(getattr(magics, "_reloader", None), "enabled", False))

    def _note_restored(self, source: str) -> None:
        for match in _STORE.finditer(source):
            names = match[1].split()
            if not names:
                keys = self._recording.shell.db.keys("autorestore/*")
                names = sorted(str(key).rpartition("/")[2] for key in keys)
            line = match[0].strip()
            self._restored[line] = {"kind": "store", "name": line, "defines": names}

    def _environment(self) -> dict[str, Any]:
        return {
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "kernelspec": startup.kernelspec_name(),
            "system": system.system(),
            "manager": system.manager(sys.prefix, sys.base_prefix),
            "variables": self._variables,
            "startup": [*(self._startup or ()), *self._restored.values()],
            "kernel": self._kernelspec,
            "interpreter": {
                "executable": sys.executable, "path": list(sys.path), "prefix": sys.prefix,
            },
        }  # fmt: skip

    def _in_process(self) -> dict[str, Any]:
        return {
            "packages": self._used.packages(self._reported.get("modules", ())),
            "threadpools": system.threadpools(),
            "libraries": libraries.mapped(),
            "cuda": cuda.cuda(),
        }


def _folders() -> list[tuple[str, int]]:
    """Return when something last came into or left the folders that modules are found in.

    Of one that no installer made (``pip install --target``, a checkout) only that it is one:
    anybody writes to it.
    """
    found = []
    for entry in sys.path:
        with contextlib.suppress(OSError):
            changed = os.stat(entry).st_mtime_ns  # noqa: PTH116
            if "-packages" in entry:
                found.append((entry, changed))
            elif _holds_distributions(entry, changed):
                found.append((entry, 0))
    return found


@functools.lru_cache(maxsize=256)
def _holds_distributions(folder: str, _: int) -> bool:
    if not os.path.isdir(folder):  # noqa: PTH112 - the library's archive
        return False
    return any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(folder))  # noqa: PTH208
