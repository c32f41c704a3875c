"""MLflow runs and models that the notebook makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrepro_nb.lazily import exports

if TYPE_CHECKING:
    from mlrepro_nb.capture.runs._assemble import assembled
    from mlrepro_nb.capture.runs.watch import RunWatch

__all__ = ["RunWatch", "assembled"]

__getattr__ = exports(
    __name__,
    {
        "RunWatch": "watch",
        "assembled": "_assemble",
    },
)
