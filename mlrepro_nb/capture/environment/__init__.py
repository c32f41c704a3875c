"""The software that a kernel runs on."""

from mlrepro_nb.capture.environment._assemble import assembled
from mlrepro_nb.capture.environment.describe import kernelspec, tool
from mlrepro_nb.capture.environment.watch import EnvironmentWatch

__all__ = ["EnvironmentWatch", "assembled", "kernelspec", "tool"]
