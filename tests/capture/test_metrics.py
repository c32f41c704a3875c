"""What a notebook expects of its metrics, in the record of a live kernel and of bare events."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from mlrepro_nb.capture import assemble
from mlrepro_nb.capture.metrics.numbers import number
from mlrepro_nb.model import Record
from tests.capture.conftest import kernel

__all__ = ["kernel"]


@pytest.mark.parametrize(
    ("value", "is_"),
    [
        (1, 1.0), (0.5, 0.5), (np.float32(0.5), 0.5), (np.int64(3), 3.0), (np.array(0.25), 0.25),
        (Decimal("0.5"), 0.5),
    ],
)  # fmt: skip
def test_what_is_one_number_is_a_metric(value: Any, is_: float) -> None:
    assert number(value) == is_


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("0.93", "str"), (True, "True"), (np.bool_(1), "True"), ([0.9], "list"), (None, "NoneType"),
        (np.array([0.9]), "array of shape"), (float("nan"), "NaN"), (np.float64("inf"), "infinite"),
        (10**400, "OverflowError"), (1j, "complex"), (np.array("x"), "str"),
    ],
)  # fmt: skip
def test_what_is_not_says_why(value: Any, why: str) -> None:
    found = number(value)
    assert isinstance(found, str)
    assert why in found


def test_an_object_of_the_users_is_not_asked() -> None:
    class Trap:
        def __float__(self) -> float:
            raise AssertionError("the user's code must not run")

        __getattr__ = __float__  # type: ignore[assignment]

    assert "Trap" in str(number(Trap()))


def of(*events: tuple[str, Any]) -> Record:
    return assemble(events, notebook="a.ipynb", root=None, mode="headless", put_blob=lambda _: "x")


def test_a_metric_logged_as_nan_is_not_replaced_by_a_variable() -> None:
    record = of(
        ("expect", {"metric": "accuracy", "operator": ">=", "limit": 0.9, "order": None}),
        ("metric", {"source": "variable", "name": "accuracy", "value": 0.95, "problem": None}),
        ("run", {"run_id": "f" * 32, "metrics": {"accuracy": None}}),
    )
    (expected,) = record.results.expectations
    assert expected.value is None
    assert expected.source == "mlflow"
    assert "finite" in (expected.problem or "")


def test_of_the_same_name_in_mlflow_and_a_variable_mlflows_counts_and_both_are_kept() -> None:
    record = of(
        ("expect", {"metric": "accuracy", "delta": 0.01}),
        ("metric", {"source": "variable", "name": "accuracy", "value": 0.95, "problem": None}),
        ("run", {"run_id": "f" * 32, "metrics": {"accuracy": 0.94}}),
    )
    assert (record.results.expectations[0].value, record.results.variables) == (
        0.94, {"accuracy": 0.95},
    )  # fmt: skip


def test_in_a_live_kernel_it_is_checked_at_once_and_when_the_record_is_made(
    kernel: Callable,
) -> None:
    k = kernel()
    k.run("%load_ext mlrepro_nb")
    assert "Nothing is expected" in k.run("%mlrepro expect")["text"]
    assert "there is none yet" in k.run("%mlrepro expect accuracy >= 0.93 delta 0.01")["text"]
    assert "not met: it is 0.9" in k.run("loss = 0.9\n%mlrepro expect loss < 0.2")["text"]
    wrong = k.run("%mlrepro expect accuracy => 0.93")
    assert "no condition" in wrong["text"]
    assert "%mlrepro expect accuracy" in k.run("%mlrepro help expect")["text"]
    k.run("accuracy = 0.9")
    k.run("accuracy = 0.941")
    k.run(
        "from IPython.display import display\n"
        "display({'application/scrapbook.scrap.json+json': {'name': 'f1', 'data': 0.8,"
        " 'encoder': 'json', 'version': 1}}, raw=True)\nwords = 'high'"
    )
    k.run("%mlrepro expect f1 delta 0.1\n%mlrepro expect words > 1\n%mlrepro expect gone > 0")
    completed = k.run("get_ipython().Completer.complete('%mlrepro expect ac')")
    assert completed["errors"] == []
    status = k.run("%mlrepro status")["bundles"][0]["text/plain"]
    assert "accuracy >= 0.93 delta 0.01: met: it is 0.941" in status
    results = k.record().results
    found = {e.metric: (e.value, e.source) for e in results.expectations}
    assert found == {
        "accuracy": (0.941, "variable"), "loss": (0.9, "variable"), "f1": (0.8, "scrapbook"),
        "words": (None, "variable"), "gone": (None, None),
    }  # fmt: skip
    assert results.scraps == {"f1": 0.8}
    problems = {e.metric: e.problem for e in results.expectations if e.problem}
    assert "str" in problems["words"]
    assert "no MLflow metric, scrap or variable" in problems["gone"]
