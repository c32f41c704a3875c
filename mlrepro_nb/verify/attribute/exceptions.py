"""Why a cell raised that did not raise before."""

from __future__ import annotations

import re

from mlrepro_nb.dataflow import read_cell
from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import (
    environment,
    interfaces,
    members,
    messages,
    order,
    paths,
    recorded,
    state,
)
from mlrepro_nb.verify.attribute._fallback import exception, python2, recorded_reason
from mlrepro_nb.verify.attribute._names import PYTHON2_NAMES
from mlrepro_nb.verify.attribute._older import older_python
from mlrepro_nb.verify.attribute.case import Case, Output, cause
from mlrepro_nb.verify.attribute.exports import import_of
from mlrepro_nb.verify.attribute.sources import in_slice
from mlrepro_nb.verify.attribute.versioned import committed_since, written_since

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
_UNDEFINED = re.compile(r"\b(?:name|variable) '\w+' is not defined")
_NO_DEVICE = re.compile(
    r"No CUDA GPUs are available|Found no NVIDIA driver|not compiled with CUDA|no kernel image"
    r"|CUDA driver version is insufficient|No GPU|no supported GPU|MPS backend is not available"
    r"|no CUDA-capable device|Unknown backend:? '?(?:gpu|cuda|tpu)|GPU device .{0,20}not found",
    re.I,
)
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
    # Libraries that evaluate expressions have a class of their own for it.
    if ename in ("NameError", "UnboundLocalError") or _UNDEFINED.search(evalue):
        return _name(case, index, ename, evalue)
    if found := interfaces.other_numpy(case, index, evalue, trace):
        return found
    if ename in ("ModuleNotFoundError", "ImportError"):
        return interfaces.broken_import(case, index, ename, evalue, trace)
    if ename == "KeyError" and (variable := paths.missing_variable(case, index, evalue, trace)):
        return variable
    if _NO_DEVICE.search(evalue):
        return environment.other_machine(case, index, f"raised {ename}: {evalue[:160]}")
    if ename == "CalledProcessError" and (said := cause_of_message(case, index)):
        return said
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
    if found := members.missing_member(case, index, ename, evalue):
        return found
    if found := members.never_prepared(case, index, evalue, trace):
        return found
    if found := interfaces.changed_interface(case, index, ename, evalue, trace):
        return found
    return (
        recorded_reason(case, index)
        or committed_since(case, index)
        or written_since(case, index)
        or paths.nothing_listed(case, index)
        or interfaces.refused_value(case, index, evalue, trace)
        or _outdated(case, index, ename, evalue, trace)
        or exception(index, ename, evalue, trace)
    )


def cause_of_message(case: Case, index: int) -> Cause | None:
    """Name what a cell complains of on its streams, where it did not before."""
    magic = messages.unknown_magic(case, index)
    if magic is not None:
        place = messages.loader(case, magic, index)
        error = case.cells[place].error if place is not None else None
        if place is None or error is None:
            return messages.of_magic(index, magic)
        sure = case.confirmed.get(place)
        return sure[0] if sure else cause_of_error(case, place, error)
    if found := messages.of_shell(case, index):
        return found
    inner = messages.script_error(case, index)
    return cause_of_error(case, index, inner) if inner is not None else None


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
    inside = interfaces.frames(trace)
    library = inside[-1] if inside else _compiled(case, index, evalue, trace)
    if library is None:
        return None
    where = f"{library} as installed here" if inside else f"with {library} as installed here it"
    return cause(
        "api-change", index, library,
        f"Cell {index} ran when the notebook was saved, and {where} raised "
        f"{ename}: {evalue[:200]}. {drift.evidence}",
        f"Port cell {index} to the {library} installed here, or install the one of that time",
    )  # fmt: skip


_OF_NUMPY = re.compile(r"\b(?:ufunc|ndarray|numpy|dimensional arrays?|dtype|array)\b")


def _compiled(case: Case, index: int, evalue: str, trace: str) -> str | None:
    """Return the library whose compiled code raised, which leaves no frame in a traceback.

    Only of cells that gave what they gave without an error, and rest on nothing that is another
    than it was: then it is not the notebook's code that has changed.
    """
    cell = case.cells[index]
    upstream = case.flow.upstream(index)
    if any(o.get("output_type") == "error" for o in cell.reference) or any(
        case.cells[up].error is not None or case.cells[up].repeats is False
        for up in upstream - {index} if up in case.cells
    ):  # fmt: skip
        return None
    used = interfaces.libraries(case, upstream)
    if "numpy" in used and _OF_NUMPY.search(evalue):
        return "numpy"
    # The names in the lines that the traceback points at, the deepest first.
    for line in reversed(re.findall(r"^-+> ?\d+ (.+)$", trace, re.MULTILINE)):
        for word in re.findall(r"[A-Za-z_]\w*", line):
            root = case.flow.resolve(word).partition(".")[0]
            if root in used:
                return root
    return used[0] if len(used) == 1 else None


# --- names


def _name(case: Case, index: int, ename: str, evalue: str) -> Cause:
    match = re.search(r"'(\w+)' is not|'(\w+)'", evalue)
    name = (match[1] or match[2]) if match else ""
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
    return _made_by_none(case, index, name)


def _made_by_none(case: Case, index: int, name: str) -> Cause:
    """Return the cause of a name that no cell defines, and nothing that is known did."""
    line = import_of(case, name)
    told = f"Cell {index} uses {name!r}, and no cell of the notebook defines it"
    fix = f"Define {name!r} in a cell above cell {index}" + (f" ({line})" if line else "")
    if case.record is not None or case.cells[index].count is None or order.gaps(case):
        return cause(
            "deleted-definition", index, name, told,
            f"{fix}; a cell that did so seems to have been deleted",
        )  # fmt: skip
    told += "; by the execution counts no cell that ran is missing"
    if line is not None and line.startswith("import "):
        return cause(
            "startup-state", index, name,
            f"{told}: the kernel had it before the first cell ran (a startup file, a profile), or "
            "the import was edited out", fix,
        )  # fmt: skip
    return cause(
        "deleted-definition", index, name, f"{told}: it was edited out of one that is there", fix
    )


def _syntax(case: Case, index: int, ename: str, evalue: str) -> Cause:
    if _PYTHON2_SYNTAX.search(evalue) or (_PYTHON2_SOURCE.search(case.cells[index].source)):
        return python2(index, "syntax", f"Cell {index} is Python 2 ({evalue[:120]})")
    if edited := recorded.edited_cells(case).get(index):
        return edited
    cell = case.cells[index]
    ran = [o for o in cell.reference if o.get("output_type") != "error"] == list(cell.reference)
    # `async` and `await` were names until Python 3.7.
    if cell.reference and ran and not re.search(r"\b(?:async|await)\b", cell.source):
        return cause(
            "edited-after-run", index, f"cell {index}",
            f"Cell {index} has a stored output, and its code as it stands cannot be run at all "
            f"({ename}: {evalue[:160]}): it was edited since",
            f"Correct cell {index}, run it again and save",
        )  # fmt: skip
    return exception(index, ename, evalue, "")
