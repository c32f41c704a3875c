"""Long texts cut down to where they differ, with what stands around it."""

from __future__ import annotations

from collections.abc import Callable

_AROUND = 300
"""Characters of a line around a difference that may tell whether it is noise."""
_ABOVE = 20_000
"""Characters around a difference that may tell where it stands: the headings of a table."""


def cut(before: str, after: str) -> tuple[str, str, int]:
    """Return two texts without the lines that both begin and end with, and how many those are.

    A text of megabytes is not split into millions of lines because one of them differs.
    """
    if min(len(before), len(after)) < 4 * _ABOVE or "\x1b[" in before or "\x1b[" in after:
        return before, after, 0
    start, skipped = 0, 0
    head = _alike(before, after)
    if head > _ABOVE:
        start = before.rfind("\n", 0, head - _ABOVE) + 1
    tail = min(_alike_back(before, after), min(len(before), len(after)) - start)
    stop = len(before)
    if tail > _ABOVE:
        found = before.find("\n", len(before) - tail + _ABOVE)
        stop = found + 1 if found >= 0 else len(before)
    skipped = before.count("\n", 0, start) + before.count("\n", stop)
    return before[start:stop], after[start : len(after) - (len(before) - stop)], skipped


def narrowed(one: str, other: str) -> tuple[str, str]:
    """Cut two long lines at blanks, before and behind what differs."""
    start = one.rfind(" ", 0, max(0, _alike(one, other) - _AROUND)) + 1
    one, other = one[start:], other[start:]
    tail = _alike_back(one, other) - _AROUND
    if tail <= 0:
        return one, other
    blank = one.find(" ", len(one) - tail)
    if blank < 0:
        return one, other
    return one[:blank], other[: len(other) - (len(one) - blank)]


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    return _longest(min(len(one), len(other)), lambda low, high: one[low:high] == other[low:high])


def _alike_back(one: str, other: str) -> int:
    """Return how many characters two texts end with alike."""
    end, other_end = len(one), len(other)
    return _longest(
        min(end, other_end),
        lambda low, high: one[end - high : end - low] == other[other_end - high : other_end - low],
    )


def _longest(most: int, alike: Callable[[int, int], bool]) -> int:
    """Return up to where texts are alike; where they soon are not, little of them is read."""
    low, step = 0, _ABOVE
    while low < most and alike(low, min(low + step, most)):
        low, step = min(low + step, most), 2 * step
    high = min(low + step, most)
    while low < high:
        middle = (low + high + 1) // 2
        if alike(low, middle):
            low = middle
        else:
            high = middle - 1
    return low
