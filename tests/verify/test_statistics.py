"""What is said of a metric that chance is part of."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro_nb.errors import UsageError
from mlrepro_nb.verify.statistics import Equivalence, equivalence, joint, quantile, runs_needed

TEN = [0.931, 0.934, 0.929, 0.932, 0.930, 0.933, 0.928, 0.935, 0.931, 0.932]


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 10, 55, 400])
@pytest.mark.parametrize("probability", [0.05, 0.6, 0.9, 0.95, 0.975, 0.999])
def test_the_table_of_t_is_scipys(probability: float, freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = float(stats.t.ppf(probability, freedom))
    assert quantile(probability, freedom) == pytest.approx(expected, rel=1e-10)


def test_the_interval_is_welchs() -> None:
    stats = pytest.importorskip("scipy.stats")
    rerun = [0.9305, 0.9315, 0.929, 0.934, 0.9325]
    found = equivalence(TEN, rerun, 0.01)
    low, high = stats.ttest_ind(rerun, TEN, equal_var=False).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_runs_that_agree_within_the_margin_are_equivalent() -> None:
    assert equivalence(TEN, [v + 0.001 for v in TEN], 0.01).verdict == "statistically-equivalent"


def test_runs_that_lie_beyond_the_margin_differ() -> None:
    assert equivalence(TEN, [v - 0.05 for v in TEN], 0.01).verdict == "different"


def test_too_few_runs_are_inconclusive_and_say_how_many_would_do() -> None:
    found = equivalence([0.90, 0.95, 0.92], [0.91, 0.94, 0.96], 0.03)
    assert found.verdict == "inconclusive"
    assert found.needed is not None
    assert found.needed > 3


def test_pairs_decide_where_the_seeds_explain_what_differs() -> None:
    chance = random.Random(3)
    reference = [chance.gauss(0.9, 0.02) for _ in range(5)]
    rerun = [value + chance.gauss(0, 0.001) for value in reference]
    assert equivalence(reference, rerun, 0.01).verdict == "inconclusive"
    assert equivalence(reference, rerun, 0.01, paired=True).verdict == "statistically-equivalent"


def test_one_run_can_only_be_consistent_never_equivalent() -> None:
    assert equivalence(TEN, [0.9312], 0.01).verdict == "consistent"
    assert equivalence(TEN, [0.80], 0.01).verdict == "different"
    assert equivalence([0.93], [0.93], 0.01).verdict == "inconclusive"


def test_runs_that_never_vary_decide_at_once() -> None:
    assert equivalence([1.0, 1.0], [1.0, 1.0], 0.1).verdict == "statistically-equivalent"
    assert equivalence([1.0, 1.0], [2.0, 2.0], 0.1).verdict == "different"


@pytest.mark.parametrize(("runs", "margin"), [(20, 1.0), (11, 1.5), (8, 2.0), (5, 3.0)])
def test_the_proposed_runs_decide_in_four_of_five_cases(runs: int, margin: float) -> None:
    proposed = runs_needed(2**0.5, margin)
    assert proposed is not None
    assert proposed <= runs  # by simulation these have a power of .85 to .99
    chance = random.Random(0)

    def draw() -> list[float]:
        return [chance.gauss(0, 1) for _ in range(proposed)]

    decided = sum(
        equivalence(draw(), draw(), margin).verdict == "statistically-equivalent"
        for _ in range(200)
    )
    assert decided >= 200 * 0.72


def test_at_the_margin_equivalence_is_rarely_claimed() -> None:
    chance = random.Random(1)
    claimed = sum(
        equivalence(
            [chance.gauss(0, 1) for _ in range(10)], [chance.gauss(2, 1) for _ in range(10)], 2.0
        ).verdict == "statistically-equivalent"
        for _ in range(200)
    )  # fmt: skip
    assert claimed <= 200 * 0.11


@settings(deadline=None)
@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=12),
    st.lists(st.floats(-100, 100), min_size=1, max_size=12),
    st.floats(1e-6, 1e3),
)
def test_any_runs_get_a_verdict_that_its_interval_bears_out(
    reference: list[float], rerun: list[float], delta: float
) -> None:
    found = equivalence(reference, rerun, delta)
    assert found.low <= found.difference <= found.high
    if found.verdict == "statistically-equivalent":
        assert -delta < found.low
        assert found.high < delta


@pytest.mark.parametrize(
    ("reference", "rerun", "delta", "paired"),
    [([], [1.0], 1.0, False), ([1.0], [float("nan")], 1.0, False), ([1.0], [1.0], 0.0, False),
     ([1.0, 2.0], [1.0], 1.0, True)],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    reference: list[float], rerun: list[float], delta: float, paired: bool
) -> None:
    with pytest.raises(UsageError):
        equivalence(reference, rerun, delta, paired=paired)


def test_all_metrics_must_agree() -> None:
    same = equivalence(TEN, TEN, 0.01)
    other = equivalence(TEN, [v - 0.05 for v in TEN], 0.01)
    few: Equivalence = equivalence([0.90, 0.95, 0.92], [0.91, 0.94, 0.96], 0.03)
    assert joint([same.verdict]) == "statistically-equivalent"
    assert joint([same.verdict, few.verdict]) == "inconclusive"
    assert joint([same.verdict, few.verdict, other.verdict]) == "different"
    assert joint([]) == "inconclusive"
