"""Without a record: what git, or else a file's time, says of the files that a notebook reads."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from mlrepro_nb.connect import git
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.sources import (
    file_literals,
    in_slice,
    string_literals,
    written_files,
)


def committed_since(case: Case, index: int) -> Cause | None:
    """Say whether an input is not as it was when the notebook was committed with its outputs."""
    seen = case.cells[index]
    if case.record is not None or (seen.count is None and seen.error is None):
        return None
    upstream = case.flow.upstream(index)
    lists = bool(in_slice(case.sources, upstream, "listing"))
    written = {name for cell in case.flow.cells for name in written_files(cell)}
    for cell in sorted(upstream):
        flow = case.flow.by_index.get(cell)
        literals = (*file_literals(flow), *string_literals(flow)) if flow else ()
        for literal in dict.fromkeys(literals):
            path = _input(case, literal, folders=lists)
            if path is None or literal in written:
                continue
            changed = [
                name for name in _known(case, path)
                if Path(name).suffix != ".ipynb"
            ]  # fmt: skip
            if changed:
                return cause(
                    "changed-data", cell, literal,
                    f"{literal}, which cell {cell} reads, is not as it was when git last saw the "
                    f"notebook change ({', '.join(changed[:3])})",
                    f"Put back the {literal} that it ran with (git log -- {changed[0]}), or run "
                    "the notebook again",
                )  # fmt: skip
    return None


def _input(case: Case, literal: str, *, folders: bool) -> Path | None:
    if not literal or len(literal) > 300 or "\0" in literal or "\n" in literal:
        return None
    try:
        path = case.folder / literal
        if path.is_file() or (folders and path.is_dir() and literal.strip("./")):
            return path.resolve()
    except (OSError, ValueError):
        pass
    return None


def _known(case: Case, path: Path) -> tuple[str, ...]:
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
    written = {name for cell in case.flow.cells for name in written_files(cell)}
    for cell in sorted(case.flow.upstream(index)):
        flow = case.flow.by_index[cell]
        for literal in dict.fromkeys([*file_literals(flow), *string_literals(flow)]):
            path = file_of(case, literal)
            if path is None or literal in written:
                continue
            changed = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
            if changed > ran:
                return cause(
                    "changed-data", cell, literal,
                    f"{literal}, which cell {cell} reads, was written on {changed:%Y-%m-%d %H:%M} "
                    f"UTC, after the notebook ran ({ran:%Y-%m-%d %H:%M} UTC)",
                    f"Put back the {literal} that it ran with, or run the notebook again",
                )  # fmt: skip
        for module in flow.imports.values():
            path = case.folder / f"{module.partition('.')[0]}.py"
            if path.is_file() and datetime.fromtimestamp(path.stat().st_mtime, timezone.utc) > ran:
                return cause(
                    "local-edit", cell, path.name,
                    f"{path.name}, which cell {cell} imports, was written after the notebook ran",
                    f"Put {path.name} back as it was, or run the notebook again",
                )  # fmt: skip
    return None


def _ran(case: Case) -> datetime | None:
    """Return when the last cell of the reference run started, as its front end noted."""
    found = []
    for cell in case.cells.values():
        if cell.started:
            try:
                moment = datetime.fromisoformat(cell.started.replace("Z", "+00:00"))
            except ValueError:
                continue
            found.append(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
    return max(found) if found else None


def _saved(case: Case) -> datetime:
    """Return when the notebook's own file was written, and the second that a checkout takes."""
    try:
        moment = (case.folder / case.notebook.name).stat().st_mtime
    except OSError:
        moment = 0.0
    return datetime.fromtimestamp(moment, timezone.utc) + timedelta(seconds=1)


def file_of(case: Case, literal: str) -> Path | None:
    """Return the file that a string of the notebook names, if there is one."""
    if not literal or len(literal) > 300 or "\0" in literal or "\n" in literal:
        return None
    try:
        path = case.folder / literal
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None
