"""MLflow runs and models that the notebook makes."""

from mlrepro_nb.capture.runs._assemble import assembled
from mlrepro_nb.capture.runs.watch import RunWatch

__all__ = ["RunWatch", "assembled"]
