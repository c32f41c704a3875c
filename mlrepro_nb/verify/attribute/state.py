"""What the notebook's state explains that no cell of the file made."""

from __future__ import annotations

from collections.abc import Iterator

from mlrepro_nb.dataflow import read_cell
from mlrepro_nb.model import Cause, ExecutedCell, OutsideChange, WidgetMove
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.sources import in_slice


def made_elsewhere(case: Case, index: int) -> Cause | None:
    """Say whether what a cell uses was made by something that the file does not hold."""
    if case.record is None:
        return None
    upstream = case.flow.upstream(index)
    if not any(cell.defines or cell.uses for cell in case.record.code.cells):
        return _by_source(case, upstream)
    for cell in sorted(upstream, reverse=True):
        for name in sorted(getattr(case.last_execution(cell), "uses", ())):
            if found := name_made_elsewhere(case, cell, name):
                return found
    return None


def name_made_elsewhere(case: Case, cell: int, name: str) -> Cause | None:
    """Say what made a name that the last execution of a cell used, if the file does not hold it."""
    last = case.last_execution(cell)
    if case.record is None or last is None or name not in last.uses:
        return None
    order = last.uses[name]
    if order is None:
        return _by_outside(case, cell, name, last)
    missing = {execution.order: execution for execution in gone(case)}
    if order in missing:
        if _is_imported(case, cell, name, missing[order]):
            return None
        return deletion(cell, name, missing[order])
    changed = [
        execution
        for execution in missing.values()
        if order < execution.order < last.order and name in execution.mutates
    ]
    return deletion(cell, name, changed[-1]) if changed else None


def moved_widget(case: Case, index: int) -> Cause | None:
    """Say whether a cell used a widget that a person had set by hand."""
    if case.record is None:
        return None
    upstream = case.flow.upstream(index)
    for move in reversed(case.record.code.widgets):
        for cell in sorted(upstream, reverse=True):
            last = case.last_execution(cell)
            if last is None or move.next is None or last.order < move.next:
                continue
            if (name := _read_as(case, move, last)) is not None:
                return _of_widget(case, cell, name, move)
    return None


def perhaps_moved_widget(case: Case, index: int) -> Cause | None:
    """Without a record: say whether a cell rests on what a person may have set a widget to."""
    if case.record is not None:
        return None
    for source in in_slice(case.sources, case.flow.upstream(index), "widget"):
        return cause(
            "widget-state", source.cell, source.subject,
            f"Cell {source.cell} takes `{source.text}`, which a person sets by using the widget "
            f"{source.subject!r}; from the top it has what it is made with",
            f"Make {source.subject!r} with the value that was set, or make that a parameter",
        )  # fmt: skip
    return None


def taken_from_history(case: Case, index: int) -> Cause | None:
    """Say whether a cell takes a result by its number, which another order of cells changes."""
    code = sorted(case.cells)
    for cell in sorted(case.flow.upstream(index)):
        for name, order in sorted(getattr(case.last_execution(cell), "uses", {}).items()):
            digits = "".join(c for c in name if c.isdigit()) if name[:1] == "_" or (
                name.startswith("Out[")) else ""  # fmt: skip
            there = case.index_of.get(order) if order is not None else None
            if digits and there is not None and code.index(there) + 1 != int(digits):
                return cause(
                    "out-of-order", cell, name,
                    f"Cell {cell} uses {name}, which was the result of cell {there}; from the top "
                    f"that number is another cell's",
                    f"Give the result a name in cell {there}, and use that in cell {cell}",
                )  # fmt: skip
    return None


def gone(case: Case) -> Iterator[ExecutedCell]:
    """Yield executions of the record whose cell the file does not hold."""
    if case.record is None:
        return
    given = set(case.record.parameters.papermill)
    for execution in case.record.code.cells:
        if execution.order in case.index_of or not (execution.status == "ok" or execution.defines):
            continue
        # The cell that papermill put in is no cell of the file, and the rerun has it too.
        if execution.defines and given.issuperset(execution.defines):
            continue
        yield execution


def deletion(cell: int, name: str, execution: ExecutedCell) -> Cause:
    """Return the cause where the record still has the code that the file has not."""
    excerpt = execution.source if len(execution.source) < 600 else execution.source[:600] + "…"
    if execution.origin != "notebook":
        where = "at a console on" if execution.origin == "console" else "by another notebook on"
        return cause(
            "console-state", cell, name,
            f"{name!r} was set {where} the same kernel (execution {execution.order}), in no cell "
            "of the notebook",
            f"Put it into a cell before cell {cell}:\n{excerpt}",
        )  # fmt: skip
    return cause(
        "deleted-definition", cell, name,
        f"{name!r} was set by a cell that ran (execution {execution.order}) and is no longer in "
        "the file",
        f"Put it back before cell {cell}:\n{excerpt}",
    )  # fmt: skip


def _by_source(case: Case, upstream: frozenset[int]) -> Cause | None:
    """Without names in the record, of an earlier version: by what the sources say."""
    used: dict[str, int] = {}
    for cell in sorted(upstream, reverse=True):
        for name in case.flow.by_index[cell].uses if cell in case.flow.by_index else ():
            used[name] = cell
    for execution in gone(case):
        made = read_cell(-1, execution.source)
        for name in sorted((made.defines | made.mutates) & set(used) - set(made.imports)):
            return deletion(used[name], name, execution)
    return None


def _by_outside(case: Case, cell: int, name: str, last: ExecutedCell) -> Cause | None:
    change = _outside(case, name, last.order)
    if change is None:
        return None
    if "widget" in change.by:
        return cause(
            "widget-state", cell, name,
            f"{name!r}, which cell {cell} uses, was set by a widget's callback when a person used "
            "the widget",
            f"Set {name!r} in a cell before cell {cell}",
        )  # fmt: skip
    if not set(change.by) & {"debugger", "tool"}:
        return None
    how = "in the debugger" if "debugger" in change.by else "by code that a tool ran unseen"
    return cause(
        "console-state", cell, name,
        f"{name!r}, which cell {cell} uses, was set {how}, while no cell ran",
        f"Set {name!r} in a cell before cell {cell}",
    )  # fmt: skip


def _outside(case: Case, name: str, order: int) -> OutsideChange | None:
    assert case.record is not None
    before = [
        change
        for change in case.record.code.outside
        if name in change.names and change.before is not None and change.before <= order
    ]
    return before[-1] if before else None


def _is_imported(case: Case, cell: int, name: str, execution: ExecutedCell) -> bool:
    """Whether the file imports above a cell what a cell that is gone had imported."""
    made = read_cell(-1, execution.source).imports
    return name in made and any(
        flow.index < cell and flow.imports.get(name) == made[name] for flow in case.flow.cells
    )


def _read_as(case: Case, move: WidgetMove, last: ExecutedCell) -> str | None:
    """Return the name by which an execution came to a widget after it was moved."""
    for name in move.names:
        # A name that was bound since stands for another widget.
        if name in last.uses and (last.uses[name] or 0) < (move.next or 0):
            return name
    if move.names or move.made is None or case.record is None:
        return None
    made = next((e for e in case.record.code.cells if e.order == move.made), None)
    shared = sorted(set(made.defines) & set(last.uses)) if made is not None else []
    return shared[0] if shared else None


def _of_widget(case: Case, cell: int, name: str, move: WidgetMove) -> Cause:
    what = move.model.removesuffix("Model") + (f" “{move.description}”" if move.description else "")
    made = case.index_of.get(move.made) if move.made is not None else None
    place = f"in cell {made}" if made is not None else "where it is made"
    if move.trait == "click":
        evidence = f"The {what} was clicked by hand before cell {cell} used {name!r}"
        fix = f"Call in a cell before cell {cell} what the click called"
    else:
        evidence = (
            f"The {what} {name!r} was set by hand: its {move.trait} went from {move.before} to "
            f"{move.after} before cell {cell} used it"
        )
        fix = f"Set {move.trait}={move.after} {place}, or make it a parameter"
    return cause("widget-state", cell, name, evidence, fix)
