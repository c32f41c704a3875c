"""Conditions on a run's metrics: read, compared, and a reason not to build."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb import image
from mlrepro_nb.errors import GateError, UsageError
from mlrepro_nb.image._gates import gates, holds, told
from mlrepro_nb.model import Gate, Record
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import put

METRICS = {"accuracy": 0.95, "val rmse": 0.1, "f1>": 1.0}


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("accuracy >= 0.95", True), ("accuracy>0.95", False), (" val rmse < .2 ", True),
        ("accuracy <= 9.5e-1", True), ("accuracy == 0.95", True), ("accuracy != 0.95", False),
    ],
)  # fmt: skip
def test_a_condition_is_compared_with_the_run_s_metric(text: str, met: bool) -> None:
    (gate,) = gates([text, text], METRICS)
    assert holds(gate) is met
    assert f"{gate.value:g}" in told(gate)


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy = 1", ">= 1", "accuracy >= x", "a >= nan", ""]
)
def test_what_is_no_condition_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="no condition"):
        gates([text], METRICS)


def test_an_unknown_metric_is_told_with_those_that_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"no metric 'acuracy' \(it has: accuracy, f1>, val rmse\)"
    ):
        gates(["acuracy > 0"], METRICS)


def test_what_is_not_a_number_meets_nothing() -> None:
    for operator in (">=", "<=", "==", "!="):
        (gate,) = gates([f"loss {operator} 0"], {"loss": float("nan")})
        assert not holds(gate)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_condition_is_read_or_refused(metric: str, rest: str) -> None:
    with contextlib.suppress(UsageError):
        (gate,) = gates([f"{metric} {rest}"], {metric.strip(): 1.0})
        assert gate.metric == metric.strip()


# --- in a plan


def test_gates_of_the_project_and_of_the_command_line_stand_in_the_way(
    recorded: tuple[Path, Store, Record],
) -> None:
    folder, store, record = recorded
    results = msgspec.structs.replace(record.results, metrics={"accuracy": 0.91, "rmse": 0.1})
    (folder / "pyproject.toml").write_text(
        '[tool.mlrepro.gates]\naccuracy = ">= 0.9"\nrmse = ["> 0", "< 0.2"]\n'
    )
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Gates")
    put(folder, store, results=results)
    planned = image.plan("train.ipynb", offline=True)
    assert [(g.metric, g.operator, g.limit) for g in planned.gates] == [
        ("accuracy", ">=", 0.9), ("rmse", ">", 0.0), ("rmse", "<", 0.2)
    ]  # fmt: skip
    assert not [p for p in planned.problems if p.gate]
    planned = image.plan("train.ipynb", offline=True, gates=["accuracy >= 0.93"])
    (problem,) = [p for p in planned.problems if p.gate]
    assert "accuracy >= 0.93 (it is 0.91)" in problem.message
    error = problem.error()
    assert isinstance(error, GateError)
    assert error.exit_code == 1  # a finding, not a fault
    assert planned.gates[-1] == Gate(metric="accuracy", operator=">=", limit=0.93, value=0.91)
    (folder / "pyproject.toml").write_text("[tool.mlrepro]\ngates = 3\n")
    with pytest.raises(UsageError, match="does not name a condition"):
        image.plan("train.ipynb", offline=True)
