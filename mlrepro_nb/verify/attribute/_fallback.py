"""Causes that several explanations end in."""

from __future__ import annotations

import re
import sys

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import order, recorded, state
from mlrepro_nb.verify.attribute.case import Case, cause


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
    for explain in (order.out_of_order, state.moved_widget, state.made_elsewhere):
        if found := explain(case, index):
            return found
    return recorded.version_drift(case, index)


def older_python(case: Case) -> Cause | None:
    """Say whether the notebook ran with another Python, where nothing but its file is known.

    Its libraries were others then, too: what they print, draw and order changes with them, and
    nobody needs to have edited anything. It is one cause for all the cells.
    """
    if case.record is not None or case.rerun is None:
        return None
    before, after = str(case.language.get("version") or ""), case.rerun.environment.python
    saved = f"with Python {before}"
    if not re.match(r"\d+\.\d+", before):
        if not case.language.get("orig_nbformat"):
            return None
        saved, before = "in a format of 2014 or before", "of that time"
    if before.split(".")[:2] == after.split(".")[:2]:
        return None
    if before.startswith("2."):
        return cause(
            "python2", None, "python",
            f"The notebook was saved {saved}, and this is {after}: its cells run and give "
            "something else", "Port the notebook to Python 3: 2to3, modernize",
        )  # fmt: skip
    used = {
        name.partition(".")[0]
        for cell in case.flow.cells for name in (*cell.imports.values(), *cell.stars)
    } - set(sys.stdlib_module_names)  # fmt: skip
    libraries = f", and with the {', '.join(sorted(used)[:4])} of that time" if used else ""
    return cause(
        "version-drift", None, "python",
        f"The notebook was saved {saved}{libraries}, and this is {after}; nothing else that its "
        "differing cells depend on is seen to have changed",
        f"Run it with Python {'.'.join(before.split('.')[:2])} and libraries as of when it was "
        "saved, or run it from the top and save",
    )  # fmt: skip


def python2(index: int, subject: str, evidence: str) -> Cause:
    return cause(
        "python2", index, subject, evidence, "Port the notebook to Python 3: 2to3, modernize"
    )
