"""What a difference looks like."""

from __future__ import annotations

from mlrepro_nb.verify.attribute.case import Case, Seen


def hints(case: Case, index: int) -> frozenset[str]:
    difference = case.cells[index].difference
    return difference.hints if difference else frozenset()


def shown(cell: Seen) -> str:
    return f" ({cell.difference.detail})" if cell.difference and cell.difference.detail else ""
