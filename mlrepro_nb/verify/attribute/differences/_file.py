"""The file is not what ran: its code or its outputs were edited, or cells left out."""

from __future__ import annotations

import ast
import re

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import order, recorded
from mlrepro_nb.verify.attribute._older import older_python
from mlrepro_nb.verify.attribute.case import Case, Seen, cause
from mlrepro_nb.verify.attribute.differences._nondeterminism import one_of_few
from mlrepro_nb.verify.attribute.differences._otherwise import is_picture, shown_otherwise
from mlrepro_nb.verify.attribute.differences._shown import hints, shown
from mlrepro_nb.verify.compare import contradictory


def edited_output(case: Case, index: int) -> Cause | None:
    """The record knows what was printed, and the rerun printed that."""
    found = recorded.edited_output(case, index)
    cell = case.cells[index]
    if found is None:
        return None
    again = recorded.stored_digests(cell.outputs) == recorded.recorded_outputs(case, index)
    # Else both are off: what changed upstream says more.
    return found if again else None


def edited_source(case: Case, index: int) -> Cause | None:
    edited, upstream = recorded.edited_cells(case), case.flow.upstream(index)
    return next((edited[cell] for cell in sorted(edited) if cell in upstream), None)


def lost(case: Case, index: int) -> Cause | None:
    cell = case.cells[index]
    if "lost" not in hints(case, index) or cell.difference is None:
        return None
    return cause(
        "output-loss", index, f"output of cell {index}",
        f"Cell {index} ran without an error and gave out less: {cell.difference.detail}",
        f"See which branch of cell {index} was not taken, or which exception it swallows; "
        "have it fail instead",
    )  # fmt: skip


def interrupted(case: Case, index: int) -> Cause | None:
    """Say whether this cell, or one that it rests on, was stopped midway in the reference run."""
    for cell in sorted(case.flow.upstream(index)):
        reference = case.cells[cell].reference if cell in case.cells else ()
        if any(o.get("ename") == "KeyboardInterrupt" for o in reference):
            return cause(
                "interrupted", cell, "KeyboardInterrupt",
                f"Cell {cell} was interrupted in the reference run and ran to its end now",
                f"Run cell {cell} to its end and save",
            )  # fmt: skip
    return None


def unexecuted(case: Case, index: int) -> Cause | None:
    """A number without an output, or an output without a number: no run leaves a cell so."""
    cell = case.cells[index]
    numbered = any(other.count is not None for other in case.cells.values())
    if cell.count is not None and not cell.stored and not cell.reference and cell.outputs:
        told = f"has the number [{cell.count}] and no output, though its code gives one"
    elif cell.count is None and cell.stored and numbered:
        told = "has an output and no number, though other cells have theirs"
    else:
        return None
    return cause(
        "unexecuted-stamp", index, f"cell {index}", f"Cell {index} {told}{shown(cell)}",
        f"Run cell {index} and save",
    )  # fmt: skip


def skipped(case: Case, index: int) -> Cause | None:
    """A cell that the reference run left out feeds this one."""
    if not any(cell.count for cell in case.cells.values()):
        return None
    for cell in sorted(case.flow.upstream(index) - {index}):
        seen, flow = case.cells.get(cell), case.flow.by_index.get(cell)
        if seen is None or seen.executed or flow is None or not flow.tree or not flow.tree.body:
            continue
        if flow.defines - set(flow.imports) or flow.mutates:
            name = sorted(flow.defines | flow.mutates)[0]
            return cause(
                "skipped-cell", cell, name,
                f"Cell {cell} sets {name!r} and was not run in the reference run",
                f"Delete cell {cell}, or run the notebook from the top and save",
            )  # fmt: skip
    return None


def unexplained(case: Case, cell: Seen) -> Cause:
    """Nothing outside the file has changed: then the file was edited, its code or its outputs."""
    index, flow = cell.index, case.flow.by_index[cell.index]
    if contradictory(cell.reference) and not contradictory(cell.outputs):
        return _pasted(cell, "its own forms (text, HTML) do not show the same numbers")
    if drift := older_python(case):
        return drift
    blamed = _localised(case, index)
    missing = order.gaps(case)
    if blamed in missing and len(missing) == 1 and case.cells[blamed].count != 1 + missing[blamed]:
        names = ", ".join(sorted(flow.uses & _variables(case))) or "what it uses"
        return cause(
            "deleted-definition", blamed, names,
            f"Cell {blamed} gave another result with {names}; an execution is missing right "
            f"before its [{case.cells[blamed].count}], of a cell that is no longer there",
            f"Put back the cell that ran before cell {blamed}, or run from the top and save",
        )  # fmt: skip
    if found := one_of_few(case, index) or shown_otherwise(case, cell):
        return found
    if case.record is not None and cell.executed:
        return _unrecorded(case, blamed, shown(cell))
    own = re.findall(r"(?<![\w.])\d+\.?\d*|'[^']*'|\"[^\"]*\"", cell.source)
    later = [
        c for c in case.cells.values() if c.index > index and index in case.flow.upstream(c.index)
    ]
    agreeing = [c for c in later if c.compared and c.reference and not c.differs and not c.error]
    if (
        blamed == index
        and not is_picture(cell)
        and (agreeing or (not _constants(own) and not later))
    ):
        return _pasted(cell, "the code as it stands, run twice, gives something else, and what "
                       "is computed from it agrees" if agreeing else
                       "the code above it as it stands agrees everywhere else")  # fmt: skip
    return cause(
        "edited-after-run", blamed, f"cell {blamed}",
        f"In a clean run the code of cell {blamed} as it stands does not give what is stored"
        f"{shown(cell)}; nothing else that it depends on is seen to have changed",
        f"Run the notebook from the top and save, or restore cell {blamed} from git",
    )  # fmt: skip


def _unrecorded(case: Case, index: int, what: str) -> Cause:
    """All that the record holds is as it was: then it does not hold what has changed."""
    assert case.record is not None
    commands = [
        command
        for cell in case.record.code.cells
        if case.index_of.get(cell.order) == index and cell.effects is not None
        for command in cell.effects.commands
    ]
    starts = f"; it runs `{commands[0]}`, which may read what no record sees" if commands else ""
    return cause(
        "unrecorded", index, commands[0] if commands else f"cell {index}",
        f"Cell {index} gives something else than when it was recorded{what}, again and again, "
        f"though its code and all that the record holds of what it rests on are the same{starts}",
        "See what it reads besides: a program's own files, a service; "
        "mlrepro record --deep sees all files",
    )  # fmt: skip


def _constants(literals: list[str]) -> bool:
    return any(re.search(r"\d", text) for text in literals if not text.startswith(("'", '"')))


def _variables(case: Case) -> set[str]:
    return {name for cell in case.flow.cells for name in cell.defines - set(cell.imports)}


def _pasted(cell: Seen, why: str) -> Cause:
    return cause(
        "edited-output", cell.index, f"output of cell {cell.index}",
        f"The stored output of cell {cell.index} is not what its code gives{shown(cell)}: {why}",
        f"Run cell {cell.index} again and save; outputs are not to be typed in",
    )  # fmt: skip


def _localised(case: Case, index: int) -> int:
    """Return the first cell that all differing cells depend on and no agreeing one does."""
    differing = [c.index for c in case.cells.values() if c.differs and c.repeats is not False]
    shared = set(case.flow.upstream(index))
    for other in differing:
        upstream = case.flow.upstream(other)
        if shared & upstream:
            shared &= upstream
    for cell in case.cells.values():
        if cell.compared and cell.reference and not cell.differs and cell.error is None:
            shared -= case.flow.upstream(cell.index)
    edited = [i for i in shared if _computes(case, i)]
    # What people turn are the cells that only set values; else the nearest is enough.
    settings = [i for i in edited if _sets_values(case, i)]
    return min(settings) if settings else max(edited, default=index)


def _sets_values(case: Case, index: int) -> bool:
    """Whether a cell does nothing but give names to constants."""
    tree = case.flow.by_index[index].tree
    return tree is not None and bool(tree.body) and all(
        isinstance(statement, ast.Assign) and _is_constant(statement.value)
        for statement in tree.body
    )  # fmt: skip


def _is_constant(node: ast.AST) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _computes(case: Case, index: int) -> bool:
    flow = case.flow.by_index[index]
    return bool(flow.defines - set(flow.imports) or flow.mutates or case.cells[index].differs)
