"""Columns, keys and attributes that are not there: which cell makes them, or made them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mlrepro_nb.dataflow import Cell, read_cell
from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import order, state
from mlrepro_nb.verify.attribute._fallback import exception, recorded_reason
from mlrepro_nb.verify.attribute._removed import REMOVED
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.versioned import committed_since, written_since

_KEY = (
    re.compile(r"^'([^']+)'$"),
    re.compile(r"\['([^']+)'[^\]]*\] (?:not in index|not found in axis|are in the \[)"),
    re.compile(r"None of \[\w*Index\(\['([^']+)'"),
    re.compile(r"Column(?:\(s\))? (?:not found: |\[')(\w+)"),
)
_ATTRIBUTE = re.compile(r"'(\w+)' object has no attribute '(\w+)'")
_FRAMES = frozenset({"DataFrame", "Series", "DataFrameGroupBy", "SeriesGroupBy", "GeoDataFrame"})
"""Types whose attributes may be columns."""


def missing_member(case: Case, index: int, ename: str, evalue: str) -> Cause | None:
    """Say whether a cell uses a column, key or attribute that only another cell makes.

    Of a column that no cell makes, and whose cell ran once, a cell that made it is gone if an
    execution is missing before; else what it came from has changed.
    """
    name, column = _member(case, index, ename, evalue)
    if not name:
        return None
    makers = [cell.index for cell in case.flow.cells if name in made_by(cell)]
    if makers:
        return _made_below(case, index, name, makers)
    for execution in state.gone(case):
        if name in made_by(read_cell(-1, execution.source)):
            return state.deletion(index, name, execution)
    if not column:
        return None
    return (
        recorded_reason(case, index)
        or committed_since(case, index)
        or written_since(case, index)
        or _made_by_none(case, index, name)
        or (exception(index, ename, evalue, "") if ename == "AttributeError" else None)
    )


def _member(case: Case, index: int, ename: str, evalue: str) -> tuple[str, bool]:
    """Return the name of what is missing, and whether it is a column or key."""
    if ename == "KeyError":
        found = next((m for p in _KEY if (m := p.search(evalue))), None)
        return (found[1], True) if found else ("", False)
    found = _ATTRIBUTE.search(evalue) if ename == "AttributeError" else None
    if found is None:
        return "", False
    owner, name = found[1], found[2]
    # What is called is a method, and what a library once had is no column.
    called = re.search(rf"\.{name}\s*\(", case.cells[index].source)
    column = owner in _FRAMES and not called and f"{owner}.{name}" not in REMOVED
    return name, column


def _made_below(case: Case, index: int, name: str, makers: list[int]) -> Cause | None:
    if min(makers) <= index:
        return None
    there, here = case.cells[makers[0]].count, case.cells[index].count
    first = f"; execution counts say that it ran first ([{there}] before [{here}])"
    known = first if here and there and there < here else ""
    return cause(
        "out-of-order", index, name,
        f"Cell {index} uses {name!r}, which only cell {makers[0]} below it makes{known}",
        f"Move cell {makers[0]} before cell {index}",
    )  # fmt: skip


_UNPREPARED = re.compile(
    r"not (?:been |yet )?(?:yet )?(?:fit(?:ted)?|trained|initiali[sz]ed|compiled|built|opened"
    r"|connected|started)\b|no such table|\bis closed\b|\bclosed (?:file|database|connection)",
    re.IGNORECASE,
)


def never_prepared(case: Case, index: int, evalue: str, trace: str) -> Cause | None:
    """Say whether an object lacks what a cell that is gone did to it: ``model.fit(X, y)``."""
    if not _UNPREPARED.search(evalue):
        return None
    flow = case.flow.by_index[index]
    line = next(iter(re.findall(r"^-+> ?\d+ (.+)$", trace, re.MULTILINE)), "")
    for name in dict.fromkeys([*re.findall(r"[A-Za-z_]\w*", line), *sorted(flow.uses)]):
        made = case.flow.reaching(index).get(name)
        if made is None or name in case.flow.by_index[made].imports:
            continue
        if _missing_before(case, index, after=case.cells[made].count):
            return cause(
                "deleted-definition", index, name,
                f"Cell {index} uses {name!r} as cell {made} made it, and is told: {evalue[:160]}. "
                f"An execution is missing between [{case.cells[made].count}] and "
                f"[{case.cells[index].count}], of a cell that is no longer there",
                f"Put back the cell that prepared {name!r} between cells {made} and {index}",
            )  # fmt: skip
    return None


def _missing_before(case: Case, index: int, *, after: int | None = 0) -> bool:
    """Whether a cell ran in the reference, and before it, after another, one that is gone."""
    cell = case.cells[index]
    ran = cell.count is not None and not any(
        output.get("output_type") == "error" for output in cell.reference
    )
    return case.record is None and ran and after is not None and any(
        after < (case.cells[other].count or 0) <= (cell.count or 0) for other in order.gaps(case)
    )  # fmt: skip


def _made_by_none(case: Case, index: int, name: str) -> Cause | None:
    cell = case.cells[index]
    if not _missing_before(case, index):
        return None
    return cause(
        "deleted-definition", index, name,
        f"Cell {index} uses {name!r}, which no cell of the notebook makes; an execution is "
        f"missing before its [{cell.count}], of a cell that is no longer there",
        f"Make {name!r} in a cell above cell {index}",
    )  # fmt: skip


def made_by(cell: Cell) -> frozenset[str]:
    """Return the names of columns, keys and attributes that a cell makes, as far as is seen."""
    return frozenset(_made(cell.tree)) if cell.tree is not None else frozenset()


def _made(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield from _strings(node.slice)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Assign):
            yield from _keys(node.value)
            if any(getattr(target, "attr", "") == "columns" for target in node.targets):
                yield from _strings(node.value)
        elif isinstance(node, ast.ClassDef):
            yield from (n.name for n in node.body if isinstance(n, ast.FunctionDef))
        elif isinstance(node, ast.Call):
            yield from _by_call(node)


_FILLED = frozenset({"DataFrame", "Series", "dict", "from_dict", "from_records", "set_axis"})
"""What is given its keys or columns: what `drop`, `agg` and others are given is there already."""


def _by_call(node: ast.Call) -> Iterator[str]:
    called = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
    if called in ("insert", "setdefault", "setattr"):
        for argument in node.args:
            yield from _strings(argument)
    if called in (*_FILLED, "update"):
        for argument in node.args:
            yield from _keys(argument)
    for keyword in node.keywords:
        if keyword.arg and called in ("assign", "agg", "aggregate", "update", "dict"):
            yield keyword.arg
        if keyword.arg in ("names", "name", "value_name", "var_name") or (
            keyword.arg == "columns" and called in _FILLED
        ):
            yield from _strings(keyword.value)
        if called == "rename" and isinstance(keyword.value, ast.Dict):
            for new in keyword.value.values:
                yield from _strings(new)


def _keys(node: ast.AST) -> Iterator[str]:
    for part in (node, *getattr(node, "elts", ())):
        for key in part.keys if isinstance(part, ast.Dict) else ():
            yield from _strings(key)


def _strings(node: ast.AST | None) -> Iterator[str]:
    for part in (node, *getattr(node, "elts", ())):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
