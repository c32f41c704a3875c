"""Conditions on a run's metrics that an image must meet: ``accuracy >= 0.93``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlrepro_nb.errors import UsageError
from mlrepro_nb.metrics import condition
from mlrepro_nb.metrics import holds as is_met
from mlrepro_nb.model import Gate


def gates(conditions: Iterable[str], metrics: Mapping[str, float]) -> tuple[Gate, ...]:
    """Return the conditions with the metrics' values.

    Raises
    ------
    UsageError
        One is no condition, or the run has no such metric.
    """
    return tuple(_gate(text, metrics) for text in dict.fromkeys(conditions))


def holds(gate: Gate) -> bool:
    """Whether a value meets its condition; NaN meets none."""
    return is_met(gate.operator, gate.value, gate.limit)


def told(gate: Gate) -> str:
    """Return a condition and its value as a person reads them."""
    return f"{gate.metric} {gate.operator} {gate.limit:g} (it is {gate.value:g})"


def _gate(text: str, metrics: Mapping[str, float]) -> Gate:
    asked = condition(text)
    if asked.metric not in metrics:
        names = ", ".join(sorted(metrics)[:20]) or "none"
        raise UsageError(
            f"The recorded run has no metric {asked.metric!r} (it has: {names}).",
            "Log it in the notebook (mlflow.log_metric) and record again, or correct the gate.",
        )
    return Gate(
        metric=asked.metric,
        operator=asked.operator,
        limit=asked.limit,
        value=float(metrics[asked.metric]),
    )
