"""Conditions on a run's metrics that an image must meet: ``accuracy >= 0.93``. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Gate

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq,
    "!=": operator.ne,
}  # fmt: skip
_CONDITION = re.compile(r"(?P<metric>.*?)\s*(?P<operator>[<>=!]=|[<>])\s*(?P<limit>[^<>=!]+)")


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
    return gate.value == gate.value and _OPERATORS[gate.operator](gate.value, gate.limit)


def told(gate: Gate) -> str:
    """Return a condition and its value as a person reads them."""
    return f"{gate.metric} {gate.operator} {gate.limit:g} (it is {gate.value:g})"


def _gate(text: str, metrics: Mapping[str, float]) -> Gate:
    found = _CONDITION.fullmatch(text.strip())
    try:
        limit = float(found["limit"]) if found else float("nan")
    except ValueError:
        limit = float("nan")
    if found is None or not found["metric"] or limit != limit:
        raise UsageError(
            f"{text!r} is no condition on a metric.",
            "Write it like `accuracy >= 0.93`; operators are >= <= > < == !=.",
        )
    metric = found["metric"]
    if metric not in metrics:
        names = ", ".join(sorted(metrics)[:20]) or "none"
        raise UsageError(
            f"The recorded run has no metric {metric!r} (it has: {names}).",
            "Log it in the notebook (mlflow.log_metric) and record again, or correct the gate.",
        )
    value = float(metrics[metric])
    return Gate(metric=metric, operator=found["operator"], limit=limit, value=value)  # type: ignore[arg-type]
