"""What the runs of a notebook show, cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from mlrepro_nb.capture import MASK, mask_outputs
from mlrepro_nb.model import Cause, CellVerdict, Verdict
from mlrepro_nb.verify._reference import raised
from mlrepro_nb.verify._rerun import Rerun
from mlrepro_nb.verify._words import NEVER_REACHED
from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.attribute.recorded import recorded_outputs, stored_digests
from mlrepro_nb.verify.attribute.sources import in_slice
from mlrepro_nb.verify.compare import (
    Context,
    Difference,
    compare_cell,
    error_name,
    widget_states,
    without_noise,
)

_WORST: tuple[Verdict, ...] = ("bitwise", "within-tolerance", "inconclusive", "different", "failed")


def sameness(
    case: Case, told: Context
) -> Callable[[int, list[Mapping[str, Any]], list[Mapping[str, Any]]], bool]:
    """Return what says whether two outputs of a cell are the same."""

    def same(index: int, one: list[Mapping[str, Any]], other: list[Mapping[str, Any]]) -> bool:
        return compare_cell(one, other, _context(case, index, told)).level != "different"

    return same


def besides(case: Case, causes: Mapping[int, Cause | None]) -> list[Cause]:
    """Return the further causes of cells that have several."""
    return [c for i in sorted(case.confirmed) if causes.get(i) for c in case.confirmed[i][1:]]


def _context(case: Case, index: int, told: Context) -> Context:
    upstream = case.flow.upstream(index)
    return replace(
        told,
        timed=bool(in_slice(case.sources, upstream, "timer")),
        identities=bool(in_slice(case.sources, upstream, "identity")),
        entropy=bool(in_slice(case.sources, upstream, "entropy")),
    )


def hold_against(case: Case, first: Rerun, told: Context) -> None:
    """Compare each cell of the rerun with its reference."""
    stopped = first.error
    for index, cell in case.cells.items():
        if stopped is not None and (stopped.index is None or index >= stopped.index):
            cell.error = {
                "output_type": "error", "ename": stopped.ename, "evalue": stopped.evalue,
                "traceback": list(stopped.traceback),
            }  # fmt: skip
            continue
        cell.outputs = first.outputs.get(index, [])
        cell.truncated = index in first.truncated
        before, after = raised(cell.reference), raised(cell.outputs)
        failed = after is not None and (before is None or error_name(before) != error_name(after))
        if failed and not cell.may_raise:
            cell.error = after
        elif cell.compared:
            cell.difference = _compare(case, cell, told)
    if stopped is not None:
        _blame_only_first(case, stopped.index)


def _blame_only_first(case: Case, index: int | None) -> None:
    """Leave the cells that a dead kernel never came to out of the analysis."""
    for cell in case.cells.values():
        if index is None or cell.index > index:
            cell.error = None
            cell.compared = False
            cell.difference = None


def _compare(case: Case, cell: Seen, told: Context) -> Difference:
    if not cell.reference and not cell.stored:
        # An interactive record keeps digests only, and the file's outputs were stripped.
        recorded = recorded_outputs(case, cell.index)
        if recorded:
            if stored_digests(cell.outputs) == recorded:
                return Difference(level="bitwise")
            return Difference(
                level="different", where="digest", before="the recorded output", after="another"
            )
    context = _context(case, cell.index, told)
    difference = compare_cell(cell.reference, cell.outputs, context)
    if difference.level == "different" and MASK in str(cell.reference):
        # The outputs that a record keeps have their secrets masked.
        sources = [other.source for other in case.cells.values()]
        return compare_cell(cell.reference, mask_outputs(cell.outputs, sources), context)
    return difference


def repeat(case: Case, second: Rerun, told: Context) -> None:
    """Note which cells a second clean run gives otherwise, and what differs besides."""
    for cell in case.cells.values():
        if not cell.differs or cell.error is not None:
            continue
        context = _context(case, cell.index, told)
        own = widget_states(second.nb.metadata)
        again = second.outputs.get(cell.index, [])
        twice = replace(context, widgets=(told.widgets[1], own))
        varied = compare_cell(cell.outputs, again, twice)
        cell.repeats = varied.level != "different"
        kinds = {s.kind for s in in_slice(case.sources, case.flow.upstream(cell.index))}
        # The same items in another order: what stands where they agree by chance is no change.
        if cell.repeats or kinds & {"random", "hash"} or "order" in varied.hints:
            continue
        # Times and addresses are one thing; what else differs from the reference another.
        before, after = without_noise(cell.reference, cell.outputs, again, context)
        rest = compare_cell(before, after, context)
        if rest.level == "different":
            cell.difference, cell.repeats = rest, True


def verdict_of(cell: Seen, case: Case, causes: Mapping[int, Cause | None]) -> CellVerdict:
    """Return the verdict on a cell, once its causes are known."""
    cause = causes.get(cell.index)
    detail: str | None = None
    verdict: Verdict
    if cell.error is not None:
        verdict, detail = "failed", f"{cell.error['ename']}: {cell.error['evalue']}"[:200]
    elif cell.differs and cause is None:
        verdict, detail = "within-tolerance", "only how long it took differs"
    elif cell.truncated and not cell.differs:
        verdict, detail = "inconclusive", "it printed more than is kept: only that was compared"
    elif cell.difference is not None:
        verdict, detail = cell.difference.level, cell.difference.detail or None
    elif _never_reached(cell, case):
        verdict, detail = "failed", NEVER_REACHED
        cause = next((found for found in causes.values() if found is not None), None)
    elif not cell.executed:
        verdict, detail = "inconclusive", "not executed in the reference: not compared"
    else:
        verdict, detail = "bitwise", "not compared"
    return CellVerdict(index=cell.index, id=cell.id, verdict=verdict, cause=cause, detail=detail)


def _never_reached(cell: Seen, case: Case) -> bool:
    return cell.executed and any(
        other.error is not None
        and other.error["ename"] in ("DeadKernelError", "TimeoutError")
        and other.index < cell.index
        for other in case.cells.values()
    )


def overall(case: Case, verdicts: list[CellVerdict]) -> Verdict:
    """Return the worst verdict of those cells that ran in the reference."""
    counted = [v.verdict for v in verdicts if v.verdict == "failed" or case.cells[v.index].executed]
    if not counted:
        return "inconclusive" if verdicts else "bitwise"
    return max(counted, key=_WORST.index)


def distinct(causes: Iterable[Cause | None]) -> tuple[Cause, ...]:
    """Return each cause once, in its order."""
    found: dict[tuple[str, int | None, str], Cause] = {}
    for cause in causes:
        if cause is not None:
            found.setdefault((cause.kind, cause.cell, cause.subject), cause)
    return tuple(found.values())
