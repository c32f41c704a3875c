"""The machine, and how much of it the run used."""

from mlrepro_nb.capture.hardware._assemble import assembled
from mlrepro_nb.capture.hardware.watch import HardwareWatch

__all__ = ["HardwareWatch", "assembled"]
