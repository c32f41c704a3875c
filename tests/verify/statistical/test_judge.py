"""What several runs say of one metric."""

from __future__ import annotations

import msgspec
import pytest

from mlrepro_nb.metrics import expectation
from mlrepro_nb.model import MetricVerdict
from mlrepro_nb.verify.report import described, plot
from mlrepro_nb.verify.statistical._judge import Drawn, judge, overall
from mlrepro_nb.verify.statistical._sample import Measured

TEN = [0.931, 0.934, 0.929, 0.932, 0.930, 0.933, 0.928, 0.935, 0.931, 0.932]
FIVE = [0.9305, 0.9315, 0.929, 0.934, 0.9325]
EXPECTED = expectation("accuracy >= 0.92 delta 0.01")


def drawn(values: list, *, first: int | None = None, rerun: bool = True) -> list[Drawn]:
    return [
        Drawn(
            metric=v if isinstance(v, Measured) else Measured(value=v, source="mlflow"),
            variation=None if first is None else first + i, rerun=rerun,
        )
        for i, v in enumerate(values)
    ]  # fmt: skip


def judged(
    reference: list, rerun: list, text: str = "accuracy >= 0.92 delta 0.01"
) -> MetricVerdict:
    record, *earlier = [d.metric for d in drawn(reference)] or [Measured()]
    others = [Drawn(metric=metric) for metric in earlier]
    found = judge(expectation(text), record, others, drawn(rerun))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("reference", "rerun", "verdict", "says"),
    [
        (TEN, FIVE, "statistically-equivalent", "lies within ±0.01"),
        (TEN, [v + 0.05 for v in FIVE], "different", "lies outside ±0.01"),
        (TEN, [v - 0.05 for v in FIVE], "different", "is not >= 0.92 as expected"),
        ([0.92, 0.93, 0.95], [0.93, 0.94, 0.93], "inconclusive", "runs on each side would tell"),
        ([0.90, 0.95, 0.99], [0.94, 0.93, 0.99], "inconclusive", "not even 1000 runs"),
        (TEN[:1], FIVE, "consistent", "one reference alone"),
        (TEN, FIVE[:1], "consistent", "one run alone"),
        (TEN[:1], FIVE[:1], "inconclusive", "tells nothing of chance"),
        ([], FIVE, "inconclusive", "nothing to hold it against"),
        (TEN, [Measured(problem="it is NaN")] * 3, "different", "no run gives it: it is NaN"),
        ([], [Measured()] * 3, "inconclusive", "there is no such metric"),
        (TEN, [*FIVE, Measured(problem="it is a str, not a number")], "inconclusive",
         "in 1 of 6 runs there is none: it is a str"),
    ],
)  # fmt: skip
def test_the_verdict_and_its_reason(reference: list, rerun: list, verdict: str, says: str) -> None:
    found = judged(reference, rerun)
    assert found.verdict == verdict
    assert says in found.detail
    msgspec.json.encode(found)  # no number that JSON does not know


def test_runs_of_the_same_seeds_are_compared_one_by_one() -> None:
    wide = [0.90, 0.95, 0.99, 0.92]
    text = expectation("accuracy delta 0.01")
    paired = judge(
        text, Measured(value=0.93), drawn(wide, first=1), drawn([v + 0.001 for v in wide], first=1)
    )
    other = judge(text, Measured(value=0.93), drawn(wide, first=1), drawn(wide, first=9))
    assert paired is not None
    assert other is not None
    assert (paired.verdict, paired.paired) == ("statistically-equivalent", True)
    assert (other.verdict, other.paired) == ("inconclusive", False)


def test_runs_of_ours_do_not_vouch_for_a_record_that_they_never_give() -> None:
    found = judge(EXPECTED, Measured(value=0.999), drawn(TEN[:5], first=1), drawn(TEN[:5], first=1))
    assert found is not None
    assert found.verdict == "different"
    assert "the record's own value" in found.detail


def test_a_limit_alone_is_told_where_it_is_missed() -> None:
    kept = judge(expectation("accuracy > 0.9"), Measured(), [], drawn(FIVE))
    missed = judge(expectation("accuracy > 0.99"), Measured(), [], drawn(FIVE))
    assert kept is None
    assert missed is not None
    assert (missed.verdict, missed.met) == ("different", 0)


def test_all_metrics_must_agree_and_runs_that_failed_leave_it_open() -> None:
    good, bad = judged(TEN, FIVE), judged(TEN, [0.5, 0.51])
    assert overall([good], runs=5, failed=0) == "statistically-equivalent"
    assert overall([good, bad], runs=5, failed=0) == "different"
    assert overall([good], runs=5, failed=1) == "inconclusive"
    assert overall([], runs=5, failed=5) == "failed"


def test_the_picture_has_the_points_and_says_what_it_shows() -> None:
    from xml.etree.ElementTree import fromstring

    found = judged(TEN, FIVE)
    drawing = plot(msgspec.structs.replace(found, metric="<script>&"))
    root = fromstring(drawing)
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}circle")) == 15
    assert root.findtext(f"{name}title") == "<script>&: statistically-equivalent"
    assert "10 reference runs: mean 0.9315" in described(found)
    assert root.get("role") == "img"
    for odd in ([], [1.0], [1.0, 1.0], [-1e300, 1e300]):
        fromstring(plot(msgspec.structs.replace(found, rerun=tuple(odd), reference=tuple(odd))))
