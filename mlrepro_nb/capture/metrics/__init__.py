"""What a notebook expects of its metrics, and those that no MLflow run holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrepro_nb.lazily import exports

if TYPE_CHECKING:
    from mlrepro_nb.capture.metrics._assemble import Metrics, assembled
    from mlrepro_nb.capture.metrics.watch import MetricWatch

__all__ = ["MetricWatch", "Metrics", "assembled"]

__getattr__ = exports(
    __name__,
    {
        "MetricWatch": "watch",
        "Metrics": "_assemble",
        "assembled": "_assemble",
    },
)
