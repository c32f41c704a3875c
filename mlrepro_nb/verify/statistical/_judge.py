"""What runs say of a metric, in a verdict and a sentence. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import msgspec

from mlrepro_nb.metrics import holds
from mlrepro_nb.model import Expectation, MetricVerdict, Verdict
from mlrepro_nb.verify.statistical._sample import Measured
from mlrepro_nb.verify.statistics import MOST_RUNS, Agreement, Equivalence, equivalence, joint


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of a run, and what the run drew."""

    metric: Measured
    variation: int | None = None
    """What its seeds were varied by; None where it is not given by its seeds, or they are as
    they are written."""
    rerun: bool = False
    """Whether `verify` ran it."""


def judge(
    expected: Expectation, record: Measured, earlier: Sequence[Drawn], rerun: Sequence[Drawn]
) -> MetricVerdict | None:
    """Return the verdict on one metric.

    Parameters
    ----------
    expected : Expectation
        The metric, its delta and its limit, either of which may be missing. Where there is
        no delta, and the limit is kept, nothing is said.
    record : Measured
        In the record that is verified.
    earlier, rerun : sequence of Drawn
        In other runs like the record's, and in those that are judged.
    """
    values = [one.metric.value for one in rerun if one.metric.value is not None]
    source = next((one.metric.source for one in rerun if one.metric.source), record.source)
    met = _met(expected, values)
    missed = _missed(expected, values)
    kept = missed is None and (values or expected.operator is None)
    if expected.delta is None and kept:
        return None
    verdict: Agreement
    found, reference = None, _numbers([record, *(one.metric for one in earlier)])
    if not values:
        problem = next((one.metric.problem for one in rerun if one.metric.problem), None)
        verdict = "different" if reference else "inconclusive"
        detail = f"no run gives it: {problem or 'there is no such metric'}"
    elif missed is not None:
        verdict, detail = "different", missed
    elif not reference:
        said = record.problem or "it has no such metric"
        verdict = "inconclusive"
        detail = f"there is nothing to hold it against in the record: {said}"
    else:
        verdict, detail = "inconclusive", ""
    if values and reference and expected.delta is not None:
        found, reference = _compared(expected.delta, record, earlier, rerun)
        if missed is None:
            verdict, detail = found.verdict, _detail(found)
            # Else runs of ours would be held against runs of ours.
            if found.verdict != "different" and earlier and all(one.rerun for one in earlier):
                alone = _record_alone(expected.delta, record, values)
                verdict, detail = ("different", alone) if alone else (verdict, detail)
    lost = [one.metric for one in rerun if one.metric.value is None]
    if lost and values:
        problem = next((one.problem for one in lost if one.problem), "it is missing")
        detail += f"; in {len(lost)} of {len(rerun)} runs there is none: {problem}"
        verdict = joint([verdict, "inconclusive"])
    return MetricVerdict(
        metric=expected.metric,
        source=source,
        verdict=verdict,
        detail=detail,
        delta=expected.delta,
        operator=expected.operator,
        limit=expected.limit,
        met=met,
        reference=tuple(reference),
        rerun=tuple(values),
        difference=found.difference if found else None,
        low=_finite(found.low) if found else None,
        high=_finite(found.high) if found else None,
        paired=found.paired if found else False,
        needed=found.needed if found else None,
    )


def overall(metrics: Sequence[MetricVerdict], *, runs: int, failed: int) -> Verdict:
    """Return the verdict on a notebook; runs that failed leave a selection, which shows little."""
    if failed == runs:
        return "failed"
    verdicts: list[Agreement] = [one.verdict for one in metrics]  # type: ignore[misc]
    return joint([*verdicts, "inconclusive"] if failed else verdicts)


def _compared(
    delta: float, record: Measured, earlier: Sequence[Drawn], rerun: Sequence[Drawn]
) -> tuple[Equivalence, list[float]]:
    """Hold the runs against the reference; one by one where their seeds were the same."""
    had = [one for one in rerun if one.metric.value is not None]
    values = _numbers([one.metric for one in had])
    same = {one.variation: one.metric for one in earlier if one.variation is not None}
    pairs = [same.get(one.variation) for one in had if one.variation is not None]
    partners = _numbers([one for one in pairs if one is not None])
    if len(partners) == len(had) > 1:
        return equivalence(partners, values, delta, paired=True), partners
    reference = _numbers([record, *(one.metric for one in earlier)])
    return equivalence(reference, values, delta), reference


def _record_alone(delta: float, record: Measured, values: Sequence[float]) -> str | None:
    """Return that the record's own value is not one that such runs give."""
    if record.value is None or len(values) < 2:
        return None
    found = equivalence([record.value], values, delta)
    if found.verdict != "different":
        return None
    return (
        f"the record's own value, {record.value:.6g}, is not one that the runs give: their mean "
        f"is {fmean(values):.6g}, and 95 % of single runs lie within {found.high - found.low:.3g} "
        "about it"
    )


def _detail(found: Equivalence) -> str:
    low, high, delta = f"{found.low:+.3g}", f"{found.high:+.3g}", f"±{found.delta:g}"
    how = "of the pairs' difference" if found.paired else "of the difference"
    if found.verdict == "consistent":
        few = "reference" if found.reference == 1 else "run"
        return (
            f"the means differ by {found.difference:+.3g}, as single runs do; one {few} alone "
            "cannot show that they are equivalent"
        )
    if min(found.reference, found.rerun) == 1:
        if found.verdict == "different":
            return f"the means differ by {found.difference:+.3g}, more than single runs do"
        return "one run on each side tells nothing of chance"
    interval = f"the 90 % interval {how}, {low} to {high},"
    if found.verdict == "statistically-equivalent":
        return f"{interval} lies within {delta}"
    if found.verdict == "different":
        return f"{interval} lies outside {delta}"
    need = (
        f"about {found.needed} runs on each side would tell"
        if found.needed
        else f"not even {MOST_RUNS} runs on each side would: the delta is too small for what varies"
    )
    return f"{interval} reaches beyond {delta}; {need}"


def _met(expected: Expectation, values: Sequence[float]) -> int | None:
    if expected.operator is None or expected.limit is None:
        return None
    return sum(holds(expected.operator, value, expected.limit) for value in values)


def _missed(expected: Expectation, values: Sequence[float]) -> str | None:
    """Return that the runs' mean is not within the limit."""
    if expected.operator is None or expected.limit is None or not values:
        return None
    mean = fmean(values)
    if holds(expected.operator, mean, expected.limit):
        return None
    return f"the mean, {mean:.6g}, is not {expected.operator} {expected.limit:g} as expected"


def _numbers(metrics: Sequence[Measured]) -> list[float]:
    return [one.value for one in metrics if one.value is not None]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
