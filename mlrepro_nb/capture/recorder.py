"""The recorder: listens to a live kernel and reports what each cell did, as events.

An event is (kind, JSON data). Every cell's events are out before the next cell
starts, so that a kernel that is killed loses nothing but the cell it was in.
`mlrepro_nb.capture.assembly` says what the events mean together.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from mlrepro_nb.capture import environment
from mlrepro_nb.capture.cells.location import find_notebook
from mlrepro_nb.capture.cells.outputs import OutputTap
from mlrepro_nb.capture.cells.source import cell_name, imported_names
from mlrepro_nb.capture.data.audit import paused, unwatched
from mlrepro_nb.capture.data.files import FileWatch
from mlrepro_nb.capture.data.hashing import DigestCache
from mlrepro_nb.capture.data.readers import ReaderWatch
from mlrepro_nb.capture.environment import EnvironmentWatch
from mlrepro_nb.capture.hardware import HardwareWatch
from mlrepro_nb.capture.randomness import RandomnessWatch
from mlrepro_nb.capture.runs import RunWatch
from mlrepro_nb.capture.secrets import mask
from mlrepro_nb.capture.watch import Execution, Watch
from mlrepro_nb.model import digest_text

Sink = Callable[[str, Any], None]

_SEAL_TIMEOUT = 3.0
"""Seconds that a kernel that shuts down waits for digests; a front end kills it after five."""


class Recorder:
    """Records the cells of a shell from `start` to `stop`.

    It never raises and never changes what a cell does: whatever goes wrong in
    here becomes a ``gap`` event.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell; one without a kernel (a terminal's) is recorded without outputs.
    sink : callable
        Receives (kind, data); called from several threads.
    mode : str
        ``interactive``, ``headless`` or ``verify``.
    cache : DigestCache, optional
        Digests of files from earlier sessions.
    """

    def __init__(
        self,
        shell: Any,
        sink: Sink,
        *,
        mode: Literal["interactive", "headless", "verify"] = "interactive",
        cache: DigestCache | None = None,
    ) -> None:
        self.shell = shell
        self.mode = mode
        self._sink = sink
        self._lock = threading.RLock()
        self._order = 0
        self._stack: list[Execution] = []
        self._open: dict[str, Execution] = {}
        self._orders: dict[str, int] = {}
        self._gaps: set[str] = set()
        self._pid = os.getpid()
        self._running = False
        self.notebook = find_notebook(shell)
        files = FileWatch(self, cache=cache)
        self.watches: tuple[Watch, ...] = (
            files,
            ReaderWatch(files),
            RandomnessWatch(self),
            RunWatch(self),
            EnvironmentWatch(self, files.sources, fresh=self._is_fresh()),
            HardwareWatch(self),
        )
        """In the order in which they start; they end in the reverse order."""
        kernel = getattr(shell, "kernel", None)
        session = getattr(kernel, "session", None)
        self._tap = OutputTap(session, self._published) if session is not None else None

    # --- life

    def start(self) -> None:
        """Begin to record."""
        self._running = True
        with self._guard("starting"):
            self.emit("start", self._start_event())
        for watch in self.watches:
            with self._guard(watch.title):
                watch.start()
        if self._tap is not None:
            with self._guard("outputs"):
                self._tap.start()
        self.shell.events.register("pre_run_cell", self._before)
        self.shell.events.register("post_run_cell", self._after)
        os.register_at_fork(after_in_child=self._in_child)
        with self._guard("the cell that loaded the recorder"):
            self._join_running_cell()
        threading.Thread(target=self._describe, name="mlrepro-describe", daemon=True).start()

    def stop(self) -> None:
        """Record no more: report what is known only at the end, and let go of the kernel."""
        if not self._running:
            return
        self.seal()
        self._running = False
        for event, callback in (("pre_run_cell", self._before), ("post_run_cell", self._after)):
            with contextlib.suppress(ValueError):
                self.shell.events.unregister(event, callback)
        for watch in reversed(self.watches):
            with self._guard(watch.title):
                watch.stop()
        if self._tap is not None:
            self._tap.stop()

    def seal(self, timeout: float = _SEAL_TIMEOUT) -> None:
        """Report all that the events so far leave open, as of now."""
        if not self._running or os.getpid() != self._pid:
            return
        with unwatched(), self._guard("sealing"):
            for execution in list(self._open.values()):
                if execution.done:
                    self._finish(execution)
            if self._tap is not None:
                for request in list(self._tap.changed):
                    if request in self._orders:
                        self.emit(
                            "output",
                            {"order": self._orders[request], "outputs": self._tap.digests(request)},
                        )
            for watch in self.watches:
                with self._guard(watch.title):
                    watch.seal(timeout)
            running = self._stack[-1] if self._stack else None
            self.emit(
                "seal",
                {
                    "ended": _now(),
                    "running": running.order if running else None,
                    "duration": time.perf_counter() - running.clock if running else None,
                },
            )

    # --- what others ask

    def current(self) -> int | None:
        """Return the order of the execution that is running, or None."""
        return self._stack[-1].order if self._stack else None

    def gap(self, text: str) -> None:
        """Note, once, something that could not be recorded."""
        if text not in self._gaps:
            self._gaps.add(text)
            self.emit("gap", {"text": mask(text), "order": self.current()})

    @property
    def executions(self) -> int:
        """How many executions were recorded."""
        return self._order

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done now: one of our own verbs runs inside the kernel."""
        with unwatched(), paused():
            yield

    # --- IPython's events

    def _before(self, info: Any) -> None:
        if not self._running:
            return
        with unwatched(), self._guard("a cell's start"):
            if self._stack and not self._stack[-1].done:
                # A cell that runs a cell (run_cell in a magic): the outer one is recorded.
                self._stack.append(self._stack[-1])
                return
            parent = self._parent()
            request = (parent.get("header") or {}).get("msg_id") or f"local-{self._order}"
            self._begin(info.raw_cell or "", request, self._cell_id(info, parent))

    def _after(self, result: Any) -> None:
        if not self._running:
            return
        with unwatched(), self._guard("a cell's end"):
            if not self._stack:
                return
            execution = self._stack.pop()
            if self._stack:
                return
            execution.duration = time.perf_counter() - execution.clock
            if result is not None:
                execution.count = result.execution_count
                error = result.error_before_exec or result.error_in_exec
                if error is not None:
                    interrupted = isinstance(error, KeyboardInterrupt)
                    execution.status = "interrupted" if interrupted else "error"
                    execution.error = mask(f"{type(error).__name__}: {_said(error)}")[:2000]
            else:
                execution.status = "interrupted"
            self._stack.append(execution)  # what follows belongs to it
            try:
                self._ended(execution)
            finally:
                self._stack.clear()

    def _begin(self, source: str, request: str, cell_id: str | None) -> None:
        execution = Execution(order=self._order, request=request, source=source, cpu=_cpu())
        self._order += 1
        self._stack[:] = [execution]
        self._open[request] = execution
        self._orders[request] = execution.order
        if self._tap is not None:
            self._tap.open(request)
        self.emit(
            "begin",
            {
                "order": execution.order,
                "id": cell_id,
                "name": cell_name(source),
                "source": mask(source),
                "digest": digest_text(source),
                "started": _now(),
            },
        )
        for watch in self.watches:
            with self._guard(watch.title):
                watch.cell_begins(execution)
        execution.clock = time.perf_counter()

    def _ended(self, execution: Execution) -> None:
        data: dict[str, Any] = {
            "order": execution.order,
            "count": execution.count,
            "status": execution.status,
            "error": execution.error,
            "duration": round(execution.duration, 6),
        }
        for watch in self.watches:
            with self._guard(watch.title):
                did = watch.cell_ended(execution)
                if watch.part is not None and did is not None:
                    data[watch.part] = did
        self.emit("end", data)
        execution.done = True
        if self._tap is None:
            self._finish(execution)
        for watch in self.watches:
            with self._guard(watch.title):
                watch.after_cell(execution)

    def _published(self, request: str) -> None:
        """All outputs of a request have been sent."""
        execution = self._open.get(request)
        if execution is not None and execution.done:
            with self._guard("outputs"):
                self._finish(execution)

    def _finish(self, execution: Execution) -> None:
        if self._open.pop(execution.request, None) is None or self._tap is None:
            return
        outputs = self._tap.digests(execution.request)
        if outputs:
            self.emit("output", {"order": execution.order, "outputs": outputs})

    def _join_running_cell(self) -> None:
        """Record the cell that is loading the recorder, which has begun already."""
        parent = self._parent()
        content = parent.get("content") or {}
        if (parent.get("header") or {}).get("msg_type") != "execute_request":
            return
        if content.get("silent") or not content.get("store_history", True):
            return
        if before := self._cells_before():
            self.gap(f"{before} executions came before the recording started.")
        self._begin(
            str(content.get("code", "")), parent["header"]["msg_id"], self._cell_id(None, parent)
        )

    # --- the rest

    def _cells_before(self) -> int:
        """Return how many executions came before the running one."""
        history = getattr(self.shell, "history_manager", None)
        # Its list starts with an empty text and ends with the cell that is running.
        return max(0, len(getattr(history, "input_hist_raw", ())) - 2)

    def _is_fresh(self) -> bool:
        """Return whether no code of the user's has run in this kernel yet."""
        if self._cells_before():
            return False
        code = str((self._parent().get("content") or {}).get("code", ""))
        return not imported_names(code) - {"mlrepro_nb"}

    def _parent(self) -> dict[str, Any]:
        for owner in (self.shell, getattr(self.shell, "kernel", None)):
            get_parent = getattr(owner, "get_parent", None)
            if get_parent is not None:
                with contextlib.suppress(Exception):
                    return get_parent() or {}
        return {}

    @staticmethod
    def _cell_id(info: Any, parent: dict[str, Any]) -> str | None:
        found = getattr(info, "cell_id", None) or (parent.get("metadata") or {}).get("cellId")
        return str(found) if found else None

    def _start_event(self) -> dict[str, Any]:
        return {
            "time": _now(),
            "pid": self._pid,
            "mode": self.mode,
            "who": _who(),
            "cwd": str(Path.cwd()),
            "notebook": str(self.notebook) if self.notebook else None,
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "kernelspec": environment.kernelspec(),
            "tool": environment.tool(),
        }

    def _describe(self) -> None:
        """What is known at the start, in case that the end never comes."""
        for watch in self.watches:
            with unwatched(), self._guard(watch.title):
                watch.describe()

    def emit(self, kind: str, data: Any) -> None:
        """Report an event, unless this is a forked child: its journal is its parent's."""
        if os.getpid() != self._pid:
            return
        try:
            with unwatched(), self._lock:
                self._sink(kind, data)
        except Exception as error:  # noqa: BLE001 - a full disk must not stop the user's work
            self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        if "sink" not in self._gaps:
            self._gaps.add("sink")
            with contextlib.suppress(Exception):
                print(f"mlrepro: the recording cannot be kept: {error}", file=sys.__stderr__)

    @contextlib.contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see the class: it never raises
            self.gap(f"Recording {what} failed: {type(error).__name__}: {error}")

    def _in_child(self) -> None:
        # A forked child has none of our threads and must not write to our journal.
        self._running = False


def _now() -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return now.replace("+00:00", "Z")


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's __str__
        return "<no message>"


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"
