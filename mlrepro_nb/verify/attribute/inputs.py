"""What cells take in from the project: the files that the rerun opened, else those they spell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from glob import iglob
from itertools import islice
from pathlib import Path, PurePath

import msgspec

from mlrepro_nb.capture.data import trees
from mlrepro_nb.model import DataAccess
from mlrepro_nb.verify.attribute.case import Case
from mlrepro_nb.verify.attribute.spelled import file_literals, string_literals

_MOST = 20_000
"""Files of a folder that are looked at."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the project that a cell takes in, or a folder of many."""

    name: str
    """As seen from the notebook."""
    path: Path
    files: tuple[Path, ...] | None
    """Itself, or of a folder which of its files; None where that is not known."""


def inputs(case: Case, cell: int, *, folders: bool = False) -> Iterator[Input]:
    """Yield what a cell reads: what the rerun saw it open, then the files that it spells.

    The rerun sees the paths that are put together, and what modules and libraries open. It
    does not see what a cell opens that it never came to, and of several cells that read a
    file it names the first. What the notebook makes itself is no input.

    Parameters
    ----------
    case : Case
        The notebook.
    cell : int
        Which cell.
    folders : bool
        Whether a folder that the cell spells is one.
    """
    made = written(case)
    seen: set[Path] = set()
    rerun = case.rerun
    for access in rerun.data if rerun is not None else ():
        path = place(case, access)
        opened = rerun is not None and access.access == "read" and cell in rerun.cells_of(access)
        if not opened or path is None or path in seen:
            continue
        # Elsewhere lie the caches of libraries, which a rerun fills as well.
        inside = path.is_relative_to(case.root)
        if inside and path.exists() and path.resolve() not in made:
            seen.add(path)
            yield Input(name=shown(case, path), path=path, files=touched(case, access))
    flow = case.flow.by_index.get(cell)
    for literal in dict.fromkeys([*file_literals(flow), *string_literals(flow)] if flow else ()):
        path = spelled(case, literal, folders=folders)
        if path is not None and path not in seen and path.resolve() not in made:
            yield Input(name=literal, path=path, files=(path,))


def listed(case: Case, cell: int) -> Iterator[tuple[str, Input]]:
    """Yield the files that a cell lists, with the pattern of each; notebooks are left out."""
    made = written(case)
    for pattern in case.listed.get(cell, ()):
        for path in _matching(case, pattern):
            if path.suffix != ".ipynb" and path.resolve() not in made:
                yield pattern, Input(name=shown(case, path), path=path, files=(path,))


def listing(case: Case, name: str) -> Iterator[int]:
    """Yield the cells that list a file, be it there or not."""
    for cell, patterns in case.listed.items():
        plain = [pattern.removeprefix("./").replace("**/", "*") for pattern in patterns]
        if any(fnmatch(name, pattern) for pattern in plain):
            yield cell


def folder_of(case: Case, pattern: str) -> Path:
    """Return the folder below which the files of a pattern lie."""
    fixed: list[str] = []
    for part in PurePath(pattern).parts[:-1]:
        if any(c in part for c in "*?["):
            break
        fixed.append(part)
    return Path(os.path.normpath(case.folder.joinpath(*fixed)))


def written(case: Case, cell: int | None = None) -> set[Path]:
    """Return the files that the notebook, or one cell, writes, by the rerun and by the source."""
    cells = case.written if cell is None else {cell} & set(case.written)
    found = {_resolved(case.folder / name) for index in cells for name in case.written[index]}
    rerun = case.rerun
    for access in rerun.data if rerun is not None else ():
        path = place(case, access) if access.access == "write" else None
        by = rerun is None or cell is None or cell in rerun.cells_of(access)
        if path is not None and access.files is None and by:
            found.add(_resolved(path))
    return found


def named(case: Case, cells: frozenset[int]) -> set[Path]:
    """Return the paths that some cells spell, be there a file or not."""
    flows = [flow for flow in case.flow.cells if flow.index in cells]
    return {_resolved(case.folder / name) for flow in flows for name in file_literals(flow)}


def place(case: Case, access: DataAccess) -> Path | None:
    """Return where what a run opened lies in the project; None for what is no file."""
    if "://" in access.path:
        return None
    if access.repo_path:
        return case.root / access.repo_path
    path = Path(case.local(access.path))
    return path if path.is_absolute() else case.folder / path


def touched(case: Case, access: DataAccess) -> tuple[Path, ...] | None:
    """Return the files that an entry of a record stands for; None for a folder that is unlisted."""
    path = place(case, access)
    if path is None or access.files is None:
        return (path,) if path is not None else ()
    if access.tree is None or case.store is None:
        return None
    names = trees.stored_listing(case.store, access.tree)
    return tuple(path / name for name in names) if names is not None else None


def shown(case: Case, path: Path) -> str:
    """Return a path as one would write it in the notebook."""
    if path.is_relative_to(case.root):
        return Path(os.path.relpath(path, case.folder)).as_posix()
    return str(path)


def spelled(case: Case, literal: str, *, folders: bool = False) -> Path | None:
    """Return the file that a string of the notebook names, if there is one."""
    if not literal or len(literal) > 300 or "\0" in literal or "\n" in literal:
        return None
    try:
        path = case.folder / literal
        if path.is_file() or (folders and path.is_dir() and literal.strip("./")):
            return path
    except (OSError, ValueError):
        pass
    return None


def _matching(case: Case, pattern: str) -> Iterator[Path]:
    try:
        spelled = str(Path(pattern).expanduser())  # absolute ones cannot be asked of a folder
        found = iglob(spelled, root_dir=case.folder, recursive=True)  # noqa: PTH207
        yield from filter(Path.is_file, (case.folder / name for name in islice(found, _MOST)))
    except (OSError, ValueError, RuntimeError):
        return


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path
