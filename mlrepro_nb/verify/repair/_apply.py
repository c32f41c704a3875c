"""Edits carried out on a notebook, and the difference that they make."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from typing import Any

from mlrepro_nb import stamp
from mlrepro_nb.model import digest_text
from mlrepro_nb.verify.repair._edits import Edit


def applied(nb: Any, edits: Sequence[Edit]) -> Any:
    """Return a copy of a notebook with some edits; the notebook itself is not changed."""
    import nbformat.v4 as v4

    made = copy.deepcopy(nb)
    made.metadata.pop(stamp.KEY, None)
    cells = dict(enumerate(made.cells))
    before: dict[int, list[Any]] = {}
    order = list(cells)
    for edit in edits:
        if edit.action == "replace" and edit.cell is not None:
            cells[edit.cell].source = edit.source
        elif edit.action == "insert" and edit.cell is not None:
            new = v4.new_code_cell(edit.source)
            # The same edits give the same file.
            new["id"] = digest_text(f"{edit.cell}\n{edit.source}").rpartition(":")[2][:12]
            before.setdefault(edit.cell, []).append(new)
        elif edit.action == "order":
            order = list(edit.order)
        elif edit.action == "kernel":
            language = "python"
            made.metadata["kernelspec"] = {
                "name": edit.source, "display_name": "Python 3", "language": language,
            }  # fmt: skip
            if edit.cause == "python2":
                made.metadata.pop("language_info", None)
    made.cells = [cell for index in order for cell in (*before.get(index, ()), cells[index])]
    if before:
        made.nbformat, made.nbformat_minor = 4, max(5, made.get("nbformat_minor", 5))
        for number, cell in enumerate(made.cells):
            if "id" not in cell:
                cell["id"] = f"cell-{number}"
    return made


def origins(total: int, edits: Sequence[Edit]) -> list[int | None]:
    """Return for each cell of the copy which cell it was; None of one that was inserted."""
    order = list(range(total))
    inserted: dict[int, int] = {}
    for edit in edits:
        if edit.action == "insert" and edit.cell is not None:
            inserted[edit.cell] = inserted.get(edit.cell, 0) + 1
        elif edit.action == "order":
            order = list(edit.order)
    return [place for index in order for place in (*[None] * inserted.get(index, 0), index)]


def source_diff(one: Any, other: Any, names: tuple[str, str]) -> str:
    """Return the unified difference of two notebooks' sources, cell by cell."""
    return "".join(difflib.unified_diff(_lines(one), _lines(other), *names, n=2))


def _lines(nb: Any) -> list[str]:
    lines: list[str] = []
    for cell in nb.cells:
        lines.append(f"# --- {cell.cell_type}\n")
        lines += [f"{line}\n" for line in cell.source.splitlines()]
    return lines
