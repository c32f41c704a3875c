"""Many notebooks at once: a worker process a core, each with its own nursery."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from mlrepro_nb.model import Step
from mlrepro_nb.verify._task import Outcome, Problem, Task


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What one of many notebooks is at; the last one of a notebook has its outcome."""

    index: int
    """Of the task."""
    step: Step | None = None
    outcome: Outcome | None = None


def verify_many(
    tasks: Sequence[Task],
    *,
    jobs: int | None = None,
    report: Callable[[Update], object] | None = None,
) -> list[Outcome]:
    """Verify notebooks, several at a time.

    Nothing that happens to one of them, be it that its worker is killed, costs the others'
    outcomes.

    Parameters
    ----------
    tasks : sequence of Task
        The notebooks.
    jobs : int, optional
        How many at a time; by default one a core.
    report : callable, optional
        Is told the progress, from several threads but by one at a time.

    Returns
    -------
    list of Outcome
        In the order of the tasks.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(tasks)):
        waiting.put(index)
    outcomes: dict[int, Outcome] = {}
    lock = threading.Lock()
    workers: list[_Worker] = []

    def tell(update: Update) -> None:
        with lock:
            if update.outcome is not None:
                outcomes[update.index] = update.outcome
            if report is not None:
                report(update)

    def step(index: int, taken: Step) -> None:
        tell(Update(index=index, step=taken))

    def work() -> None:
        worker = _Worker()
        workers.append(worker)
        try:
            while True:
                index = waiting.get_nowait()
                outcome = worker.perform(tasks[index], partial(step, index))
                tell(Update(index=index, outcome=outcome))
        except queue.Empty:
            pass
        finally:
            worker.close()

    count = max(1, min(jobs or cores(), len(tasks)))
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)  # a wait without end would not hear Ctrl-C
    except BaseException:
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait()
        for worker in workers:
            worker.interrupt()
        for thread in threads:
            thread.join(30)
        raise
    return [outcomes[index] for index in range(len(tasks))]


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class _Worker:
    """A process that verifies one notebook after the other; a new one where it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def perform(self, task: Task, report: Callable[[Step], object]) -> Outcome:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                told = _DECODER.decode(line)
                if told.outcome is not None:
                    return told.outcome
                if told.step is not None:
                    report(told.step)
        except (OSError, msgspec.DecodeError, ValueError):
            process.kill()
        status = process.wait()
        self._process = None
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return Outcome(target=task.target, problem=Problem(
            message=f"The process that verified {task.target} was ended {how}.",
            remedy="See whether the notebook kills other processes, or memory ran out.",
        ))  # fmt: skip

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlrepro_nb.verify.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Ctrl-C is for the one who reports; he tells the others.
                start_new_session=True,
            )
        return self._process

    def interrupt(self) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line from a worker."""

    step: Step | None = None
    outcome: Outcome | None = None


_DECODER = msgspec.json.Decoder(Told)
