"""What a cell says instead of raising: a shell and its programs, and IPython of its magics.

A line that begins with ``!`` never raises, nor does a magic that IPython does not know: what went
wrong is only to be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import paths
from mlrepro_nb.verify.attribute._names import EXTENSIONS
from mlrepro_nb.verify.attribute.case import Case, Output, Seen, cause
from mlrepro_nb.verify.compare import printed

_MAGIC = re.compile(r"UsageError: (?:Line|Cell) magic (?:function )?`(%{1,2}\w+)` not found")
_LOADED = re.compile(r"^\s*%(?:re)?load_ext\s+([\w.]+)", re.MULTILINE)
_SHELL = re.compile(
    r"^\s*(?:[\w, .\[\]]+=\s*)?!|^\s*%{1,2}(?:bash|sh|script|sx|system|!)"
    r"|\bos\.(?:system|popen)\(|\bsubprocess\b|\bget_ipython\(\)\.(?:system|getoutput)",
    re.MULTILINE,
)
_ABSENT = re.compile(
    r"(?:^|[\[\s'\"])[\w./+-]+: (?:line \d+: )?"
    r"(?:cannot (?:open|access|stat|find|remove|read)|can't (?:open|read|cd to|find)|failed to"
    r" open)?"
    r"(?: file| directory| input)?:? ?['‘\"`]?(?P<path>[^\s:'’\"`‘]+)['’\"`]?"
    r"(?: for reading)?: (?:\[Errno 2\] )?No such file or directory",
    re.MULTILINE,
)
_PROGRAM = re.compile(
    r"^(?:[\w./-]*sh: )?(?:line )?\d*:? ?(?P<name>[\w.+-]+): (?:command )?not found\s*$",
    re.MULTILINE,
)
_UNREACHED = re.compile(
    r"[Cc]ould not resolve host|unable to resolve host|Temporary failure in name resolution"
    r"|Name or service not known|Network is unreachable|Failed to establish a new connection"
)
_TRACEBACK = re.compile(
    r"Traceback \(most recent call last\):\n(?P<frames>(?:[ \t].*\n)+)"
    r"(?P<name>[\w.]+): ?(?P<value>.*)"
)


def unknown_magic(case: Case, index: int) -> str | None:
    """Return the magic of a cell that IPython does not know, and knew in the reference."""
    cell = case.cells[index]
    found = _MAGIC.search(_said(cell.outputs))
    return found[1] if found and found[0] not in _said(cell.reference) else None


def loader(case: Case, magic: str, index: int) -> int | None:
    """Return the cell that was to load a magic, and failed."""
    failed = [
        (_LOADED.findall(cell.source), cell.index)
        for cell in case.cells.values()
        if cell.index <= index and cell.error is not None
    ]
    failed = [(names, place) for names, place in failed if names]
    name = magic.lstrip("%").lower()
    same = [place for names, place in failed if any(name in n.lower() for n in names)]
    places = same or [place for _, place in failed]
    return places[-1] if places else None


def of_magic(index: int, magic: str) -> Cause:
    """Return the cause where nothing loads a magic."""
    known = EXTENSIONS.get(magic.lstrip("%"))
    first = f"%load_ext {known}" if known else "the %load_ext that brings it"
    return cause(
        "deleted-definition", index, magic,
        f"Cell {index} uses the magic {magic}, and no cell of the notebook loads it",
        f"Put {first} into a cell above cell {index}",
    )  # fmt: skip


def of_shell(case: Case, index: int) -> Cause | None:
    """Name the file, the program or the host that a shell's program did not find."""
    cell = case.cells[index]
    text = _fresh(cell)
    if not text or not any(
        _SHELL.search(case.cells[up].source) for up in case.flow.upstream(index)
    ):
        return None
    if found := _ABSENT.search(text):
        return paths.missing_file(case, index, found["path"], "FileNotFoundError")
    if found := _PROGRAM.search(text):
        name = found["name"]
        return cause(
            "system-binary", index, name,
            f"Cell {index} starts the program {name!r}, which is not on this machine",
            f"Install {name}",
        )  # fmt: skip
    if found := _UNREACHED.search(text):
        line = next(line for line in text.splitlines() if found[0] in line)
        return cause(
            "remote-data", index, f"cell {index}",
            f"A program that cell {index} starts needs the network: {line.strip()[:160]}",
            "Keep a copy of what it fetches in the project (DVC, git)",
        )  # fmt: skip
    return None


def script_error(case: Case, index: int) -> Output | None:
    """Return the exception that ended a Python script which a cell ran in a shell."""
    cell = case.cells[index]
    if not any(_SHELL.search(case.cells[up].source) for up in case.flow.upstream(index)):
        return None
    found = list(_TRACEBACK.finditer(_fresh(cell)))
    if not found:
        return None
    return {
        "output_type": "error", "ename": found[-1]["name"].rpartition(".")[2],
        "evalue": found[-1]["value"].strip(), "traceback": [found[-1][0]],
    }  # fmt: skip


def _fresh(cell: Seen) -> str:
    """Return the lines that a cell printed now, and not in the reference."""
    before = set(_lines(cell.reference))
    return "\n".join(line for line in _lines(cell.outputs) if line not in before)


def _lines(outputs: Sequence[Output]) -> Iterator[str]:
    yield from (line.rstrip() for line in _said(outputs).splitlines())


def _said(outputs: Sequence[Output]) -> str:
    return "\n".join(printed(outputs, name) for name in ("stdout", "stderr"))
