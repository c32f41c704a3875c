"""JUnit XML: a test suite a notebook, a test case a cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mlrepro_nb.model import REPRODUCED, CellVerdict, Verification
from mlrepro_nb.verify._task import Outcome

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcomes: Sequence[Outcome], *, durations: bool = False) -> bytes:
    """Return a JUnit report.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Of the notebooks, in any order.
    durations : bool
        Whether to say how long each took, which no two runs agree on.
    """
    root = Element("testsuites", name="mlrepro verify")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for outcome in sorted(outcomes, key=lambda outcome: (outcome.notebook, outcome.target)):
        suite = SubElement(root, "testsuite", name=_clean(outcome.notebook))
        counts = _fill(suite, outcome)
        if durations and outcome.verification is not None:
            suite.set("time", f"{outcome.verification.duration:.3f}")
        for name, count in counts.items():
            suite.set(name, str(count))
            totals[name] += count
    for name, count in totals.items():
        root.set(name, str(count))
    indent(root)
    text: str = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _fill(suite: Element, outcome: Outcome) -> dict[str, int]:
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    name = _clean(outcome.notebook)
    if outcome.verification is None:
        case = SubElement(suite, "testcase", classname=name, name="notebook")
        problem = outcome.problem
        said = problem.message if problem else "It could not be verified."
        element = SubElement(case, "error", message=_clean(said))
        element.text = _clean(problem.remedy if problem else "")
        return {**counts, "tests": 1, "errors": 1}
    _fill_runs(suite, outcome.verification, counts)
    cells = outcome.verification.cells
    for cell in cells:
        counts["tests"] += 1
        case = SubElement(suite, "testcase", classname=name, name=f"cell {cell.index}")
        if cell.verdict == "inconclusive":
            counts["skipped"] += 1
            SubElement(case, "skipped", message=_clean(cell.detail or "not compared"))
        elif cell.verdict not in REPRODUCED:
            counts["failures"] += 1
            kind = cell.cause.kind if cell.cause else cell.verdict
            element = SubElement(
                case, "failure", type=kind, message=_clean(cell.detail or cell.verdict)
            )
            element.text = _clean(_explained(cell))
    if not counts["tests"]:
        SubElement(suite, "testcase", classname=name, name="notebook")
        counts["tests"] = 1
    return counts


def _fill_runs(suite: Element, found: Verification, counts: dict[str, int]) -> None:
    """Add a test case a metric of several runs, and one a run that failed."""
    name = _clean(found.notebook)
    for metric in found.metrics:
        counts["tests"] += 1
        case = SubElement(suite, "testcase", classname=name, name=_clean(f"metric {metric.metric}"))
        if metric.verdict not in REPRODUCED:
            counts["failures"] += 1
            SubElement(case, "failure", type=metric.verdict, message=_clean(metric.detail))
    for run in found.runs:
        if run.problem is not None:
            counts["tests"] += 1
            counts["failures"] += 1
            case = SubElement(suite, "testcase", classname=name, name=f"run {run.run}")
            SubElement(case, "failure", type="failed", message=_clean(run.problem))


def _explained(cell: CellVerdict) -> str:
    lines = [cell.verdict, cell.detail or ""]
    if cell.cause is not None:
        where = "" if cell.cause.cell is None else f" (cell {cell.cause.cell})"
        lines.append(f"cause: {cell.cause.kind}: {cell.cause.subject}{where}")
        lines += [cell.cause.evidence, f"fix: {cell.cause.fix}"]
    return "\n".join(line for line in lines if line)


def _clean(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
