"""What may be expected of a metric: read, refused with words that teach, held against a run."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.errors import UsageError
from mlrepro_nb.metrics import condition, delta, expectation, find, met, outcome, wording
from mlrepro_nb.model import Results


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("accuracy >= 0.93 delta 0.01", ("accuracy", ">=", 0.93, 0.01)),
        ("accuracy>=0.93 delta=1e-2", ("accuracy", ">=", 0.93, 0.01)),
        ("accuracy >= .93 ± .01  # as promised", ("accuracy", ">=", 0.93, 0.01)),
        ("val/loss < 0.2", ("val/loss", "<", 0.2, None)),
        ("val loss < 0.2", ("val loss", "<", 0.2, None)),
        ("f1 delta 0.02", ("f1", None, None, 0.02)),
        ("delta <= 3", ("delta", "<=", 3.0, None)),
    ],
)
def test_what_is_expected_is_read(text: str, read: tuple) -> None:
    found = expectation(text)
    assert (found.metric, found.operator, found.limit, found.delta) == read
    assert expectation(wording(found)) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "No metric is named"), ("accuracy", "Nothing is expected of accuracy"),
        ("accuracy 0.93", "names no metric"), ("accuracy => 0.93", "no condition"),
        ("accuracy >= 93%", "no condition"), ("accuracy >= nan", "no condition"),
        ("accuracy >= 0.9 delta 0", "no delta"), ("accuracy delta -1", "no delta"),
        ("accuracy delta inf", "no delta"), ("accuracy >= 0.9 delta x", "no delta"),
        ("accuracy delta 0.01 >= 0.93", "delta comes last"), ("delta 0.01", "names no metric"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_told_with_an_example(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        expectation(text)
    assert ">= 0.93" in error.value.remedy or "0.01" in error.value.remedy


@given(st.text(max_size=40))
def test_any_line_is_read_or_refused(text: str) -> None:
    for read in (expectation, condition, delta):
        with contextlib.suppress(UsageError):
            read(text)


def test_a_delta_of_the_command_line_may_have_any_name() -> None:
    assert delta("a=b=0.5") == ("a=b", 0.5)
    for wrong in ("accuracy", "=1", "accuracy=", "accuracy=0"):
        with pytest.raises(UsageError, match="delta"):
            delta(wrong)


def test_what_was_logged_counts_before_a_scrap_and_that_before_a_variable() -> None:
    results = Results(metrics={"a": 1.0}, scraps={"a": 2.0, "b": 2.0}, variables={"b": 3.0})
    assert find(results, "a") == (1.0, "mlflow")
    assert find(results, "b") == (2.0, "scrapbook")
    assert find(results, "c") is None


def test_a_metric_that_is_missing_meets_nothing() -> None:
    expected = expectation("accuracy >= 0.9")
    assert not met(msgspec.structs.replace(expected, problem="it is NaN"))
    assert "it is NaN" in outcome(msgspec.structs.replace(expected, problem="it is NaN"))
    assert met(msgspec.structs.replace(expected, value=0.9))
    assert "not met" in outcome(msgspec.structs.replace(expected, value=0.8))
