"""What a notebook expects of its metrics, and those that no MLflow run holds."""

from mlrepro_nb.capture.metrics._assemble import Metrics, assembled
from mlrepro_nb.capture.metrics.watch import MetricWatch

__all__ = ["MetricWatch", "Metrics", "assembled"]
