"""The machine, and how much of it the run used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrepro_nb.lazily import exports

if TYPE_CHECKING:
    from mlrepro_nb.capture.hardware._assemble import assembled
    from mlrepro_nb.capture.hardware.watch import HardwareWatch

__all__ = ["HardwareWatch", "assembled"]

__getattr__ = exports(
    __name__,
    {
        "HardwareWatch": "watch",
        "assembled": "_assemble",
    },
)
