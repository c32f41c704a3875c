"""What a notebook expects of its metrics, held against one rerun. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from mlrepro_nb.metrics import met, outcome, wording
from mlrepro_nb.model import CellVerdict, Record


def with_expectations(
    cells: Sequence[CellVerdict], rerun: Record | None
) -> tuple[list[CellVerdict], tuple[str, ...]]:
    """Return the cells' verdicts with what the rerun misses of what it expects, and notes on it.

    The cell that says what is expected differs then: its promise is not kept. What a cell that
    failed expects is not known.
    """
    found, notes = list(cells), []
    for one in rerun.results.expectations if rerun is not None else ():
        if met(one):
            continue
        detail = f"expected {wording(one)}: {outcome(one)}"
        notes.append(f"{detail[0].upper()}{detail[1:]}.")
        for position, cell in enumerate(found):
            if cell.index == one.cell and cell.verdict != "failed":
                found[position] = replace(cell, verdict="different", detail=detail)
    return found, tuple(notes)
