"""A metric of several runs as a picture: SVG, from values alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from statistics import fmean

from mlrepro_nb.model import MetricVerdict

_WIDTH, _LEFT, _RIGHT = 760, 110, 20
_ROWS = {"reference": 46, "runs": 96}
_AXIS, _HEIGHT = 136, 176
_RADIUS = 4


def plot(found: MetricVerdict, number: int = 0) -> str:
    """Return a strip of points: the reference's runs, those that were judged, and the delta.

    Parameters
    ----------
    found : MetricVerdict
        The metric.
    number : int
        Tells the picture's identifiers from those of others in the same document.
    """
    return "".join(_drawn(found, number))


def described(found: MetricVerdict) -> str:
    """Return what the picture shows, in words."""
    said = [
        f"{found.metric} of {len(values)} {name}: mean {fmean(values):.6g}, "
        f"from {min(values):.6g} to {max(values):.6g}"
        for name, values in (("reference runs", found.reference), ("runs", found.rerun))
        if values
    ]
    if found.delta is not None and found.reference:
        said.append(f"the band is the reference's mean ± {found.delta:g}")
    if found.low is not None and found.high is not None:
        said.append(f"the interval of the difference is {found.low:.3g} to {found.high:.3g}")
    if found.operator is not None and found.limit is not None:
        said.append(f"the limit, dashed where it is near, is {found.operator} {found.limit:g}")
    return f"{'; '.join(said) or f'There is no value of {found.metric}'}."


def _drawn(found: MetricVerdict, number: int) -> Iterator[str]:
    ids = f"metric{number}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'width="{_WIDTH}" height="{_HEIGHT}" aria-labelledby="{ids}t {ids}d" '
        'font-family="system-ui,sans-serif" font-size="12" fill="currentColor">'
    )
    yield f'<title id="{ids}t">{escape(found.metric)}: {escape(found.verdict)}</title>'
    yield f'<desc id="{ids}d">{escape(described(found))}</desc>'
    shown = [*found.reference, *found.rerun]
    if shown:
        yield from _filled(found, shown)
    yield "</svg>"


def _filled(found: MetricVerdict, shown: list[float]) -> Iterator[str]:
    mean = fmean(found.reference) if found.reference else None
    if mean is not None and found.delta is not None:
        shown += [mean - found.delta, mean + found.delta]
    interval = _interval(found)
    shown += interval or ()
    low, high = min(shown), max(shown)
    limit = found.limit
    if limit is not None and not low - (high - low) <= limit <= high + (high - low):
        limit = None  # so far away it would press the points together
    low, high = (low, high) if limit is None else (min(low, limit), max(high, limit))
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - room, high + room

    def at(value: float) -> float:
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    if mean is not None and found.delta is not None:
        left, right = at(mean - found.delta), at(mean + found.delta)
        yield (
            f'<rect x="{left}" y="22" width="{round(right - left, 1)}" height="{_AXIS - 22}" '
            'fill-opacity=".12"/>'
            f'<text x="{at(mean)}" y="14" text-anchor="middle">±{found.delta:g}</text>'
        )
    if limit is not None:
        x = at(limit)
        yield (
            f'<line x1="{x}" x2="{x}" y1="22" y2="{_AXIS}" stroke="currentColor" '
            'stroke-dasharray="5 4"/>'
            f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="middle">'
            f"{escape(found.operator or '')} {limit:g}</text>"
        )
    for name, values in (("reference", found.reference), ("runs", found.rerun)):
        y = _ROWS[name]
        yield f'<text x="8" y="{y + 4}">{name} ({len(values)})</text>'
        yield from _points(values, y, at, filled=name == "runs")
    if interval is not None:
        y = _ROWS["runs"] + 22
        yield (
            f'<path d="M{at(interval[0])} {y - 5}v10M{at(interval[0])} {y}H{at(interval[1])}'
            f'M{at(interval[1])} {y - 5}v10" stroke="currentColor" fill="none" stroke-width="2"/>'
        )
    yield f'<path d="M{_LEFT} {_AXIS}H{_WIDTH - _RIGHT}" stroke="currentColor"/>'
    for value in _ticks(low, high):
        yield (
            f'<path d="M{at(value)} {_AXIS}v5" stroke="currentColor"/>'
            f'<text x="{at(value)}" y="{_AXIS + 18}" text-anchor="middle">{value:.6g}</text>'
        )


def _points(values: Sequence[float], y: int, at: object, *, filled: bool) -> Iterator[str]:
    assert callable(at)
    style = 'fill-opacity=".75"' if filled else 'fill="none" stroke="currentColor"'
    for index, value in enumerate(values):
        # Points of the same value lie beside, not upon each other.
        offset = (index % 3 - 1) * 5
        yield (
            f'<circle cx="{at(value)}" cy="{y + offset}" r="{_RADIUS}" {style}>'
            f"<title>{value:.6g}</title></circle>"
        )
    if values:
        x = at(fmean(values))
        yield (
            f'<path d="M{x} {y - 14}v28" stroke="currentColor" stroke-width="2">'
            f"<title>mean {fmean(values):.6g}</title></path>"
        )


def _interval(found: MetricVerdict) -> tuple[float, float] | None:
    """Return the interval of the difference, from the reference's mean."""
    if found.low is None or found.high is None or not found.reference:
        return None
    mean = fmean(found.reference)
    return mean + found.low, mean + found.high


def _ticks(low: float, high: float) -> Iterator[float]:
    """Yield round numbers from `low` to `high`, about five."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    yield from (round(index * step, 12) for index in range(first, min(last, first + 12) + 1))
