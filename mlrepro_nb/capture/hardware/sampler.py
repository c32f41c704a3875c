"""Who measures the run: a process beside the kernel, or a thread of it where that cannot be."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from mlrepro_nb.capture.data.audit import unwatched
from mlrepro_nb.capture.hardware.sampling.board import NONE, Board
from mlrepro_nb.capture.hardware.sampling.process import Started
from mlrepro_nb.capture.orphan import NotStarted

_THREAD_OFTEN = 1.0
"""Seconds between two samples of a thread: it takes the interpreter from the user's code."""
_FIRST_WORD = 5.0
"""Seconds in which a process must have told its first sample, or it does not work here."""
_SILENT = 60.0
"""Seconds without a sample after which the process is taken for dead: samples come every 10."""


class Sampler:
    """Measures this process and what it starts, from `start` to `stop`."""

    def __init__(self) -> None:
        self.how = "process"
        self._board = Board()
        self._board.mark = NONE
        self._process: Started | None = None
        self._stopped = threading.Event()
        self._began = 0.0

    def start(self) -> None:
        """Begin to take samples."""
        self._began = time.monotonic()
        try:
            # Now and not in a thread: once the user's code runs, it might wait for any child.
            with unwatched():
                self._process = Started()
            self._board = self._process.board
        except NotStarted as why:
            self._start_thread(str(why))

    def stop(self) -> None:
        """Take no more."""
        self._stopped.set()
        if self._process is not None:
            self._process.stop()

    def begins(self, order: int) -> None:
        """Count what is seen from now on for a cell."""
        self._board.mark = order

    def ended(self, order: int) -> dict[str, Any]:
        """Count for no cell any more, and return what was seen while this one ran."""
        self._board.mark = NONE
        said = self._board.read()
        return dict(said["cell"]) if said.get("mark") == order else {}

    def said(self) -> dict[str, Any]:
        """Return what was seen so far."""
        return self._board.read()

    def await_word(self, since: float, timeout: float) -> dict[str, Any]:
        """Return what was seen, with a sample that was taken after a moment if one comes in time.

        Parameters
        ----------
        since : float
            By `time.monotonic`.
        timeout : float
            Seconds.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end and not self._stopped.is_set():
            said = self.said()
            if said.get("at", 0) >= since:
                return said
            time.sleep(0.02)
        return self.said()

    def check(self) -> None:
        """Take samples in a thread if the process that should take them takes none."""
        if self._process is None or self._stopped.is_set():
            return
        last, now = self.said().get("at"), time.monotonic()
        if last is None and now - self._began > _FIRST_WORD:
            self._start_thread("the process did not start")
        elif last is not None and now - last > _SILENT:
            self._start_thread("the process ended before its time")

    def wait_for_first(self) -> None:
        """Wait until there is a sample, from a thread that may wait."""
        if not self.await_word(0.0001, _FIRST_WORD + 0.5):
            self.check()

    def _start_thread(self, why: str) -> None:
        said = self._board.read()
        if self._process is not None:
            self._process.stop()
            self._process = None
        self.how = f"thread: {why}"
        board = Board()
        board.mark = self._board.mark
        if said:
            board.pin(said)  # until the thread's own first sample
        self._board = board
        threading.Thread(
            target=self._sample, args=(board,), name="mlrepro-sampler", daemon=True
        ).start()

    def _sample(self, board: Board) -> None:
        from mlrepro_nb.capture.hardware.sampling import gpus
        from mlrepro_nb.capture.hardware.sampling.loop import sample
        from mlrepro_nb.capture.hardware.sampling.process import RECORDER
        from mlrepro_nb.capture.hardware.sampling.processes import Tree, started

        with unwatched():
            pid = os.getpid()
            devices, why = gpus.opened()
            sample(
                board,
                Tree(pid, leave_out=RECORDER) if started(pid) is not None else _Family(pid),
                devices,
                root=pid,
                wait=self._stopped.wait,
                clock=time.thread_time,
                often=_THREAD_OFTEN,
                why_no_gpus=why,
            )


class _Family:
    """What a process tree uses, on a system without /proc."""

    def __init__(self, root: int) -> None:
        import psutil

        self._psutil = psutil
        self._root = psutil.Process(root)

    def read(self) -> Any:
        from mlrepro_nb.capture.hardware.sampling.processes import Use

        psutil, memory, cpu, pids = self._psutil, 0, 0.0, []
        try:
            family = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            family = [self._root]
        for member in family:
            try:
                memory += member.memory_info().rss
                times = member.cpu_times()
                cpu += times.user + times.system
                cpu += getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
            except psutil.Error:  # one that ended meanwhile
                continue
            pids.append(member.pid)
        return Use(memory, 0, cpu, tuple(pids), walk=0.0, exact=False) if pids else None
