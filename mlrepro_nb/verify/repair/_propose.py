"""From causes to edits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mlrepro_nb.capture import MASK
from mlrepro_nb.dataflow import read_cell
from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.attribute.exports import import_of
from mlrepro_nb.verify.attribute.interfaces import import_folder
from mlrepro_nb.verify.attribute.order import executed_order
from mlrepro_nb.verify.attribute.state import gone
from mlrepro_nb.verify.repair._code import relative_paths, seeded, sorted_sources
from mlrepro_nb.verify.repair._edits import Edit, Proposal, Refusal
from mlrepro_nb.verify.repair._kernel import ported

_STALE = frozenset(
    {"edited-output", "edited-after-run", "repeated-execution", "shifted-stream", "skipped-cell",
     "interrupted", "in-place-mutation", "unexecuted-stamp"}
)  # fmt: skip
_WHY_NOT = {
    "clock": "the time of a run has no value that would be right in the next",
    "entropy": "an identifier that is drawn anew is meant to be another each time",
    "parallel-reduction": "how threads are set up is decided before the notebook runs",
    "changed-data": "which of the two states of the data is right only a person knows",
}
"""Names by which libraries are imported everywhere."""

Found = list[Edit] | str
"""Edits, or why there are none."""


def propose(case: Case, causes: Iterable[Cause], total: int) -> Proposal:
    """Return the edits for some causes of a notebook of `total` cells."""
    edits: list[Edit] = []
    refused: list[Refusal] = []
    sources = {index: cell.source for index, cell in case.cells.items()}
    for cause in causes:
        make = _REPAIRS.get(cause.kind)
        found: Found = (
            make(case, cause, sources, total) if make is not None
            else [_outputs(cause)] if cause.kind in _STALE
            else _WHY_NOT.get(cause.kind, "no change of the notebook's code would be sure to be "
                              "right")
        )  # fmt: skip
        if isinstance(found, str):
            refused.append(Refusal(cause=cause.kind, cell=cause.cell, subject=cause.subject,
                                   why=f"{found[:1].upper()}{found[1:]}. {cause.fix}"))  # fmt: skip
            continue
        for edit in found:
            if edit.action == "replace" and edit.cell is not None:
                sources[edit.cell] = edit.source
            if edit not in edits and not _put_in_above(edit, edits):
                edits.append(edit)
    # Of a cell that was changed for several causes the last source holds all the changes.
    return Proposal(edits=tuple(edits), refused=tuple(refused))


def _put_in_above(edit: Edit, edits: list[Edit]) -> bool:
    """Whether the same code is put in further up already: what it defines is there below."""
    return edit.action == "insert" and any(
        other.action == "insert" and other.source == edit.source
        and (other.cell or 0) <= (edit.cell or 0) for other in edits
    )  # fmt: skip


def _outputs(cause: Cause) -> Edit:
    return Edit(
        cause=cause.kind, action="outputs", cell=cause.cell,
        what="Outputs are made anew by a run from the top, with the code as it stands.",
    )  # fmt: skip


def _reorder(case: Case, cause: Cause, _: dict[int, str], total: int) -> Found:
    ran = executed_order(case)
    last = list(dict.fromkeys(reversed(ran)))[::-1]
    order = _by_execution(last, case, total) if last != sorted(last) else None
    if order is None:
        order = _by_need(case, total)
    if order is None:
        return "in no order of the cells is everything defined before it is used"
    moved = [i for i, n in enumerate(order) if i != n]
    return [Edit(
        cause=cause.kind, action="order", cell=cause.cell, order=tuple(order),
        what=f"Cells are put into the order in which they need each other (cells {moved[0]} to "
             f"{moved[-1]} move).",
    )] if moved else "the cells are in order"  # fmt: skip


def _by_execution(ran: list[int], case: Case, total: int) -> list[int]:
    """Return the cells as they ran; text goes with the code below it."""
    place = {index: number for number, index in enumerate(ran)}
    blocks: list[tuple[int, list[int]]] = []
    waiting: list[int] = []
    before = -1
    for index in range(total):
        waiting.append(index)
        if index in case.cells:
            before = place.get(index, before)
            blocks.append((before, waiting))
            waiting = []
    ordered = [i for _, block in sorted(blocks, key=lambda b: b[0]) for i in block]
    return ordered + waiting


def _by_need(case: Case, total: int) -> list[int] | None:
    """Return the file's order, with what a cell lacks moved before it."""
    order = list(range(total))
    for _ in range(total):
        lacking = _first_lack(case, [i for i in order if i in case.cells])
        if lacking is None:
            return order
        cell, definer = lacking
        order.remove(definer)
        order.insert(order.index(cell), definer)
    return None


def _first_lack(case: Case, order: list[int]) -> tuple[int, int] | None:
    for cell in order:
        for name, source in sorted(case.flow.reaching(cell, order).items()):
            later = [i for i in case.flow.definers(name) if i > cell and i != cell]
            if source is None and later and name in case.flow.by_index[later[0]].defines:
                return cell, later[0]
    return None


def _restore(case: Case, cause: Cause, _: dict[int, str], __: int) -> Found:
    if cause.cell is None:
        return "it is not known which cell needs it"
    needed, found = [cause.subject], []
    missing = list(gone(case))
    while needed:
        name = needed.pop()
        made = [e for e in missing if name in e.defines or name in e.mutates
                or name in read_cell(-1, e.source).defines]  # fmt: skip
        if not made or made[-1] in found:
            continue
        found.append(made[-1])
        uses = read_cell(-1, made[-1].source).uses
        needed += sorted(n for n in uses if not _above(case, n, cause.cell))
    if any(MASK in e.source for e in found):
        return "its source holds a secret, which the record does not keep"
    if found:
        return [
            Edit(cause=cause.kind, action="insert", cell=cause.cell, source=execution.source,
                 what=f"What ran as execution {execution.order} is put back before cell "
                      f"{cause.cell}.")
            for execution in sorted(found, key=lambda e: e.order)
        ]  # fmt: skip
    line = import_of(case, cause.subject)
    if line is None:
        return "no record holds the cell that defined it"
    what = f"{cause.subject} is imported before cell {cause.cell}: {line}"
    return [Edit(cause=cause.kind, action="insert", cell=cause.cell, source=line, what=what)]


def _above(case: Case, name: str, cell: int) -> bool:
    return any(definer < cell for definer in case.flow.definers(name))


def _by_source(
    change: Callable[[Case, Cause, str], str | None], what: str, why_not: str
) -> Callable[[Case, Cause, dict[int, str], int], Found]:
    def make(case: Case, cause: Cause, sources: dict[int, str], _: int) -> Found:
        if cause.cell not in sources:
            return why_not
        new = change(case, cause, sources[cause.cell])
        if new is None or new == sources[cause.cell]:
            return why_not
        return [Edit(cause=cause.kind, action="replace", cell=cause.cell, source=new,
                     what=f"Cell {cause.cell}: {what}.")]  # fmt: skip

    return make


def _seed(case: Case, cause: Cause, sources: dict[int, str], _: int) -> Found:
    edits: list[Edit] = []
    for index, source in sources.items():
        if (new := seeded(case.flow, source)) != source:
            what = f"Cell {index}: its generator is given the seed 0."
            edits.append(
                Edit(cause=cause.kind, action="replace", cell=index, source=new, what=what)
            )
    family = cause.subject.partition(":")[0].partition(".")[0]
    roots = {n.partition(".")[0] for c in case.flow.cells for n in (*c.imports.values(), *c.stars)}
    lines: list[str] = []
    if family == "random" or "random" in roots:
        lines += ["import random", "random.seed(0)"]
    if family == "numpy" or roots & {"numpy", "pandas", "sklearn", "scipy"}:
        lines += ["import numpy", "numpy.random.seed(0)"]
    if family == "torch" or "torch" in roots:
        lines += ["import torch", "torch.manual_seed(0)"]
    if family in ("tensorflow", "keras") or roots & {"tensorflow", "keras"}:
        lines += ["import tensorflow", "tensorflow.random.set_seed(0)"]
    first = min(sources, default=0)
    if lines:
        text = "\n".join(sorted(lines, key=lambda line: not line.startswith("import")))
        what = "A first cell seeds the generators that the notebook draws from."
        edits.append(Edit(cause=cause.kind, action="insert", cell=first, source=text, what=what))
    return [*edits, _outputs(cause)] if edits else "nothing known to be seeded is imported"


def _with_outputs(
    make: Callable[[Case, Cause, dict[int, str], int], Found],
) -> Callable[[Case, Cause, dict[int, str], int], Found]:
    def both(case: Case, cause: Cause, sources: dict[int, str], total: int) -> Found:
        found = make(case, cause, sources, total)
        return found if isinstance(found, str) else [*found, _outputs(cause)]

    return both


def _port(_: Case, cause: Cause, sources: dict[int, str], __: int) -> Found:
    if cause.cell is None:
        return "its cells run, and what they give in Python 3 is for a person to judge"
    source = sources[cause.cell]
    new = ported(source)
    if new is None:
        return "2to3 is not there: pip install fissix"
    if new == source:
        return "2to3 finds nothing in it to change"
    what = f"Cell {cause.cell} is ported to Python 3 by 2to3."
    return [Edit(cause=cause.kind, action="replace", cell=cause.cell, source=new, what=what)]


def _require(case: Case, cause: Cause, sources: dict[int, str], __: int) -> Found:
    wanted = cause.requirement
    own = import_folder(case, cause.subject) if wanted is None else None
    if own is not None:
        text = f"import sys\nsys.path.insert(0, {own!r})"
        what = f"A first cell lets modules be imported from {own}, where {cause.subject} is."
        return [Edit(
            cause=cause.kind, action="insert", cell=min(sources, default=0), source=text, what=what,
        )]  # fmt: skip
    if wanted is None:
        return "it is the environment that is another, not the notebook"
    what = f"{wanted} is required, in a file beside the copy."
    return [Edit(cause=cause.kind, action="require", cell=cause.cell, source=wanted, what=what)]


_SORT = _with_outputs(_by_source(
    sorted_sources, "what has no order is sorted",
    "where its order shows, sorting it would change what it is",
))  # fmt: skip
_REPAIRS: dict[str, Callable[[Case, Cause, dict[int, str], int], Found]] = {
    "out-of-order": _reorder,
    "deleted-definition": _restore,
    "console-state": _restore,
    "startup-state": _restore,
    "unseeded-randomness": _seed,
    "absolute-path": _by_source(
        relative_paths,
        "its path is relative to the notebook",
        "the project has no file of that name",
    ),
    "undeclared-dependency": _require,
    "python2": _port,
    "version-drift": _require,
    "api-change": _require,
    "hash-seed": _SORT,
    "listing-order": _SORT,
}
