"""Files, programs and variables that a cell asks for and does not find."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from glob import iglob
from pathlib import Path, PureWindowsPath
from shlex import quote

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.inputs import written
from mlrepro_nb.verify.attribute.order import executed_order
from mlrepro_nb.verify.attribute.sources import in_slice
from mlrepro_nb.verify.attribute.spelled import file_literals

_NO_BINARY = frozenset({"TesseractNotFoundError", "ExecutableNotFound", "PDFInfoNotInstalledError",
                        "JavaNotFoundException", "WebDriverException"})  # fmt: skip
_MISSING = re.compile(
    r"No such file|does not exist|not found|cannot open|[Uu]nable to open|Errno 2|no such table"
)


def missing_path(case: Case, index: int, ename: str, evalue: str, trace: str) -> Cause | None:
    """Name the file, or the program, that a cell did not find; None where that is not it."""
    missing = ename == "FileNotFoundError" or (
        _MISSING.search(evalue) is not None
        and ename not in ("KeyError", "ValueError", "LookupError")
    )
    denied = ename in ("PermissionError", "NotADirectoryError", "IsADirectoryError")
    if not missing and not denied:
        return None
    quoted = re.findall(r"'((?:[^'\\]|\\.)+)'|\"([^\"]+)\"|name = ([^,)]+)", evalue)
    paths = [next(part for part in group if part) for group in quoted]
    bare = re.search(r"(?:file|directory|exist|found)[^:]*:\s*(\S+)\s*$", evalue)
    if not paths and bare:
        paths = [bare[1]]
    if "no such table" in evalue:
        # SQLite makes the file that is not there, and an empty one has no tables.
        upstream = sorted(case.flow.upstream(index))
        literals = [p for cell in upstream for p in file_literals(case.flow.by_index[cell])]
        paths = [p for p in literals if not _exists(case, p)][-1:]
    elif not paths:
        paths = [p for p in file_literals(case.flow.by_index[index]) if not _exists(case, p)][-1:]
    # An exception shows the path as Python would write it.
    path = paths[0].replace("\\\\", "\\") if paths else ""
    if (ename in _NO_BINARY or "subprocess" in trace) and (
        "/" not in path and not re.search(r"\.\w{1,5}$", path)
    ):
        return cause(
            "system-binary", index, path or ename,
            f"Cell {index} starts the program {path!r}, which is not on this machine",
            f"Install {path}",
        )  # fmt: skip
    if not path:
        return None
    return missing_file(case, index, path, ename)


def missing_file(case: Case, index: int, path: str, ename: str) -> Cause:
    """Return the cause of a file that a cell asked for in vain, as its path was spelled."""
    shown = case.local(path)
    absolute = shown.startswith(("/", "~")) or bool(PureWindowsPath(shown).drive)
    inside = shown.startswith(f"{case.root}/")
    if absolute and not inside and ename != "FileExistsError":
        # Relative in the code, made absolute by a library: then it is just missing.
        written = _absolute_literal(case, index, shown)
        if written is not None:
            cell, literal = written
            found = same_name(case, shown)
            return cause(
                "absolute-path", cell, shown,
                f"Cell {cell} names {literal!r}, a path of the machine that it was written on"
                + (f"; the project has {found}" if found else ""),
                f"Use a path relative to the notebook: {found}" if found else
                "Keep the file in the project and use a path relative to the notebook",
            )  # fmt: skip
    name = _relative(case, shown)
    if below := _made_below(case, index, name):
        return below
    if case.at_commit and _exists(case, name):
        return cause(
            "untracked-file", index, name,
            f"Cell {index} reads {name}, which lies in the project and is not in the commit",
            f"Commit it (git add {quote(name)}), or track it with DVC "
            f"(dvc add {quote(name)})",
        )  # fmt: skip
    elsewhere = same_name(case, shown)
    known = _known(case, name)
    return cause(
        "missing-file", index, name,
        f"Cell {index} reads {name}, and there is no such file{known}"
        + (f"; the project has {elsewhere}" if elsewhere else ""),
        _bring_back(case, name, elsewhere),
    )  # fmt: skip


def _made_below(case: Case, index: int, name: str) -> Cause | None:
    """Say whether only a cell below makes the file, and may have run before."""
    path = (case.folder / name).resolve()
    makers = [cell for cell in sorted(case.cells) if path in written(case, cell)]
    if not makers or makers[0] <= index:
        return None
    below, counts = makers[0], ""
    ran = executed_order(case)
    if below in ran and index in ran:
        if ran.index(below) > ran.index(index):
            return None
        here, there = case.cells[index].count, case.cells[below].count
        counts = "; it ran first" + (f" ([{there}] before [{here}])" if here and there else "")
    return cause(
        "out-of-order", index, name,
        f"Cell {index} reads {name}, which only cell {below} below it makes{counts}",
        f"Move cell {below} before cell {index}",
    )  # fmt: skip


def nothing_listed(case: Case, index: int) -> Cause | None:
    """Say whether a cell rests on a listing of files of which there are none here."""
    for cell in sorted(case.flow.upstream(index)):
        for pattern in case.listed.get(cell, ()):
            if not _any_file(case, pattern):
                return missing_file(case, cell, pattern, "FileNotFoundError")
    return None


def _any_file(case: Case, pattern: str) -> bool:
    """Whether the project has a file of a pattern, or the rerun made one."""
    made = {
        name for access in (case.rerun.data if case.rerun is not None else ())
        if access.access == "write" for name in (access.path, access.repo_path) if name
    }  # fmt: skip
    if any(fnmatch(case.local(name), pattern.removeprefix("./")) for name in made):
        return True
    try:
        spelled = str(Path(pattern).expanduser())  # absolute ones cannot be asked of a folder
        found = iglob(spelled, root_dir=case.folder, recursive=True)  # noqa: PTH207
        return next(found, None) is not None
    except (OSError, ValueError, RuntimeError):
        return True


def _absolute_literal(case: Case, index: int, path: str) -> tuple[int, str] | None:
    """Return the cell that spells the beginning of an absolute path, and how."""
    best: tuple[int, str] | None = None
    upstream = case.flow.upstream(index)
    for cell in sorted(case.flow.cells, key=lambda c: (c.index not in upstream, -c.index)):
        for literal in file_literals(cell):
            if (literal.startswith(("/", "~")) or PureWindowsPath(literal).drive) and (
                path.startswith(literal.rstrip("/\\")) or literal.startswith("~")
            ) and (best is None or len(literal) > len(best[1])):  # fmt: skip
                best = cell.index, literal
        text = cell.source
        if best is None and (match := re.search(r"(?:%cd|chdir\()\s*['\"]?(/[^'\")\s]+)", text)):
            best = cell.index, match[1]
    if best is None and path in case.cells[index].source:
        best = index, path  # in a line for the shell
    return best


def _relative(case: Case, path: str) -> str:
    for base in (case.folder, case.root):
        if path.startswith(f"{base}/"):
            return path[len(str(base)) + 1 :]
    return path


def _exists(case: Case, path: str) -> bool:
    try:
        return (case.folder / path).exists()
    except (OSError, ValueError):
        return False


def same_name(case: Case, path: str) -> str | None:
    """Return the project's file of the same name, relative to the notebook."""
    name = re.split(r"[/\\]", path)[-1]
    if not name or any(c in name for c in "*?[]"):
        return None
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        for found in sorted(case.root.glob(pattern)):
            if found.is_file() and ".mlrepro" not in found.parts:
                try:
                    return found.relative_to(case.folder).as_posix()
                except ValueError:
                    up = len(case.folder.relative_to(case.root).parts)
                    return "../" * up + found.relative_to(case.root).as_posix()
    return None


def _known(case: Case, name: str) -> str:
    for access in case.record.data if case.record else ():
        if name in (access.path, access.repo_path) and access.access == "read":
            where = "was under git" if access.tracked else "was never under git"
            if access.dvc is not None:
                where = f"is tracked by DVC ({access.dvc.file})"
            return f"; the recorded run read it ({(access.digest or '')[:19]}), and it {where}"
    for suffix in (".dvc",):
        if (case.folder / f"{name}{suffix}").is_file():
            return f"; DVC tracks it ({name}{suffix})"
    return ""


def _bring_back(case: Case, name: str, elsewhere: str | None) -> str:
    if (case.folder / f"{name}.dvc").is_file():
        return f"dvc pull {quote(name + '.dvc')}"
    for access in case.record.data if case.record else ():
        if name in (access.path, access.repo_path):
            if access.dvc is not None:
                return f"dvc pull {quote(access.dvc.file)}"
            if access.tracked:
                return f"git checkout -- {quote(name)}"
    if elsewhere:
        return f"Read {elsewhere} instead, or put a copy at {name}"
    return f"Put {name} into the project, under git or DVC, or have a cell make it"


def missing_variable(case: Case, index: int, evalue: str, trace: str) -> Cause | None:
    """Name the environment variable that is not set; None where that is not it."""
    name = evalue.strip("'\"")
    asked = any(
        s.subject == name for s in in_slice(case.sources, case.flow.upstream(index), "variable")
    )
    if not asked and not re.search(r"<frozen os>|[/\\]os\.py", trace):
        return None
    return cause(
        "environment-variable", index, name,
        f"Cell {index} needs the environment variable {name}, which is not set",
        f"Set {name} before running, or give it a default in the code",
    )  # fmt: skip
