"""Reruns in which the cells run as their execution counts tell: in that order, and that often.

Counts alone prove little. A gap is as well a cell that was tried and deleted, and a cell that
changes its own input may do so to no effect. What the run gives is what tells.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.attribute.order import executed_order, gaps, imports_only

_MOST = 4
"""Runs of a cell that are missing in the counts, beyond which it is not run so often."""


def in_order(case: Case) -> tuple[int, ...]:
    """Return the cells in the order of their counts; nothing where that is the file's.

    With a record there is nothing to find out, and counts that stand twice are of several
    kernels.
    """
    order = executed_order(case)
    counts = [cell.count for cell in case.cells.values() if cell.count is not None]
    if case.record is not None or len(set(counts)) < len(counts) or order == sorted(order):
        return ()
    return tuple(order)


def perhaps_again(case: Case) -> dict[int, int]:
    """Return cells that may have run more than once, and how many runs more there is room for."""
    counts = [cell.count for cell in case.cells.values() if cell.count is not None]
    if case.record is not None or len(set(counts)) < len(counts):
        return {}
    return {
        cell: missing for cell, missing in gaps(case).items()
        if missing <= _MOST and not imports_only(case, cell)
    }  # fmt: skip


def with_again(case: Case, again: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Return the cells in the order of their counts, some of them several times in a row."""
    times = dict(again)
    return tuple(
        cell for index in executed_order(case) for cell in [index] * (1 + times.get(index, 0))
    )
