"""Whether a metric that chance is part of is the same as before: equivalence, not sameness.

That a difference is not significant says nothing: with few runs nothing is. Two one-sided
tests ask whether what differs is surely less than what matters, a margin that is declared
before the rerun. The third verdict is that the runs were too few. Pure, and without scipy:
a table of Student's t is all that it would be there for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, stdev
from typing import Literal

import msgspec

from mlrepro_nb.errors import UsageError

MOST_RUNS = 1000
"""More runs than this are not proposed."""

Agreement = Literal["statistically-equivalent", "different", "consistent", "inconclusive"]


class Equivalence(msgspec.Struct, frozen=True, kw_only=True):
    """What several runs say of a metric."""

    verdict: Agreement
    difference: float
    """Of the means: rerun less reference."""
    low: float
    """Lower end of the interval that decides."""
    high: float
    delta: float
    paired: bool = False
    reference: int
    """How many runs the reference had."""
    rerun: int
    needed: int | None = None
    """Runs on each side with which it would be decided in 80 % of cases, where it is not."""


def equivalence(
    reference: Sequence[float], rerun: Sequence[float], delta: float, *, paired: bool = False,
    alpha: float = 0.05, power: float = 0.8,
) -> Equivalence:  # fmt: skip
    """Say whether the mean of a metric is the same within a margin.

    Equivalent where the ``1 - 2 alpha`` interval of the difference (Welch's, or of the pairs)
    lies within ±delta, different where it lies without, else inconclusive. One rerun, or one
    reference, can only be consistent with the other side: it lies within the interval
    in which 95 % of single runs lie, or within the margin.

    Parameters
    ----------
    reference, rerun : sequence of float
        The metric in each run; where `paired`, of the same seeds in the same order.
    delta : float
        The greatest difference that does not matter, in units of the metric.
    paired : bool
        Whether run i of both shared what was drawn.
    alpha : float
        The chance to call equivalent what is just not.
    power : float
        Of the runs that are proposed.

    Raises
    ------
    UsageError
        There is no run, a value is no number, delta is not positive, or pairs are missing.
    """
    _check(reference, rerun, delta, paired=paired)
    n, m = len(reference), len(rerun)
    difference = fmean(rerun) - fmean(reference)
    if min(n, m) == 1:
        return _single(reference, rerun, delta)
    if paired:
        between = [b - a for a, b in zip(reference, rerun, strict=True)]
        error, freedom = stdev(between) / math.sqrt(n), float(n - 1)
    else:
        error, freedom = _welch(stdev(reference), n, stdev(rerun), m)
    width = quantile(1 - alpha, freedom) * error if error else 0.0
    low, high = difference - width, difference + width
    verdict: Agreement = "inconclusive"
    if -delta < low and high < delta:
        verdict = "statistically-equivalent"
    elif high < -delta or low > delta:
        verdict = "different"
    needed = None
    if verdict == "inconclusive":
        spread = error * math.sqrt(n) if paired else math.hypot(stdev(reference), stdev(rerun))
        needed = runs_needed(spread, delta, difference, alpha=alpha, power=power)
    return Equivalence(
        verdict=verdict, difference=difference, low=low, high=high, delta=delta, paired=paired,
        reference=n, rerun=m, needed=needed,
    )  # fmt: skip


def _check(
    reference: Sequence[float], rerun: Sequence[float], delta: float, *, paired: bool
) -> None:
    if not reference or not rerun:
        raise UsageError("There is no run to compare.", "Run it at least once on each side.")
    if not all(math.isfinite(value) for value in (*reference, *rerun)):
        raise UsageError("A metric is not a finite number.", "See why that run gave none.")
    if not (math.isfinite(delta) and delta > 0):
        raise UsageError(
            f"{delta} is no margin.", "Declare the smallest difference that matters, above 0."
        )
    if paired and len(reference) != len(rerun):
        raise UsageError("Pairs need as many runs on both sides.", "Use the same seeds for both.")


def _single(reference: Sequence[float], rerun: Sequence[float], delta: float) -> Equivalence:
    """Hold one run against several: the interval in which 95 % of single runs lie."""
    n, m = len(reference), len(rerun)
    many = rerun if n == 1 else reference
    difference = fmean(rerun) - fmean(reference)
    verdict: Agreement = "inconclusive"
    width = math.inf
    if len(many) > 1:
        width = quantile(0.975, len(many) - 1.0) * stdev(many) * math.sqrt(1 + 1 / len(many))
        verdict = "consistent" if abs(difference) <= max(width, delta) else "different"
    return Equivalence(
        verdict=verdict, difference=difference, low=difference - width, high=difference + width,
        delta=delta, reference=n, rerun=m,
    )  # fmt: skip


def _welch(s: float, n: int, t: float, m: int) -> tuple[float, float]:
    """Return the error of a difference of means, and its degrees of freedom."""
    a, b = s * s / n, t * t / m
    if a + b == 0:
        return 0.0, float(n + m - 2)
    share = a / (a + b)  # not their squares, which may be too small to be told from 0
    return math.sqrt(a + b), 1 / (share * share / (n - 1) + (1 - share) ** 2 / (m - 1))


def runs_needed(
    spread: float, delta: float, difference: float = 0.0, *, alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:  # fmt: skip
    """Return how many runs on each side would decide, None where no number of them would soon.

    Parameters
    ----------
    spread : float
        Standard deviation of the difference of two single runs.
    delta : float
        The margin.
    difference : float
        Of the means, as it is believed to be.
    alpha, power
        As in `equivalence`.
    """
    room = abs(delta - abs(difference))
    if spread == 0:
        return 2
    if room == 0:
        return None
    # Where the truth is in the middle it can miss the margin on both sides.
    inside = abs(difference) < delta
    share = (1 + power) / 2 if inside and abs(difference) < delta / 10 else power

    def decided(n: int) -> bool:
        # Welch's degrees of freedom are between n - 1 and twice that: the safe end.
        factor = quantile(1 - alpha, n - 1.0) + quantile(share, n - 1.0)
        return factor * spread / math.sqrt(n) <= room

    if not decided(MOST_RUNS):
        return None
    return bisect_left(range(2, MOST_RUNS), x=True, key=decided) + 2


def quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t."""
    if probability < 0.5:
        return -quantile(1 - probability, freedom)
    if probability == 0.5:
        return 0.0
    high = 1.0
    while _cdf(high, freedom) < probability:
        high *= 2
    return _bisect(lambda t: _cdf(t, freedom) - probability, 0.0, high)


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _cdf(t: float, freedom: float) -> float:
    """Return the chance of less than t, for t of at least 0."""
    x = freedom / (freedom + t * t)
    return 1 - _incomplete_beta(freedom / 2, 0.5, x) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # it converges on the other side
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log1p(-x)
    ) / a  # fmt: skip
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    fraction = d
    for k in range(1, 500):
        for numerator in (
            k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k)),
            -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1)),
        ):
            d = 1 / ((1 + numerator * d) or tiny)
            c = (1 + numerator / c) or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def joint(verdicts: Iterable[Agreement]) -> Agreement:
    """Return the verdict on several metrics: all must be equivalent, so no correction is due."""
    order: tuple[Agreement, ...] = (
        "statistically-equivalent", "consistent", "inconclusive", "different",
    )  # fmt: skip
    return max(verdicts, key=order.index, default="inconclusive")
