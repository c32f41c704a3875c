"""Events about the machine to a part of the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mlrepro_nb.model import Hardware, Peak

if TYPE_CHECKING:
    from mlrepro_nb.capture.told import Told


def assembled(told: Told) -> Hardware:
    """Return the machine, and the most that any of the readings says was used of it."""
    peaks = [end["peak"] for end in told.ends.values() if end.get("peak")]
    peaks += [told.hardware["peak"]] if told.hardware.get("peak") else []
    peak = {name: max(p.get(name, 0) for p in peaks) for p0 in peaks[:1] for name in p0}
    if not told.hardware:
        return Hardware(cpu="", cores=0, memory=0, peak=msgspec.convert(peak, Peak))
    if "gpu_memory" in told.hardware.get("peak", {}):
        peak["gpu_memory"] = told.hardware["peak"]["gpu_memory"]
    return msgspec.convert({**told.hardware, "peak": peak}, Hardware)
