"""What samples amount to: for the run, and for the cell that is running."""

from __future__ import annotations

import bisect
from typing import Any

from .board import NONE
from .processes import Use

_MOST_RATES = 20_000
_BUSY = 0.02
"""Cores: a kernel that waits for its user is not the run."""


class Most:
    """The most of everything, over some samples."""

    def __init__(self) -> None:
        self.memory = 0
        self.shared = 0
        self.processes = 0
        self.cpu = 0.0
        self.cpu_seconds = 0.0
        self.samples = 0
        self.gpus: dict[str, dict[str, float]] = {}

    def add(self, use: Use, gpus: list[dict[str, Any]], *, running: bool) -> None:
        """Count a sample."""
        self.memory = max(self.memory, use.memory)
        self.shared = max(self.shared, use.shared)
        self.processes = max(self.processes, len(use.pids))
        for gpu in gpus:
            most = self.gpus.setdefault(str(gpu["uuid"]), {})
            for name in ("own", "children", "grown", "processes", "others"):
                value = gpu.get(name)
                if value is not None:
                    most[name] = max(most.get(name, 0), value)
            if running and gpu.get("busy") is not None:
                most["busy"] = most.get("busy", 0) + gpu["busy"]
                most["busy_samples"] = most.get("busy_samples", 0) + 1

    def said(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return {
            "memory": self.memory,
            "shared": self.shared,
            "processes": self.processes,
            "cpu": round(self.cpu, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "samples": self.samples,
            "gpus": self.gpus,
        }


class Tally:
    """Adds samples up."""

    def __init__(self) -> None:
        self.run, self.cell = Most(), Most()
        self.exact = True
        self._mark = NONE
        self._rates: list[float] = []
        self._cpu: float | None = None

    def add(
        self, marks: tuple[int, int], seconds: float, use: Use, gpus: list[dict[str, Any]]
    ) -> None:
        """Count a sample.

        Parameters
        ----------
        marks : (int, int)
            The cell that was running before and after the sample was taken.
        seconds : float
            Since the last sample.
        use, gpus
            What was seen.
        """
        before, mark = self._mark, marks[0]
        running = mark != NONE
        spent = 0.0 if self._cpu is None else max(0.0, use.cpu - self._cpu)
        rate = spent / seconds if self._cpu is not None and seconds > 0 else 0.0
        self._cpu = use.cpu
        self.exact = self.exact and use.exact
        if mark != before:
            self._mark = mark
            if running:
                self.cell = Most()
        self.run.add(use, gpus, running=running)
        self.run.cpu_seconds += spent
        if running or rate > _BUSY:
            self.run.samples += 1
            self._rated(rate)
        if running and marks[0] == marks[1]:
            self.cell.add(use, gpus, running=True)
            self.cell.samples += 1
            if mark == before:  # else some of it was spent by what ran before
                self.cell.cpu = max(self.cell.cpu, rate)
                self.cell.cpu_seconds += spent

    def _rated(self, rate: float) -> None:
        bisect.insort(self._rates, rate)
        if len(self._rates) > _MOST_RATES:
            del self._rates[::2]
        self.run.cpu = self._rates[int(0.95 * (len(self._rates) - 1))]

    def said(self) -> dict[str, Any]:
        """Return what was seen so far, of the run and of the last cell."""
        return {
            "run": self.run.said(),
            "mark": self._mark,
            "cell": self.cell.said(),
            "exact": self.exact,
        }
