"""Causes that several explanations end in."""

from __future__ import annotations

import re

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import order, recorded, state
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.other_files import other_files


def exception(index: int, ename: str, evalue: str, trace: str) -> Cause:
    line = _raising_line(trace)
    where = f" at `{line}`" if line else ""
    fixes = {
        "DeadKernelError": "See whether it runs out of memory or calls native code that crashes",
        "TimeoutError": "Give it more time (--timeout) or less work",
    }
    return cause(
        "exception", index, ename, f"Cell {index} raised {ename}{where}: {evalue[:240]}",
        fixes.get(ename, f"Correct cell {index}; its reference run did not raise this"),
    )  # fmt: skip


def _raising_line(trace: str) -> str:
    found = re.findall(r"^-+> ?\d+ (.+)$", trace, re.MULTILINE)
    return found[0].strip()[:120] if found else ""


def recorded_reason(case: Case, index: int) -> Cause | None:
    """Return what the record says has changed upstream of a cell that raised."""
    upstream = case.flow.upstream(index)
    for cell, edited in sorted(recorded.edited_cells(case).items()):
        if cell in upstream:
            return edited
    for changed, reader in recorded.changed_files(case):
        if reader in upstream:
            return changed
    for explain in (other_files, order.out_of_order, state.moved_widget, state.made_elsewhere):
        if found := explain(case, index):
            return found
    return recorded.version_drift(case, index)


def python2(index: int, subject: str, evidence: str) -> Cause:
    return cause(
        "python2", index, subject, evidence, "Port the notebook to Python 3: 2to3, modernize"
    )
