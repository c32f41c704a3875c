"""Without a record: what git, or else files' times, say of what a notebook takes in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePath
from shlex import quote

from mlrepro_nb.connect import git
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Cause, moment
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.inputs import folder_of, inputs, listed, shown
from mlrepro_nb.verify.attribute.sources import in_slice


def committed_since(case: Case, index: int) -> Cause | None:
    """Say whether an input is not as it was when the notebook was committed with its outputs."""
    seen = case.cells[index]
    if case.record is not None or (seen.count is None and seen.error is None):
        return None
    upstream = case.flow.upstream(index)
    lists = bool(in_slice(case.sources, upstream, "listing"))
    for cell in sorted(upstream):
        for name, changed in _committed(case, cell, folders=lists):
            return cause(
                "changed-data", cell, name,
                f"{name}, which cell {cell} reads, is not as it was when git last saw the "
                f"notebook change ({', '.join(changed[:3])})",
                f"Put back the {name} that it ran with (git log -- {quote(changed[0])}), or run "
                "the notebook again",
            )  # fmt: skip
        for module in case.imports.get(cell, ()):
            path = case.own_modules[module]
            # A project's code changes all the time: of what raised, only what it went through.
            raised = seen.error is not None and path.name not in str(seen.error["traceback"])
            if not raised and _known(case, path):
                return cause(
                    "local-edit", cell, shown(case, path),
                    f"{shown(case, path)}, which cell {cell} imports, is not as it was when git "
                    "last saw the notebook change",
                    f"Put back the {shown(case, path)} that it ran with (git log -- "
                    f"{quote(path.name)}), or run the notebook again",
                )  # fmt: skip
    return None


def _committed(case: Case, cell: int, *, folders: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield what a cell reads and git saw change, with the files that changed."""
    for given in inputs(case, cell, folders=folders):
        changed = [name for name in _known(case, given.path) if Path(name).suffix != ".ipynb"]
        if changed:
            yield given.name, changed
    for pattern in case.listed.get(cell, ()):
        own = PurePath(pattern).name
        changed = [
            name for name in _known(case, folder_of(case, pattern))
            if PurePath(name).match(own) and Path(name).suffix != ".ipynb"
        ]  # fmt: skip
        if changed:
            yield pattern, changed


def _known(case: Case, path: Path) -> tuple[str, ...]:
    path = path.resolve()
    if path not in case.committed:
        case.committed[path] = _changed(case.folder / case.notebook.name, path)
    return case.committed[path]


def _changed(notebook: Path, path: Path) -> tuple[str, ...]:
    """Return what git saw change at a path since it last saw the notebook change."""
    root = git.root(notebook)
    if root is None:
        return ()
    root = root.resolve()
    try:
        own = notebook.resolve().relative_to(root).as_posix()
        name = path.relative_to(root).as_posix()
        commit = git.last_commit(root, own)
        # Outputs that nobody has committed are younger than any commit.
        if commit is None or git.changed_since(root, commit, [own]):
            return ()
        return tuple(git.changed_since(root, commit, [name]))
    except (ToolError, ValueError):
        return ()


def written_since(case: Case, index: int) -> Cause | None:
    """Without a record: an input that was written after the notebook had run."""
    ran = _ran(case)
    if case.record is not None or ran is None:
        return None
    # A checkout or a copy writes all files at once: then their times tell nothing.
    ran = max(ran, _saved(case))
    for cell in sorted(case.flow.upstream(index)):
        for name, path in _taken_in(case, cell):
            if (moment := _moment(path)) > ran:
                return cause(
                    "changed-data", cell, name,
                    f"{name}, which cell {cell} reads, was written on {moment:%Y-%m-%d %H:%M} "
                    f"UTC, after the notebook ran ({ran:%Y-%m-%d %H:%M} UTC)",
                    f"Put back the {name} that it ran with, or run the notebook again",
                )  # fmt: skip
        for module in case.imports.get(cell, ()):
            path = case.own_modules[module]
            if _moment(path) > ran:
                name = shown(case, path)
                return cause(
                    "local-edit", cell, name,
                    f"{name}, which cell {cell} imports, was written after the notebook ran",
                    f"Put {name} back as it was, or run the notebook again",
                )  # fmt: skip
        for pattern, given in listed(case, cell):
            if (moment := _moment(given.path)) > ran:
                return cause(
                    "changed-data", cell, given.name,
                    f"Cell {cell} lists {pattern}, and {given.name} was written on "
                    f"{moment:%Y-%m-%d %H:%M} UTC, after the notebook ran ({ran:%Y-%m-%d %H:%M} "
                    "UTC)",
                    f"Keep {given.name} elsewhere or put it back as it was, or run the notebook "
                    "again",
                )  # fmt: skip
    return None


def _taken_in(case: Case, cell: int) -> Iterator[tuple[str, Path]]:
    """Yield the files that a cell reads, those of a folder one by one."""
    for given in inputs(case, cell):
        for path in given.files or ():
            yield given.name if path == given.path else shown(case, path), path


def _moment(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    except OSError:
        return datetime.fromtimestamp(0, timezone.utc)


def _ran(case: Case) -> datetime | None:
    """Return when the last cell of the reference run started, as its front end noted."""
    found = []
    for cell in case.cells.values():
        if cell.started:
            try:
                found.append(moment(cell.started))
            except ValueError:
                continue
    return max(found) if found else None


def _saved(case: Case) -> datetime:
    """Return when the notebook's own file was written, and the second that a checkout takes."""
    return _moment(case.folder / case.notebook.name) + timedelta(seconds=1)
