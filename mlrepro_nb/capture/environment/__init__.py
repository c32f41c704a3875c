"""The software that a kernel runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrepro_nb.lazily import exports

if TYPE_CHECKING:
    from mlrepro_nb.capture.environment._assemble import assembled
    from mlrepro_nb.capture.environment.startup import kernelspec_name
    from mlrepro_nb.capture.environment.system import tool
    from mlrepro_nb.capture.environment.watch import EnvironmentWatch

__all__ = ["EnvironmentWatch", "assembled", "kernelspec_name", "tool"]

__getattr__ = exports(
    __name__,
    {
        "EnvironmentWatch": "watch",
        "assembled": "_assemble",
        "kernelspec_name": "startup",
        "tool": "system",
    },
)
