"""The recorder: listens to a live kernel and reports what each cell did, as events.

An event is (kind, JSON data). That a cell ended is out before its front end hears
of it, and all that it did before the next cell starts: a kernel that is killed loses
nothing but the cell it was in. `mlrepro_nb.capture.assembly` says what the events
mean together.

What a cell did is looked at once its front end has been told that it is done: a
person sees the result, or papermill sends the next cell, meanwhile. What all this
costs is counted (`benchmarks/recording.py` lists each watch's microseconds).
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import platform
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from mlrepro_nb.capture import environment, orphan
from mlrepro_nb.capture.cells.client import asked_by, is_persons
from mlrepro_nb.capture.cells.effects import EffectWatch
from mlrepro_nb.capture.cells.location import find_notebook
from mlrepro_nb.capture.cells.names import NameWatch
from mlrepro_nb.capture.cells.outputs import OutputTap
from mlrepro_nb.capture.cells.source import cell_name, imported_names
from mlrepro_nb.capture.cells.widgets import WidgetWatch
from mlrepro_nb.capture.clock import clock, now, pid, thread
from mlrepro_nb.capture.data.audit import paused, unwatched
from mlrepro_nb.capture.data.children import ChildrenWatch
from mlrepro_nb.capture.data.digests import Keep
from mlrepro_nb.capture.data.files import FileWatch
from mlrepro_nb.capture.data.hashing import DigestCache
from mlrepro_nb.capture.data.layers import layers
from mlrepro_nb.capture.data.paths import relative
from mlrepro_nb.capture.data.readers.versions import VersionWatch
from mlrepro_nb.capture.environment import EnvironmentWatch
from mlrepro_nb.capture.guards import Guard, Uninterrupted
from mlrepro_nb.capture.hardware import HardwareWatch
from mlrepro_nb.capture.metrics import MetricWatch
from mlrepro_nb.capture.randomness import RandomnessWatch
from mlrepro_nb.capture.runs import RunWatch
from mlrepro_nb.capture.secrets import mask, mask_values, scrub
from mlrepro_nb.capture.watch import Execution, Watch
from mlrepro_nb.model import digest_text
from mlrepro_nb.store import project_root

Sink = Callable[[str, Any], None]

_SEAL_TIMEOUT = 1.0
"""Seconds that a kernel that shuts down waits for each watch; a front end sends it SIGTERM after
two and a half."""
_BREATH = 0.002
"""Seconds that a kernel has to tell its front end that a cell is done."""


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
    keep : callable, optional
        Keeps the bytes of an input that the run overwrites, and returns their digest.
    """

    def __init__(
        self,
        shell: Any,
        sink: Sink,
        *,
        mode: Literal["interactive", "headless", "verify"] = "interactive",
        cache: DigestCache | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.shell = shell
        self.mode = mode
        self._sink = sink
        self._order = 0
        self._stack: list[Execution] = []
        self._open: dict[str, Execution] = {}
        self._orders: dict[str, int] = {}
        self._gaps: set[str] = set()
        self._pid = pid()
        self._thread = thread()
        self._running = False
        self._unseen: Execution | None = None
        """The last cell, from its end until it was looked at."""
        self._sealed = False
        self.ending: Callable[[], None] = lambda: None
        """Called when a cell told the kernel to exit."""
        self._hooked: dict[str, list[Watch]] = {}
        """The watches that do something at each moment of a cell, by the method's name."""
        self.notebook = find_notebook(shell)
        files = FileWatch(self, cache=cache, keep=keep)
        children = ChildrenWatch(files)
        names = NameWatch(self)
        self.metrics = MetricWatch(self)
        self.watches: tuple[Watch, ...] = (
            *layers(self, files, children),
            VersionWatch(self),
            RandomnessWatch(self, children),
            RunWatch(self, files.digests, self._tags()),
            self.metrics,
            EnvironmentWatch(self, files, children, fresh=self._is_fresh()),
            EffectWatch(self),
            WidgetWatch(self, names, self._showed),
            names,
            HardwareWatch(self),
        )
        """In the order in which they start; they end in the reverse order."""
        kernel = getattr(shell, "kernel", None)
        session = getattr(kernel, "session", None)
        self._tap = (
            OutputTap(session, self._published, self.metrics.displayed)
            if session is not None
            else None
        )
        self._kernel: Any = kernel
        self._handler_hook: Any = None

    # --- life

    def start(self) -> None:
        """Begin to record."""
        self._running = True
        with self._guard("starting"):
            self.emit("start", self._start_event())
        for watch in self.watches:
            with self._guard(watch.title):
                watch.start()
        self._hooked = {
            hook: [w for w in self.watches if getattr(type(w), hook) is not getattr(Watch, hook)]
            for hook in ("cell_begins", "cell_ends", "cell_ended", "after_cell")
        }
        if self._tap is not None:
            with self._guard("outputs"):
                self._tap.start()
                self._look_before_messages()
        self.shell.events.register("pre_run_cell", self._before)
        self.shell.events.register("post_run_cell", self._after)
        _recorders.add(self)
        with self._guard("the cell that loaded the recorder"):
            self._join_running_cell()
        threading.Thread(target=self._describe, name="mlrepro-describe", daemon=True).start()

    def stop(self) -> None:
        """Record no more: report what is known only at the end, and let go of the kernel."""
        if not self._running:
            return
        if not self._sealed:
            self.seal()
        self._running = False
        for event, callback in (("pre_run_cell", self._before), ("post_run_cell", self._after)):
            with contextlib.suppress(ValueError):
                self.shell.events.unregister(event, callback)
        _recorders.discard(self)
        orphan.cell_ends()
        for watch in reversed(self.watches):
            with self._guard(watch.title):
                watch.stop()
        if self._tap is not None:
            self._tap.stop()
        if self._handler_hook is not None:
            if self._kernel.__dict__.get("pre_handler_hook") is self._handler_hook:
                del self._kernel.pre_handler_hook
            self._handler_hook = None

    def seal(self, timeout: float = _SEAL_TIMEOUT) -> None:
        """Report all that the events so far leave open, as of now."""
        if not self._running or pid() != self._pid:
            return
        with unwatched(), self._guard("sealing"):
            self._look_back()
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
            self._sealed = running is None
            self.emit(
                "seal",
                {
                    "ended": now(),
                    "running": running.order if running else None,
                    "duration": clock() - running.clock if running else None,
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
    def busy(self) -> bool:
        """Whether a cell is running."""
        return bool(self._stack) and not self._stack[-1].done

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
        if thread() != self._thread:
            self.gap("A cell ran in a thread of its own (a subshell): it is not recorded.")
            return
        with Uninterrupted(), unwatched(), self._guard("a cell's start"):
            self._look_back()
            parent = self._parent()
            if self._stack and not self._stack[-1].done:
                asked = (parent.get("header") or {}).get("msg_id")
                if asked in (None, self._stack[-1].request):
                    # A cell that runs a cell (run_cell in a magic): the outer one is recorded.
                    self._stack.append(self._stack[-1])
                    return
                self._lost_end(self._stack[-1])
            if not is_persons(info, parent):
                return
            request = (parent.get("header") or {}).get("msg_id") or f"local-{self._order}"
            self._begin(info.raw_cell or "", request, self._cell_id(info, parent), parent)

    def _after(self, result: Any) -> None:
        if not self._running or thread() != self._thread:
            return
        with Uninterrupted(), unwatched(), self._guard("a cell's end"):
            if not self._stack:
                return
            execution = self._stack.pop()
            if self._stack:
                return
            execution.duration = clock() - execution.clock
            if result is not None:
                execution.count = result.execution_count
                error = result.error_before_exec or result.error_in_exec
                if error is not None:
                    interrupted = isinstance(error, KeyboardInterrupt)
                    execution.status = "interrupted" if interrupted else "error"
                    said = f"{type(error).__name__}: {_said(error)}"
                    execution.error = mask(said[:4000], code=False)[:2000]
            else:
                execution.status = "interrupted"
            self._stack.append(execution)  # what follows belongs to it
            self._ended(execution)

    def _lost_end(self, execution: Execution) -> None:
        """End a cell of whose end an interrupt kept us from hearing."""
        self._stack[:] = [execution]
        execution.status, execution.duration = "interrupted", clock() - execution.clock
        self._ended(execution)
        self._look_back()

    def _begin(
        self, source: str, request: str, cell_id: str | None, parent: dict[str, Any]
    ) -> None:
        execution = Execution(order=self._order, request=request, source=source)
        self._order += 1
        self._sealed = False
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
                "started": now(),
                **asked_by(parent),
            },
        )
        self._tell("cell_begins", execution)
        orphan.cell_begins()
        execution.clock = clock()

    def _ended(self, execution: Execution) -> None:
        data: dict[str, Any] = {
            "order": execution.order,
            "count": execution.count,
            "status": execution.status,
            "error": execution.error,
            "duration": round(execution.duration, 6),
        }
        self._tell("cell_ends", execution)
        self.emit("end", data)
        execution.done = True
        orphan.cell_ends()
        self._unseen = execution
        if self._tap is None:
            self._finish(execution)
            self._look_back()

    def _look_back(self) -> None:
        """Report what the last cell did, unless that was done."""
        execution, self._unseen = self._unseen, None
        if execution is None:
            return
        self.emit("did", {"order": execution.order, **self._tell("cell_ended", execution)})
        self._tell("after_cell", execution)
        self._stack.clear()
        if getattr(self.shell, "exit_now", False):
            self.ending()

    def _tell(self, hook: str, execution: Execution) -> dict[str, Any]:
        """Call a method of the watches that have it; return their answers by part."""
        answers: dict[str, Any] = {}
        for watch in self._hooked.get(hook, ()):
            try:
                answer = getattr(watch, hook)(execution)
                if watch.part is not None and answer is not None:
                    answers[watch.part] = answer
            except Exception as error:  # noqa: BLE001, PERF203 - see the class: it never raises
                self._failed(watch.title, error)
        return answers

    def _published(self, request: str) -> None:
        """All outputs of a request have been sent."""
        execution = self._open.get(request)
        if execution is None or not execution.done:
            return
        with self._guard("outputs"):
            self._finish(execution)
        if execution is self._unseen and thread() == self._thread:
            self._look_back_soon(execution)

    def _look_before_messages(self) -> None:
        """Look back before any other message: what a widget's callback does is no cell's doing."""
        original = getattr(self._kernel, "pre_handler_hook", None)
        if original is None:
            return

        def pre_handler_hook() -> None:
            if self._unseen is not None and thread() == self._thread:
                with Uninterrupted(), unwatched(), self._guard("a cell's end"):
                    self._look_back()
            original()

        self._handler_hook = self._kernel.pre_handler_hook = pre_handler_hook

    def _look_back_soon(self, execution: Execution) -> None:
        """Look back once the kernel has nothing else to do, or the next cell comes."""

        def look_back() -> None:
            if self._running and execution is self._unseen:
                with Uninterrupted(), unwatched(), self._guard("a cell's end"):
                    self._look_back()

        loop = asyncio._get_running_loop()  # noqa: SLF001 - does not raise where there is none
        if loop is None or getattr(self.shell, "exit_now", False):
            look_back()
        else:
            # Now, this thread would keep the one that sends from sending.
            loop.call_later(_BREATH, look_back)

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
            str(content.get("code", "")),
            parent["header"]["msg_id"],
            self._cell_id(None, parent),
            parent,
        )

    # --- the rest

    def _showed(self, comm: str) -> int | None:
        """Return the order of the execution that opened a comm."""
        return self._orders.get(self._tap.comms.get(comm, "")) if self._tap is not None else None

    def _cells_before(self) -> int:
        """Return how many executions came before the running one."""
        history = getattr(self.shell, "history_manager", None)
        # Its list starts with an empty text and ends with the cell that is running.
        return max(0, len(getattr(history, "input_hist_raw", ())) - 2)

    def _tags(self) -> dict[str, str]:
        """Return what the MLflow runs of this kernel are tagged with."""
        told: dict[str, str] = {"mlrepro.mode": self.mode}
        if self.notebook is not None:
            root = project_root(self.notebook.parent)
            inside = relative(str(self.notebook), root)
            told["mlrepro.notebook"] = inside or self.notebook.name
        return told

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
            "time": now(),
            "pid": self._pid,
            "mode": self.mode,
            "who": _who(),
            "cwd": str(Path.cwd()),
            "notebook": str(self.notebook) if self.notebook else None,
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "kernelspec": environment.kernelspec_name(),
            "tool": environment.tool(),
        }

    def _describe(self) -> None:
        """What is known at the start, in case that the end never comes."""
        for watch in self.watches:
            with unwatched(), self._guard(watch.title):
                watch.describe()

    def emit(self, kind: str, data: Any) -> None:
        """Report an event, unless this is a forked child: its journal is its parent's."""
        if pid() != self._pid:
            return
        try:
            if kind in ("run", "model"):
                data = mask_values(data)  # what a user gives a name to and logs
            self._sink(kind, scrub(data))
        except Exception as error:  # noqa: BLE001 - a full disk must not stop the user's work
            self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        if "sink" not in self._gaps:
            self._gaps.add("sink")
            with contextlib.suppress(Exception):
                print(f"mlrepro: the recording cannot be kept: {error}", file=sys.__stderr__)

    def _guard(self, what: str) -> Guard:
        return Guard(what, self._failed)

    def _failed(self, what: str, error: BaseException) -> None:
        self.gap(f"Recording {what} failed: {type(error).__name__}: {_said(error)}")

    def forked(self) -> None:
        """In a forked child: it has none of our threads and must not write to our journal."""
        self._running = False


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _forked() -> None:
    for recorder in list(_recorders):
        recorder.forked()


os.register_at_fork(after_in_child=_forked)


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
