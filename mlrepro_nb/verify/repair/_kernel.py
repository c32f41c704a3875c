"""A notebook that no installed kernel can run: another kernel, and Python 3 instead of 2."""

from __future__ import annotations

import re
import warnings
from importlib import import_module
from typing import Any

from mlrepro_nb.execute import NATIVE, missing_kernel
from mlrepro_nb.model import Verification
from mlrepro_nb.verify.repair._edits import Edit, Proposal, Refusal

_LINES = re.compile(r"^([ \t]*)((?:\w[\w, ]*=[ \t]*)?[%!].*)$", re.MULTILINE)
_FUTURE = "from __future__ import print_function\n"
_KEPT = "__mlrepro_line__"
_LATER = frozenset({
    "basestring", "buffer", "dict", "except", "exec", "execfile", "exitfunc", "filter", "funcattrs",
    "getcwdu", "has_key", "imports", "imports2", "input", "intern", "itertools",
    "itertools_imports", "long", "map", "metaclass", "methodattrs", "ne", "next", "nonzero",
    "numliterals", "operator", "paren", "print", "raise", "raw_input", "reduce", "reload", "repr",
    "standarderror", "sys_exc", "throw", "tuple_params", "types", "unicode", "urllib", "xrange",
    "zip",
})  # fmt: skip


def with_kernel(nb: Any, before: Verification) -> Proposal:
    """Return the edits that have an installed kernel run a notebook whose own is missing."""
    missing = missing_kernel(nb)
    refused = tuple(
        Refusal(cause=cause.kind, cell=None, subject=cause.subject, why=cause.fix)
        for cause in before.causes
    )
    if missing is None:
        return Proposal(refused=refused)
    if missing.language == "python2":
        return _ported(nb, missing.name) or Proposal(refused=refused)
    if missing.substitute is None:
        return Proposal(refused=refused)
    what = f"It names the kernel {missing.substitute}, which is installed, not {missing.name}."
    edit = Edit(cause="kernelspec", action="kernel", source=missing.substitute, what=what)
    return Proposal(edits=(edit,))


def _ported(nb: Any, name: str) -> Proposal | None:
    """Return the cells ported by 2to3, and a kernel of Python 3; None without 2to3."""
    edits = [Edit(
        cause="python2", action="kernel", source=NATIVE,
        what=f"It names the kernel {NATIVE} of Python 3, not {name}.",
    )]  # fmt: skip
    function = any("print_function" in cell.source for cell in nb.cells)
    for index, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        source = ported(cell.source, function=function)
        if source is None:
            return None
        if source != cell.source:
            what = f"Cell {index} is ported to Python 3 by 2to3."
            edits.append(Edit(
                cause="python2", action="replace", cell=index, source=source, what=what,
            ))  # fmt: skip
    return Proposal(edits=tuple(edits))


def ported(source: str, *, function: bool = False) -> str | None:
    """Return a cell in Python 3; as it is where it cannot be read, None without 2to3.

    Parameters
    ----------
    source : str
        Of the cell.
    function : bool
        Whether ``print`` is a function in it, by another cell's ``from __future__``.
    """
    tool = _refactoring()
    if tool is None:
        return None
    lines: list[str] = []

    def keep(match: re.Match[str]) -> str:
        lines.append(match[2])
        return f"{match[1]}{_KEPT}({len(lines) - 1})"

    first, newline, rest = source.partition("\n")
    head, body = (first + newline, rest) if first.startswith("%%") else ("", source)
    plain = _LINES.sub(keep, body).rstrip("\n") + "\n"
    made = None
    for before in (_FUTURE,) if function else ("", _FUTURE):
        try:
            made = str(tool.refactor_string(before + plain, "cell")).removeprefix(before)
        except Exception:  # noqa: BLE001 - there is all kind of text in cells
            continue
        break
    if made is None:
        return source
    made = re.sub(rf"{_KEPT}\((\d+)\)", lambda m: lines[int(m[1])], made)
    return head + (made if body.endswith("\n") else made.rstrip("\n"))


def _refactoring() -> Any:
    """Return 2to3: Python's own until 3.12, else its successor where that is installed."""
    for package in ("lib2to3", "fissix"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                refactor = import_module(f"{package}.refactor")
            except ImportError:
                continue
            names = [name for name in refactor.get_fixers_from_package(f"{package}.fixes")
                     if name.rpartition(".fix_")[2] in _LATER]  # fmt: skip
            return refactor.RefactoringTool(names)
    return None
