"""One cause for each cell that was not reproduced, and each cause once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import recorded
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.differences import (
    cause_of_difference,
    drift_may_explain,
    is_explained,
    may_be_nondeterministic,
)
from mlrepro_nb.verify.attribute.exceptions import cause_of_error
from mlrepro_nb.verify.attribute.inputs import named, written


def needs_second_run(case: Case) -> bool:
    """Whether another run of the same would tell a difference's cause from others."""
    differing = [cell for cell in case.cells.values() if cell.differs and cell.error is None]
    return any(
        may_be_nondeterministic(case, cell.index) or not is_explained(case, cell.index)
        for cell in differing
    )


def drift_suspected(case: Case, index: int) -> bool:
    """Whether a rerun with the recorded versions would tell why a cell failed or differs."""
    cell = case.cells[index]
    if case.record is None or case.record.environment.lock is None or case.store is None:
        return False
    if cell.error is not None:
        if cell.error["ename"] in ("DeadKernelError", "TimeoutError"):
            return False
        return cause_of_error(case, index, cell.error).kind == "version-drift"
    return drift_may_explain(case, index)


def without_effect(case: Case) -> list[Cause]:
    """Return what the record says has changed, though every output agrees."""
    found = list(recorded.edited_cells(case).values())
    # What a server says anew each time (a page's date) is nobody's change.
    changed = [changed for changed, _ in recorded.changed_files(case)]
    found += [one for one in changed if one.kind != "remote-data"]
    found += recorded.imported_drift(case)
    return [
        cause(c.kind, c.cell, c.subject, f"{c.evidence} Every output agrees nevertheless", c.fix)
        for c in found
    ]


def attribute(case: Case) -> dict[int, Cause | None]:
    """Return the cause of each cell that failed or differs.

    None stands for a difference that is noise after all: the clean runs differ
    there too, and all that the code takes in is how long it took.
    """
    found: dict[int, Cause | None] = {}
    broken: dict[int, Cause] = {}
    for index in sorted(case.cells):
        cell = case.cells[index]
        if cell.error is None and not cell.differs:
            continue
        # What rests on a cell that failed fails, or differs, because of it.
        rests = case.flow.upstream(index) | _feeding(case, index, broken)
        inherited = next((broken[up] for up in sorted(rests - {index}) if up in broken), None)
        if inherited is not None:
            found[index] = inherited
        elif cell.error is not None and index in case.confirmed:
            found[index] = case.confirmed[index][0]
        elif cell.error is not None:
            found[index] = _built_anew(case, cause_of_error(case, index, cell.error))
        else:
            found[index] = cause_of_difference(case, index)
        if cell.error is not None and (reason := found[index]) is not None:
            broken[index] = reason
    return found


def _built_anew(case: Case, reason: Cause) -> Cause:
    """Return the cause of an error with what helps in an image: what it lacks is built in."""
    if not case.in_image or reason.kind not in ("undeclared-dependency", "missing-file"):
        return reason
    # The setting is relative to the project, what a cell reads to the notebook.
    path = Path(os.path.normpath(case.folder / reason.subject))
    inside = path.relative_to(case.root) if path.is_relative_to(case.root) else "PATH"
    file = f"`--set files={inside}`"
    what = (
        f"{file}, or mount it"
        if reason.kind == "missing-file"
        else f"`--set include={reason.subject}`, or, if it is a module of the project's, "
        "`--set files=PATH`"
    )
    fix = f"The image lacks it: build it with {what}"
    return cause(reason.kind, reason.cell, reason.subject, reason.evidence, fix)


def _feeding(case: Case, index: int, failed: Iterable[int]) -> set[int]:
    """Return the cells above, of those that failed, that were to write a file that a cell reads."""
    above = [cell for cell in failed if cell < index]
    if not above:
        return set()
    read = named(case, case.flow.upstream(index)) - written(case, index)
    return {cell for cell in above if written(case, cell) & read}
