"""What the order in which the cells ran explains."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute._older import older_python
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.sources import find_sources


def executed_order(case: Case) -> list[int]:
    """Return the cells in the order in which the reference run ran them."""
    if case.record is not None and case.index_of:
        return [
            case.index_of[execution.order]
            for execution in case.record.code.cells
            if execution.order in case.index_of
        ]
    counted = [cell for cell in case.cells.values() if cell.count is not None]
    return [cell.index for cell in sorted(counted, key=lambda cell: (cell.count or 0, cell.index))]


def out_of_order(case: Case, index: int) -> Cause | None:
    """Say whether a cell's result rests on cells that ran in another order than the file's."""
    order = executed_order(case)
    if order == sorted(order) or index in case.in_any_order:
        return None
    for cell in sorted(case.flow.upstream(index)):
        stored = case.flow.reaching(cell, order)
        for name, here in sorted(case.flow.reaching(cell).items()):
            there = stored.get(name)
            # A cell that found its own earlier result ran twice: `repeated` says so.
            if there in (None, here, cell) or _imported(case, name, there, here):
                continue
            if case.record is None and _agrees_in_order(case, order, cell, name, there, here):
                continue
            if there > cell:
                evidence = (
                    f"it used {name!r} of cell {there}, which ran before it but stands after it"
                )
            else:
                evidence = f"it used {name!r} of cell {there}; from the top it gets that of {here}"
            return cause(
                "out-of-order", cell, name,
                f"Cell {cell} ran in another order than the file's: {evidence} "
                f"({_counts(case, cell, there)})",
                f"Move cell {there} before cell {cell}"
                if there > cell
                else f"Put the cells in the order in which they ran, cell {there} last before "
                f"cell {cell}",
            )  # fmt: skip
    return None


def _agrees_in_order(
    case: Case, order: list[int], cell: int, name: str, there: int | None, here: int | None
) -> bool:
    """Whether outputs say that a cell saw a name's value of the file's order all the same.

    Execution counts alone are weak: a notebook that was run from the top, of which some cells
    were run again later, has the counts of another order and the outputs of the file's. What
    shows the cell's value, or that of the same name at the same place, and came out of the
    clean run as it is stored, says more.
    """
    if case.cells[cell].error is not None or case.cells[cell].differs:
        if older_python(case) is None:
            return False  # what else would it be?
        same = [
            flow.index for flow in case.flow.cells
            if flow.index != cell
            and case.flow.reaching(flow.index).get(name) == here
            and name in case.flow.reaching(flow.index)
            and case.flow.reaching(flow.index, order).get(name, -1) == there
        ]  # fmt: skip
    else:
        same = [c.index for c in case.flow.cells if cell in case.flow.upstream(c.index)]
    return any(_tells(case, index) for index in same)


def _tells(case: Case, index: int) -> bool:
    """Whether a cell came out as it is stored, and shows more than an object's name."""
    seen = case.cells[index]
    if not (seen.compared and seen.executed and seen.error is None and seen.difference):
        return False
    return seen.difference.level != "different" and any(map(_shows, seen.reference))


def _shows(output: Mapping[str, Any]) -> bool:
    if output.get("output_type") == "error":
        return True
    data = output.get("data") or {}
    text = "".join(output.get("text") or data.get("text/plain") or "").strip()
    opaque = text.startswith("<") and text.endswith(">")
    return (bool(re.search(r"\d", text)) and not opaque) or "text/html" in data


def run_again_after(case: Case, index: int) -> Cause | None:
    """Say whether a cell was changed and run again after the cells that show its result."""
    order = executed_order(case)
    if case.record is not None or order == sorted(order):
        return None
    for cell in sorted(case.flow.upstream(index)):
        stored = case.flow.reaching(cell, order)
        for name, here in sorted(case.flow.reaching(cell).items()):
            if stored.get(name) is None and here is not None and cell in order and here in order:
                if _agrees_in_order(case, order, cell, name, None, here):
                    continue
                return cause(
                    "edited-after-run", here, name,
                    f"Cell {here} ran again after cell {cell} had used its {name!r} "
                    f"({_counts(case, here, cell)}), so cell {cell} shows an older result",
                    f"Run cell {cell} and those below it again, and save",
                )  # fmt: skip
    return None


def repeated(case: Case, index: int) -> Cause | None:
    """Say whether a cell that changes its own input ran more than once."""
    again = _times(case) if index not in case.however_often else {}
    for cell in sorted(case.flow.upstream(index)):
        flow = case.flow.by_index.get(cell)
        if flow is None or cell not in again:
            continue
        names = sorted(flow.accumulates - set(flow.imports))
        drawn = [s for s in case.sources if s.cell == cell and s.kind == "random"]
        if names and not drawn:
            return _changing(case, cell, names[0], again[cell])
    return None


def _changing(case: Case, cell: int, name: str, evidence: str) -> Cause:
    # A name that is bound anew is one thing, an object that is changed another.
    flow = case.flow.by_index[cell]
    bound = name in flow.defines & flow.uses
    return cause(
        "repeated-execution" if bound else "in-place-mutation", cell, name,
        f"Cell {cell} changes {name!r} from what it was, and {evidence}",
        f"Have cell {cell} make {name!r} from an untouched input, then run the notebook from the "
        "top",
    )  # fmt: skip


def ran_again(case: Case, cell: int, times: int) -> Cause:
    """Return the cause where a run in which a cell ran several times gave what is stored."""
    count = case.cells[cell].count
    evidence = (
        f"run {times} times in a row, for which the execution counts leave room before its "
        f"[{count}], it gives what is stored; run once it does not"
    )
    rerun = case.rerun
    for use in rerun.randomness.uses if rerun is not None else ():
        if use.seeded and use.by is None and case.ran(use.execution, use.cell) == cell:
            return _shifted(cell, use.generator, use.generator, evidence)
    seeded = [s for s in find_sources(case.flow, seeded=True) if s.cell == cell]
    if seeded:
        return _shifted(cell, seeded[0].subject, seeded[0].text, evidence)
    flow = case.flow.by_index[cell]
    names = sorted(flow.accumulates - set(flow.imports))
    if names:
        return _changing(case, cell, names[0], evidence)
    return cause(
        "repeated-execution", cell, f"cell {cell}",
        f"Cell {cell} changes what was there before it, and {evidence}",
        f"Have cell {cell} start from an untouched input, then run the notebook from the top",
    )  # fmt: skip


def ran_before(case: Case, cells: frozenset[int]) -> Cause:
    """Return the cause where a run in the order of the execution counts gave what is stored."""
    first, shown = min(cells), "Run in the order of the execution counts it is as stored."
    for cell in sorted(cells):
        if found := out_of_order(case, cell):
            return msgspec.structs.replace(found, evidence=f"{found.evidence} {shown}")
    order = executed_order(case)
    before = order[: order.index(first)]
    there = next((i for i in reversed(before) if i > first and not imports_only(case, i)), None)
    told = (
        f"cell {there}, which ran before it but stands after it, changes what it gives"
        if there is not None else "cells above it ran in another order than they stand in"
    )  # fmt: skip
    return cause(
        "out-of-order", first, f"cell {first if there is None else there}",
        f"Cell {first} ran in another order than the file's: {told} "
        f"({_counts(case, first, *([] if there is None else [there]))}). {shown}",
        f"Move cell {there} before cell {first}" if there is not None
        else "Put the cells in the order in which they ran",
    )  # fmt: skip


def imports_only(case: Case, index: int) -> bool:
    """Whether a cell does nothing but import."""
    flow = case.flow.by_index.get(index)
    return flow is not None and flow.tree is not None and all(
        isinstance(statement, ast.Import | ast.ImportFrom) for statement in flow.tree.body
    )  # fmt: skip


def shifted_stream(case: Case, index: int) -> Cause | None:
    """Say whether a cell that draws from a generator seeded elsewhere ran more than once."""
    again, upstream = _times(case), case.flow.upstream(index)
    seeded = find_sources(case.flow, seeded=True)
    shared = {s.subject.partition(":")[0]: s.cell for s in seeded if s.cell in upstream}
    for source in seeded:
        # No name leads from one draw to the next: what they share is the generator.
        last = shared.get(source.subject.partition(":")[0], -1)
        if index in case.however_often and not case.cells[source.cell].differs:
            continue
        if source.cell in again and (source.cell in upstream or source.cell < last):
            return _shifted(source.cell, source.subject, source.text, again[source.cell])
    return None


def _shifted(cell: int, subject: str, text: str, evidence: str) -> Cause:
    return cause(
        "shifted-stream", cell, subject,
        f"Cell {cell} draws from a generator that another cell seeds ({text}), and {evidence}",
        f"Seed in cell {cell} itself, or give it a generator of its own",
    )  # fmt: skip


def gaps(case: Case) -> dict[int, int]:
    """Return for cells before whose execution count others are missing how many."""
    counted = sorted((c.count, c.index) for c in case.cells.values() if c.count is not None)
    found, last = {}, 0
    for count, index in counted:
        if count - last > 1:
            found[index] = count - last - 1
        last = count
    return found


def _times(case: Case) -> dict[int, str]:
    """Return the cells that ran more than once, and what says so."""
    if case.record is not None:
        order = executed_order(case)
        return {i: f"it ran {order.count(i)} times" for i in set(order) if order.count(i) > 1}
    return {
        index: f"execution counts are missing right before its [{case.cells[index].count}]: "
        f"it seems to have run {missing + 1} times"
        for index, missing in gaps(case).items()
    }


def _imported(case: Case, name: str, one: int | None, other: int | None) -> bool:
    return all(i is not None and name in case.flow.by_index[i].imports for i in (one, other))


def _counts(case: Case, *cells: int) -> str:
    shown = [f"cell {i} is [{case.cells[i].count}]" for i in cells if case.cells[i].count]
    return ", ".join(shown) or "as recorded"
