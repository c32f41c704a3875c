"""What is done beside the cells: in a thread that is there only while there is something to do.

A thread that waits is not free: glibc gives each thread one of eight malloc arenas a core, and
once all are taken, every thread that the user's libraries start gets the next of them in turn
and leaves in it what it freed. On two cores three idle threads of ours made a search by
scikit-learn hold 30 MiB more.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from mlrepro_nb.capture.data.audit import unwatched

_GRACE = 0.005
"""Seconds that a new thread sleeps first: whoever starts one would otherwise wait, as it holds
the interpreter's lock from its first line, and that is a cell that ends."""
_LINGER = 0.2
"""Seconds that the thread waits for more: starting one takes about as long as a small job."""

Job = TypeVar("Job")


class Worker(Generic[Job]):
    """Does jobs in the order they come, some at a time.

    Parameters
    ----------
    name : str
        Of the thread.
    work : callable
        Does a batch of jobs, and raises nothing.
    most : int
        Of jobs in a batch.
    """

    def __init__(self, name: str, work: Callable[[list[Job]], None], *, most: int = 1) -> None:
        self._name, self._do, self._most = name, work, most
        # No lock: whoever puts a job may be a finaliser, which runs amid another's put.
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._free = [True]
        """Whoever takes what is in it may start the thread."""

    def put(self, job: Job) -> None:
        """Have a job done."""
        self._jobs.put(job)
        if not self._taken():
            return
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:  # none can be started: the next job tries again
            self._free.append(True)

    def _taken(self) -> bool:
        try:
            return self._free.pop()
        except IndexError:
            return False

    def _work(self) -> None:
        time.sleep(_GRACE)
        with unwatched():
            while True:
                jobs: list[Job] = []
                with contextlib.suppress(queue.Empty):
                    jobs.append(self._jobs.get(timeout=_LINGER))
                    while len(jobs) < self._most:
                        jobs.append(self._jobs.get_nowait())
                if jobs:
                    self._do(jobs)
                    continue
                # In this order: a job that came too late for the line above is seen by the next.
                self._free.append(True)
                if self._jobs.empty() or not self._taken():
                    return
