"""Conditions on metrics, and what a notebook expects of its own. Pure.

A condition is ``accuracy >= 0.93``; what is expected may add the smallest difference that
matters, ``delta 0.01``, by which `mlrepro verify --runs` tells chance from change.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Literal, cast

import msgspec

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Expectation, Operator, Results

_OPERATORS: dict[Operator, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq,
    "!=": operator.ne,
}  # fmt: skip
_CONDITION = re.compile(r"(?P<metric>[^<>=!]+?)\s*(?P<operator>[<>=!]=|[<>])\s*(?P<limit>[^<>=!]+)")
_DELTA = re.compile(r"(?P<rest>.*?)\s+(?:delta|±)(?:\s*=\s*|\s+)?(?P<delta>\S+)", re.DOTALL)
_EXAMPLE = "For example: %mlrepro expect accuracy >= 0.93 delta 0.01"

Source = Literal["mlflow", "scrapbook", "variable"]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of a metric."""

    metric: str
    operator: Operator
    limit: float


def condition(text: str) -> Condition:
    """Read ``accuracy >= 0.93``.

    Raises
    ------
    UsageError
        It is none.
    """
    found = _CONDITION.fullmatch(text.strip())
    limit = _number(found["limit"]) if found else None
    if found is None or limit is None:
        raise UsageError(
            f"{text!r} is no condition on a metric.",
            "Write it like `accuracy >= 0.93`; operators are >= <= > < == !=.",
        )
    return Condition(
        metric=found["metric"].strip(), operator=cast("Operator", found["operator"]), limit=limit
    )


def expectation(text: str) -> Expectation:
    """Read ``accuracy >= 0.93 delta 0.01``, of which the limit or the delta may be left out.

    Raises
    ------
    UsageError
        It says nothing that could be checked.
    """
    text = re.split(r"(?:^|\s)#", text)[0]
    rest, delta = text.strip(), None
    if found := _DELTA.fullmatch(rest):
        rest, delta = found["rest"].strip(), _margin(found["delta"])
    if re.search(r"(?:^|\s)(?:delta|±)\s*(?:=\s*)?[-+.\d]+\s+\S", rest):
        raise UsageError(f"{text.strip()!r}: the delta comes last.", _EXAMPLE)
    if re.search(r"[<>=!]", rest):
        told = condition(rest)
        return Expectation(
            metric=told.metric, operator=told.operator, limit=told.limit, delta=delta
        )
    if not rest or len(rest.split()) > 1:
        what = f"{rest!r} names no metric" if rest else "No metric is named"
        raise UsageError(f"{what}: NAME, then a limit, a delta or both.", _EXAMPLE)
    if delta is None:
        raise UsageError(
            f"Nothing is expected of {rest}: give a limit, or a delta, the smallest difference "
            "that matters.", _EXAMPLE,
        )  # fmt: skip
    return Expectation(metric=rest, delta=delta)


def delta(text: str) -> tuple[str, float]:
    """Read ``accuracy=0.01``.

    Raises
    ------
    UsageError
        It is not that.
    """
    name, separator, margin = text.rpartition("=")
    if not separator or not name.strip():
        raise UsageError(
            f"{text!r} names no metric with its delta.",
            "Write it like --delta accuracy=0.01: the smallest difference that matters.",
        )
    return name.strip(), _margin(margin)


def holds(operator: Operator, value: float, limit: float) -> bool:
    """Whether a value meets a limit; NaN meets none."""
    return value == value and _OPERATORS[operator](value, limit)


def met(expected: Expectation) -> bool:
    """Whether a run has the metric, and it is within its limit."""
    if expected.value is None:
        return False
    if expected.operator is None or expected.limit is None:
        return True
    return holds(expected.operator, expected.value, expected.limit)


def wording(expected: Expectation) -> str:
    """Return what is expected as it is written."""
    limit = "" if expected.operator is None else f" {expected.operator} {expected.limit:g}"
    margin = "" if expected.delta is None else f" delta {expected.delta:g}"
    return f"{expected.metric}{limit}{margin}"


def outcome(expected: Expectation) -> str:
    """Return in words what came of it."""
    if expected.value is None:
        return f"not met: {expected.problem or 'the run has no such metric'}"
    value = f"it is {expected.value:.6g}"
    if expected.operator is None:
        return value
    return f"{'met' if met(expected) else 'not met'}: {value}"


def find(results: Results, name: str) -> tuple[float, Source] | None:
    """Return a metric of a run: what was logged to MLflow, else a scrap, else a variable."""
    for source, values in (
        ("mlflow", results.metrics), ("scrapbook", results.scraps), ("variable", results.variables),
    ):  # fmt: skip
        if name in values:
            return values[name], cast("Source", source)
    return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _margin(text: str) -> float:
    value = _number(text)
    if value is None or value <= 0:
        raise UsageError(
            f"{text!r} is no delta.",
            "It is the smallest difference that matters, in units of the metric, above 0: "
            "delta 0.01",
        )
    return value
