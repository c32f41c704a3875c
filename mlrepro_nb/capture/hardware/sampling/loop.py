"""Takes samples until it is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from .board import Board
from .processes import Use
from .tally import Tally

OFTEN = 0.2
"""Seconds between two samples at the least."""
SELDOM = 10.0
COST = 0.005
"""Share of a core that sampling may take: the more a sample costs, the rarer it is."""
_SMOOTH = 4
_UNUSED = 0.5
"""Seconds between two samples while no cell is running."""


class Processes(Protocol):
    """What tells the use of a process tree."""

    def read(self) -> Use | None:
        """Return it as of now, or None once the process is gone."""


class Devices(Protocol):
    """What tells the use of GPUs."""

    def facts(self) -> list[dict[str, Any]]:
        """Return what they are."""

    def read(self, root: int, pids: tuple[int, ...]) -> list[dict[str, Any]]:
        """Return the use of each, by these processes and in all."""


def sample(
    board: Board,
    processes: Processes,
    devices: Devices | None,
    *,
    root: int,
    wait: Callable[[float], bool],
    clock: Callable[[], float] = time.process_time,
    often: float = OFTEN,
    why_no_gpus: str | None = None,
) -> None:
    """Take samples until `wait` returns True or the process is gone.

    Parameters
    ----------
    board : Board
        Where the sums are pinned up.
    processes, devices
        What is looked at.
    root : int
        The process whose tree is measured.
    wait : callable
        Waits for so many seconds; True if it is time to stop.
    clock : callable
        Tells what a sample costs.
    often : float
        Seconds between two samples, at the least.
    why_no_gpus : str, optional
        Why the GPUs, though there are some, are not seen.
    """
    tally = Tally()
    facts = devices.facts() if devices is not None else []
    last = time.monotonic()
    period, costs = often, 0.0
    while True:
        cost = clock()
        mark = board.mark
        use = processes.read()
        if use is None:
            return
        gpus = devices.read(root, use.pids) if devices is not None else []
        now = time.monotonic()
        tally.add((mark, board.mark), now - last, use, gpus)
        last = now
        board.pin({**tally.said(), "at": now, "facts": facts, "gpus": gpus,
                   "why_no_gpus": why_no_gpus, "period": period})  # fmt: skip
        # Of a single dear sample no long pause follows.
        costs += (clock() - cost - use.walk - costs) / _SMOOTH
        period = min(SELDOM, max(often, _UNUSED if mark < 0 else 0, costs / COST))
        if wait(period):
            return
