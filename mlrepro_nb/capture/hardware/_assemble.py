"""Events about the machine to a part of the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mlrepro_nb.model import CellPeak, Hardware, Peak

if TYPE_CHECKING:
    from mlrepro_nb.capture.told import Told

_COUNTS = ("memory", "cpu", "cpu_seconds", "gpu_memory", "samples", "shared_memory", "processes")


def assembled(told: Told) -> Hardware:
    """Return the machine, and the most that any of the readings says was used of it."""
    described: dict[str, Any] = {"cpu": "", "cores": 0, "memory": 0, **told.hardware}
    last = described.get("peak") or {}
    peaks = [last]
    cells: dict[str, CellPeak] = {}
    for order, end in told.ends.items():
        use = end.get("use") or {}
        peaks.append(use.get("run") or end.get("peak") or {})
        if use.get("cell"):
            cells[str(order)] = msgspec.convert(use["cell"], CellPeak)
    most = {name: max(peak.get(name, 0) for peak in peaks) for name in _COUNTS}
    if any(gpu.get("use") for gpu in described.get("gpus", ())):
        # With what CUDA takes itself, which is known only once a GPU was looked at.
        most["gpu_memory"] = last.get("gpu_memory", 0)
    described["peak"] = msgspec.convert({**last, **most}, Peak)
    described["cells"] = cells
    return msgspec.convert(described, Hardware)
