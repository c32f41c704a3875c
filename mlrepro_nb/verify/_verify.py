"""`verify`: from a target to a verdict."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from mlrepro_nb import stamp
from mlrepro_nb.capture import MASK, mask_outputs
from mlrepro_nb.execute import Limits, Nursery, portable
from mlrepro_nb.model import (
    Cause,
    CellVerdict,
    Report,
    Step,
    Trial,
    Verdict,
    Verification,
    silent,
    timestamp,
)
from mlrepro_nb.store import Store, write_atomically
from mlrepro_nb.verify._reference import (
    Reference,
    check_output,
    locate,
    raised,
    reference_cells,
)
from mlrepro_nb.verify._rerun import Rerun, recorded_entropy, rerun
from mlrepro_nb.verify._surroundings import Surroundings, patience, surroundings
from mlrepro_nb.verify._words import NEVER_REACHED
from mlrepro_nb.verify.attribute import Case, Seen, attribute, needs_second_run, without_effect
from mlrepro_nb.verify.attribute.recorded import recorded_outputs, stored_digests
from mlrepro_nb.verify.attribute.sources import in_slice
from mlrepro_nb.verify.compare import (
    Context,
    Difference,
    compare_cell,
    widget_states,
    without_noise,
)
from mlrepro_nb.verify.differential import Budget, Held, investigate
from mlrepro_nb.verify.sanitize import read_sanitize

_RERUNS = 6
_RERUNS_SECONDS = 600.0
_WORST: tuple[Verdict, ...] = ("bitwise", "within-tolerance", "inconclusive", "different", "failed")


def verify(
    target: str | Path,
    *,
    store: Store | None = None,
    output: Path | None = None,
    kernel: str | None = None,
    timeout: float | None = None,
    total_timeout: float | None = None,
    notebook: Path | None = None,
    reference: Path | None = None,
    rtol: float = 1e-9,
    atol: float = 1e-12,
    sanitize: Path | None = None,
    lax: bool = False,
    replay: bool = False,
    restore: bool = False,
    rehash: bool = False,
    environment: Literal["current", "recorded"] = "current",
    data: Literal["current", "recorded"] = "current",
    commit: Literal["current", "recorded"] = "current",
    limits: Limits | None = None,
    nursery: Nursery | None = None,
    reruns: int | None = None,
    observe: Callable[[Case], object] | None = None,
    report: Report = silent,
) -> Verification:
    """Run a notebook again in a fresh kernel and say whether it gives the same.

    Neither the notebook nor any other file of the project is changed: it runs in
    a scratch copy.

    Parameters
    ----------
    target : str or Path
        A notebook, the digest of a record or the beginning of one, or a JSON
        file that holds a record.
    store : Store, optional
        Where records are; by default the project's, and none outside git.
    output : Path, optional
        Where to write the executed copy.
    kernel : str, optional
        Kernelspec to use instead of the notebook's.
    timeout, total_timeout : float, optional
        Seconds that one cell, and the notebook, may take.
    notebook : Path, optional
        The notebook of a record, where it is not at the recorded place.
    reference : Path, optional
        An executed notebook whose outputs are the reference.
    rtol, atol : float
        Floats agree within ``atol + rtol`` times the greater magnitude of the two.
    sanitize : Path, optional
        A file of regular expressions and what to put in place of what they match, before
        outputs are compared, as ``pytest --nbval --nbval-sanitize-with`` reads it.
    lax : bool
        Compare the outputs of those cells only that are marked with ``NBVAL_CHECK_OUTPUT``.
    replay : bool
        Feed the entropy of the recorded run back, so that what it drew from
        unseeded generators is drawn again.
    restore : bool
        Start from the inputs as the recorded run read them, where it overwrote
        them itself and they were kept.
    rehash : bool
        Read every file again to see whether it changed, also those whose status
        says that they did not.
    environment : str
        Where ``recorded``, run in an environment that is built from the record's lock.
    data : str
        Where ``recorded``, start from the inputs that the recorded run read; what cannot
        be had is in the verification's notes.
    commit : str
        Where ``recorded``, run in a working copy of the record's commit.
    limits : Limits, optional
        What the notebook may take.
    nursery : Nursery, optional
        Where kernels come from; by default it is made for this one notebook.
    reruns : int, optional
        How many more runs there may be to tell the causes of what differs; by default as
        many as take ten minutes, and six at most.
    observe : callable, optional
        Is given the cells with their outputs, once they are judged.

    Raises
    ------
    NotebookError, NotFoundError, UsageError, KernelError, StoreError
        There is nothing to run, or nothing to run it with.
    """
    begun = time.monotonic()
    told = Context(rtol=rtol, atol=atol, sanitize=read_sanitize(sanitize) if sanitize else ())
    found = locate(target, store=store, notebook=notebook, outputs=reference)
    check_output(output, found)
    with contextlib.ExitStack() as until:
        where = surroundings(
            found, nursery=nursery or until.enter_context(Nursery()), limits=limits or Limits(),
            environment=environment, data=data, commit=commit, report=report,
        )  # fmt: skip
        cells = reference_cells(found, lax=lax)
        run_again = functools.partial(
            rerun, found, kernel=kernel, timeout=timeout, total=patience(found, total_timeout),
            report=report, surroundings=where, restore=restore,
            fed=recorded_entropy(found, report) if replay else None,
        )  # fmt: skip
        first = run_again()
        case = Case(
            cells, record=found.record, rerun=first.record, root=found.root, folder=found.folder,
            notebook=found.path, prefix=first.prefix, store=found.store, rehash=rehash,
            language=found.nb.metadata.get("language_info"),
        )  # fmt: skip
        before = widget_states(found.outputs.metadata if found.outputs else found.nb.metadata)
        told = replace(told, widgets=(before, widget_states(first.nb.metadata)))
        _hold_against(case, first, told)
        budget = Budget(left=_affordable(first.duration) if reruns is None else reruns)
        trials: list[Trial] = []
        if needs_second_run(case) and budget.allows():
            report(Step(message="running once more, to tell chance from change"))
            budget.left -= 1
            trials.append(Trial(why="to tell chance from change"))
            _repeat(case, run_again(fresh=True), told)
        trials += investigate(
            case, _under_conditions(run_again, where, found, report), _same(case, told), budget
        )
    causes = attribute(case)
    verdicts = [_verdict(cell, case, causes) for cell in case.cells.values()]
    overall = _overall(case, verdicts)
    again = found.store.put(first.record) if found.store and first.record else None
    if again is not None:
        first.nb.metadata[stamp.KEY] = str(stamp.Stamp(record=again, verdict=overall))
    executed = _write(first, found, output)
    result = Verification(
        verdict=overall,
        notebook=found.name,
        record=found.digest,
        rerun=again,
        cells=tuple(verdicts),
        causes=_distinct([*causes.values(), *_besides(case, causes)])
        or _distinct(without_effect(case)),
        trials=tuple(trials),
        executed=str(executed),
        notes=first.notes,
        created=timestamp(),
        duration=round(time.monotonic() - begun, 3),
    )
    if found.store is not None:
        found.store.put(result)
    if observe is not None:
        observe(case)
    return result


def _affordable(seconds: float) -> int:
    """Return how many more runs of a notebook nobody minds who did not ask for them."""
    return max(2, min(_RERUNS, int(_RERUNS_SECONDS / max(seconds, 1.0))))


def _under_conditions(
    run_again: Callable[..., Rerun], where: Surroundings, found: Reference, report: Report
) -> Callable[[Held], dict[int, list[Mapping[str, Any]]]]:
    def go(held: Held) -> dict[int, list[Mapping[str, Any]]]:
        report(Step(message=f"running under conditions: {', '.join(held.conditions)}"))
        more: dict[str, Any] = {}
        if "replay" in held.conditions:
            more["fed"] = recorded_entropy(found, report)
        if "data" in held.conditions:
            more["surroundings"] = replace(where, data="recorded")
        return run_again(fresh=True, held=held, **more).outputs

    return go


def _same(
    case: Case, told: Context
) -> Callable[[int, list[Mapping[str, Any]], list[Mapping[str, Any]]], bool]:
    def same(index: int, one: list[Mapping[str, Any]], other: list[Mapping[str, Any]]) -> bool:
        return compare_cell(one, other, _context(case, index, told)).level != "different"

    return same


def _besides(case: Case, causes: Mapping[int, Cause | None]) -> list[Cause]:
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


def _hold_against(case: Case, first: Rerun, told: Context) -> None:
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
        failed = after is not None and (before is None or before["ename"] != after["ename"])
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


def _repeat(case: Case, second: Rerun, told: Context) -> None:
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


def _verdict(cell: Seen, case: Case, causes: Mapping[int, Cause | None]) -> CellVerdict:
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


def _overall(case: Case, verdicts: list[CellVerdict]) -> Verdict:
    counted = [v.verdict for v in verdicts if v.verdict == "failed" or case.cells[v.index].executed]
    if not counted:
        return "inconclusive" if verdicts else "bitwise"
    return max(counted, key=_WORST.index)


def _distinct(causes: Iterable[Cause | None]) -> tuple[Cause, ...]:
    found: dict[tuple[str, int | None, str], Cause] = {}
    for cause in causes:
        if cause is not None:
            found.setdefault((cause.kind, cause.cell, cause.subject), cause)
    return tuple(found.values())


def _write(first: Rerun, found: Reference, output: Path | None) -> Path:
    """Write the executed copy, whole or not at all."""
    import nbformat

    if output is None:
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        folder = found.store.root / "executed" if found.store else Path(tempfile.mkdtemp(
            prefix="mlrepro-executed-"))  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        output = folder / f"{found.path.stem}-{stamp}-{os.urandom(3).hex()}.ipynb"
    text = nbformat.writes(_plain(first.nb)) + "\n"
    write_atomically(output, text.encode("utf-8", "surrogatepass"))
    return output


def _plain(nb: Any) -> Any:
    if "papermill" in nb.metadata:
        nb.metadata["papermill"] = portable(nb)["metadata"]["papermill"]
    nb.nbformat, nb.nbformat_minor = 4, max(5, nb.get("nbformat_minor", 5))
    return nb
