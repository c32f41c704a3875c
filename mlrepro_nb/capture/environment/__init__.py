"""The software that a kernel runs on."""

from mlrepro_nb.capture.environment._assemble import assembled
from mlrepro_nb.capture.environment.startup import kernelspec_name
from mlrepro_nb.capture.environment.system import tool
from mlrepro_nb.capture.environment.watch import EnvironmentWatch

__all__ = ["EnvironmentWatch", "assembled", "kernelspec_name", "tool"]
