"""Marks in the stream of system calls, by which the deep layer (strace) finds the cells.

A mark is the open of a file that is not there: nothing but who traces the kernel
sees it.
"""

from __future__ import annotations

import contextlib
import os
import threading

from mlrepro_nb.capture.data.files import FileWatch
from mlrepro_nb.capture.data.paths import ignored_prefixes, printable
from mlrepro_nb.capture.data.strace import MARK
from mlrepro_nb.capture.watch import Execution, Recording, Watch

TRACED = "MLREPRO_TRACED"
"""The variable that says that the kernel is traced."""


class MarkerWatch(Watch):
    """Marks where cells begin and end, if the kernel is traced, and says what is not its cells'.

    Its event is ``deep``.
    """

    title = "the marks of cells for strace"

    def __init__(self, recording: Recording, files: FileWatch) -> None:
        self._recording = recording
        self._files = files
        self._on = False
        self._threads: set[int] = set()

    def start(self) -> None:
        """Mark, if somebody looks."""
        self._on = os.environ.get(TRACED) == "1"
        order = self._recording.current()
        if self._on:
            _mark("begin" if order is not None else "load", order or 0)

    def describe(self) -> None:
        """Note the thread that describes: it is gone before the first cell ends."""
        self._threads.add(threading.get_native_id())

    def cell_begins(self, execution: Execution) -> None:
        """Mark the beginning."""
        if self._on:
            _mark("begin", execution.order)

    def cell_ends(self, execution: Execution) -> None:
        """Mark the end."""
        if self._on:
            _mark("end", execution.order)
            self._note_threads()

    def seal(self, timeout: float) -> None:
        """Say which threads and files are ours or the machinery's."""
        if not self._on:
            return
        self._note_threads()
        self._recording.emit(
            "deep",
            {
                "pid": os.getpid(),
                "ignored": [printable(path) for path in ignored_prefixes()],
                "threads": sorted(self._threads),
                "machinery": sorted(map(printable, self._files.machinery)),
            },
        )

    def _note_threads(self) -> None:
        self._threads.update(
            thread.native_id
            for thread in threading.enumerate()
            if thread.native_id is not None and thread.name.startswith("mlrepro-")
        )


def _mark(what: str, order: int) -> None:
    with contextlib.suppress(OSError):
        os.close(os.open(f"{MARK}{what}/{order}", os.O_RDONLY))
