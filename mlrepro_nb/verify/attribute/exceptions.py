"""Why a cell raised that did not raise before."""

from __future__ import annotations

import re

from mlrepro_nb.dataflow import read_cell
from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import environment, interfaces, paths, recorded, state
from mlrepro_nb.verify.attribute._fallback import (
    exception,
    older_python,
    python2,
    recorded_reason,
)
from mlrepro_nb.verify.attribute._names import PYTHON2_NAMES
from mlrepro_nb.verify.attribute.case import Case, Output, cause
from mlrepro_nb.verify.attribute.sources import in_slice

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NETWORK = re.compile(
    r"urlopen error|Max retries exceeded|HTTP Error|Name or service not known|ConnectTimeout"
    r"|Temporary failure in name resolution|Connection refused|Network is unreachable"
    r"|getaddrinfo failed|status code [45]\d\d"
)
_NETWORK_TYPES = frozenset(
    {"URLError", "HTTPError", "ConnectionError", "ConnectTimeout", "ReadTimeout", "SSLError",
     "gaierror", "ConnectionRefusedError", "RemoteDisconnected", "NewConnectionError",
     "LocalEntryNotFoundError", "OfflineModeIsEnabled", "ProxyError"}
)  # fmt: skip
_PYTHON2_SYNTAX = re.compile(
    r"Missing parentheses in call to '(?:print|exec)'|multiple exception types must be"
    r"|leading zeros in decimal integer|invalid (?:hexadecimal|decimal) literal|0777"
)
_PYTHON2_SOURCE = re.compile(
    r"^\s*print\s+[^(=\s]|^\s*except\s+[\w.]+\s*,\s*\w+\s*:|<>|^\s*raise\s+\w+\s*,\s*['\"]"
    r"|^\s*exec\s+['\"]|\bur['\"]|\b0[0-7]+\b(?!\.)|`\w+`", re.MULTILINE
)  # fmt: skip


def cause_of_error(case: Case, index: int, error: Output) -> Cause:
    """Name why a cell raised; the last resort is `exception` itself."""
    ename, evalue = str(error["ename"]), _ANSI.sub("", str(error["evalue"]))
    trace = _ANSI.sub("", "\n".join(error.get("traceback") or ()))
    if ename in ("StdinNotImplementedError", "EOFError") and (
        ename != "EOFError" or re.search(r"\binput\(", case.cells[index].source)
    ):
        return cause(
            "interactive-input", index, "input()",
            f"Cell {index} asks for input, and nobody is there to give it",
            "Take the value from a cell tagged `parameters`",
        )  # fmt: skip
    if ename in ("SyntaxError", "IndentationError", "TabError"):
        return _syntax(case, index, ename, evalue)
    if ename in ("NameError", "KeyError") and (numbered := state.taken_from_history(case, index)):
        return numbered
    if ename in ("NameError", "UnboundLocalError"):
        return _name(case, index, ename, evalue)
    if ename in ("ModuleNotFoundError", "ImportError"):
        return interfaces.broken_import(case, index, ename, evalue, trace)
    if ename == "KeyError" and (variable := paths.missing_variable(case, index, evalue, trace)):
        return variable
    remote = in_slice(case.sources, case.flow.upstream(index), "remote")
    # A library may say in its own words what the network refused it.
    if ename in _NETWORK_TYPES or _NETWORK.search(evalue) or (remote and _refused(trace)):
        subject = remote[-1].subject if remote else evalue[:80]
        return cause(
            "remote-data", index, subject,
            f"Cell {index} needs {subject} from the network and got {ename}: {evalue[:160]}",
            "Keep a copy of the data in the project (DVC, git) and read that",
        )  # fmt: skip
    if found := paths.missing_path(case, index, ename, evalue, trace):
        return found
    if found := interfaces.changed_interface(case, index, ename, evalue, trace):
        return found
    return (
        recorded_reason(case, index)
        or _outdated(case, index, ename, evalue, trace)
        or exception(index, ename, evalue, trace)
    )


def _refused(trace: str) -> bool:
    """Whether a failing connection is among the exceptions that a traceback chains."""
    raised = (line.split(maxsplit=1)[:1] for line in trace.splitlines() if line[:1].isalpha())
    return any(first and first[0].rstrip(":") in _NETWORK_TYPES for first in raised)


def _outdated(case: Case, index: int, ename: str, evalue: str, trace: str) -> Cause | None:
    """Say whether a cell ran with another Python, and raises in a library that came with this."""
    drift = older_python(case)
    cell = case.cells[index]
    if drift is None or cell.count is None or ename in ("DeadKernelError", "TimeoutError"):
        return None
    if drift.kind == "python2":
        return python2(
            index, ename, f"{drift.evidence} Cell {index} raised {ename}: {evalue[:160]}"
        )
    inside = re.findall(r"(?:site|dist)-packages/([A-Za-z]\w*)", trace)
    inside = [name for name in inside if name not in ("IPython", "ipykernel", "mlrepro_nb")]
    if not inside:
        return None
    return cause(
        "api-change", index, inside[-1],
        f"Cell {index} ran when the notebook was saved, and {inside[-1]} as installed here raised "
        f"{ename}: {evalue[:200]}. {drift.evidence}",
        f"Port cell {index} to the {inside[-1]} installed here, or install the one of that time",
    )  # fmt: skip


# --- names


def _name(case: Case, index: int, ename: str, evalue: str) -> Cause:
    match = re.search(r"'(\w+)'", evalue)
    name = match[1] if match else ""
    definers = [cell for cell in case.flow.definers(name) if cell != index]
    later = [cell for cell in definers if cell > index]
    failed = [c for c in definers if c < index and case.cells[c].error is not None]
    if failed:
        root = case.cells[failed[-1]].error
        assert root is not None
        return cause_of_error(case, failed[-1], root)
    if later and not [c for c in definers if c < index]:
        here, there = case.cells[index].count, case.cells[later[0]].count
        counts = (
            f"; execution counts say that it ran first ([{there}] before [{here}])"
            if here and there and there < here
            else ""
        )
        return cause(
            "out-of-order", index, name,
            f"Cell {index} uses {name!r}, which only cell {later[0]} below it defines{counts}",
            f"Move cell {later[0]} before cell {index}",
        )  # fmt: skip
    if not definers or not name:
        if made := state.name_made_elsewhere(case, index, name):
            return made
        for execution in state.gone(case):
            if name in execution.defines or name in read_cell(-1, execution.source).defines:
                return state.deletion(index, name, execution)
        if started := environment.startup_name(case, index, name):
            return started
        edited = recorded.edited_cells(case)
        for cell, found in edited.items():
            ran = [e for e in case.record.code.cells if case.index_of.get(e.order) == cell] if (
                case.record) else []  # fmt: skip
            if ran and (name in ran[-1].source or cell == index):
                return found
    if name in PYTHON2_NAMES and not definers:
        return python2(index, name, f"Cell {index} uses {name!r}, which only Python 2 has")
    if case.flow.provided(name) or ename == "UnboundLocalError":
        return exception(index, ename, evalue, "")
    deleting = [c.index for c in case.flow.cells if name in c.deletes and c.index < index]
    if deleting:
        return cause(
            "repeated-execution", deleting[-1], name,
            f"Cell {index} uses {name!r}, which cell {deleting[-1]} deletes",
            f"Define {name!r} again between them",
        )  # fmt: skip
    return cause(
        "deleted-definition", index, name,
        f"Cell {index} uses {name!r}, and no cell of the notebook defines it",
        f"Define {name!r} in a cell above cell {index}; a cell that did so seems to have been "
        "deleted",
    )  # fmt: skip


def _syntax(case: Case, index: int, ename: str, evalue: str) -> Cause:
    if _PYTHON2_SYNTAX.search(evalue) or (_PYTHON2_SOURCE.search(case.cells[index].source)):
        return python2(index, "syntax", f"Cell {index} is Python 2 ({evalue[:120]})")
    return recorded.edited_cells(case).get(index) or exception(index, ename, evalue, "")
