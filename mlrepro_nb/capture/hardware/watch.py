"""Watches what the run uses of the machine."""

from __future__ import annotations

import os
from typing import Any

from mlrepro_nb.capture.hardware.sampler import Sampler, describe
from mlrepro_nb.capture.watch import Execution, Recording, Watch


class HardwareWatch(Watch):
    """Reports the machine, and the peak use of it up to each cell's end."""

    title = "peak use"
    part = "peak"

    def __init__(self, recording: Recording) -> None:
        self._emit = recording.emit
        self._sampler = Sampler()

    def start(self) -> None:
        """Begin to take samples."""
        self._sampler.start()

    def stop(self) -> None:
        """Take no more."""
        self._sampler.stop()

    def cell_ended(self, execution: Execution) -> Any:
        """Return the peak so far."""
        times = os.times()
        spent = times.user + times.system + times.children_user + times.children_system
        return self._sampler.cell(execution.duration, spent - execution.cpu)

    def describe(self) -> None:
        """Report the machine."""
        self._emit("hardware", describe(self._sampler.peak()))

    def seal(self, timeout: float) -> None:
        """Report the machine and the peak as of now."""
        self._emit("hardware", describe(self._sampler.peak()))
