"""`verify`: from a target to a verdict."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlrepro_nb import stamp
from mlrepro_nb.capture import MASK, mask_outputs
from mlrepro_nb.execute import portable
from mlrepro_nb.model import (
    Cause,
    CellVerdict,
    Report,
    Step,
    Verdict,
    Verification,
    silent,
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
from mlrepro_nb.verify.attribute import Case, Seen, attribute, needs_second_run, without_effect
from mlrepro_nb.verify.attribute.recorded import recorded_outputs, stored_digests
from mlrepro_nb.verify.attribute.sources import in_slice
from mlrepro_nb.verify.compare import Context, Difference, compare_cell, without_noise

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
    replay: bool = False,
    restore: bool = False,
    rehash: bool = False,
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
        Floats agree within ``atol + rtol * |reference|``.
    replay : bool
        Feed the entropy of the recorded run back, so that what it drew from
        unseeded generators is drawn again.
    restore : bool
        Start from the inputs as the recorded run read them, where it overwrote
        them itself and they were kept.
    rehash : bool
        Read every file again to see whether it changed, also those whose status
        says that they did not.

    Raises
    ------
    NotebookError, NotFoundError, UsageError, KernelError, StoreError
        There is nothing to run, or nothing to run it with.
    """
    begun = time.monotonic()
    found = locate(target, store=store, notebook=notebook, outputs=reference)
    check_output(output, found)
    cells = reference_cells(found)
    run_again = functools.partial(
        rerun, found, kernel=kernel, timeout=timeout, total=total_timeout, report=report,
        fed=recorded_entropy(found, report) if replay else None, restore=restore,
    )  # fmt: skip
    first = run_again()
    case = Case(
        cells, record=found.record, rerun=first.record, root=found.root, folder=found.folder,
        notebook=found.path, prefix=first.prefix, language=found.nb.metadata.get("language_info"),
        store=found.store, rehash=rehash,
    )  # fmt: skip
    tolerance = (rtol, atol)
    _hold_against(case, first, tolerance)
    if needs_second_run(case):
        report(Step(message="running once more, to tell chance from change"))
        _repeat(case, run_again(), tolerance)
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
        causes=_distinct(causes.values()) or _distinct(without_effect(case)),
        executed=str(executed),
        created=datetime.now(timezone.utc)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        duration=round(time.monotonic() - begun, 3),
    )
    if found.store is not None:
        found.store.put(result)
    return result


def _context(case: Case, index: int, tolerance: tuple[float, float]) -> Context:
    upstream = case.flow.upstream(index)
    return Context(
        rtol=tolerance[0],
        atol=tolerance[1],
        timed=bool(in_slice(case.sources, upstream, "timer")),
        identities=bool(in_slice(case.sources, upstream, "identity")),
    )


def _hold_against(case: Case, first: Rerun, tolerance: tuple[float, float]) -> None:
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
        before, after = raised(cell.reference), raised(cell.outputs)
        if after is not None and (before is None or before["ename"] != after["ename"]):
            cell.error = after
        elif cell.compared:
            cell.difference = _compare(case, cell, tolerance)
    if stopped is not None:
        _blame_only_first(case, stopped.index)


def _blame_only_first(case: Case, index: int | None) -> None:
    """Leave the cells that a dead kernel never came to out of the analysis."""
    for cell in case.cells.values():
        if index is None or cell.index > index:
            cell.error = None
            cell.compared = False
            cell.difference = None


def _compare(case: Case, cell: Seen, tolerance: tuple[float, float]) -> Difference:
    if not cell.reference and not cell.stored:
        # An interactive record keeps digests only, and the file's outputs were stripped.
        recorded = recorded_outputs(case, cell.index)
        if recorded:
            if stored_digests(cell.outputs) == recorded:
                return Difference(level="bitwise")
            return Difference(
                level="different", where="digest", before="the recorded output", after="another"
            )
    context = _context(case, cell.index, tolerance)
    difference = compare_cell(cell.reference, cell.outputs, context)
    if difference.level == "different" and MASK in str(cell.reference):
        # The outputs that a record keeps have their secrets masked.
        sources = [other.source for other in case.cells.values()]
        return compare_cell(cell.reference, mask_outputs(cell.outputs, sources), context)
    return difference


def _repeat(case: Case, second: Rerun, tolerance: tuple[float, float]) -> None:
    """Note which cells a second clean run gives otherwise, and what differs besides."""
    for cell in case.cells.values():
        if not cell.differs or cell.error is not None:
            continue
        context = _context(case, cell.index, tolerance)
        again = second.outputs.get(cell.index, [])
        cell.repeats = compare_cell(cell.outputs, again, context).level != "different"
        kinds = {s.kind for s in in_slice(case.sources, case.flow.upstream(cell.index))}
        if cell.repeats or kinds & {"random", "hash"}:
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
    elif cell.difference is not None:
        verdict, detail = cell.difference.level, cell.difference.detail or None
    elif _never_reached(cell, case):
        verdict, detail = "failed", "the run ended before it"
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
    counted = [
        v.verdict for v in verdicts if v.verdict != "inconclusive" and (
            v.verdict == "failed" or case.cells[v.index].executed)
    ]  # fmt: skip
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
