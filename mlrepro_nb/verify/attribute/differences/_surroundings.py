"""What surrounds the notebook is another: data, modules, versions, variables, the network."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import environment, recorded
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.differences._shown import hints, shown
from mlrepro_nb.verify.attribute.sources import (
    file_literals,
    in_slice,
    string_literals,
    written_files,
)


def local_edit(case: Case, index: int) -> Cause | None:
    edits = {**recorded.local_edits(case), **environment.edited_packages(case)}
    for cell in case.flow.upstream(index):
        flow = case.flow.by_index.get(cell)
        for name in flow.imports.values() if flow else ():
            for module, found in edits.items():
                if name == module or name.startswith(f"{module}.") or module.startswith(f"{name}."):
                    return found
    return None


def version_shown(case: Case, index: int) -> Cause | None:
    """The cell prints a version, and that is what differs."""
    cell = case.cells[index]
    found = re.search(r"\b(\w+)\.(?:__)?version(?:__|_info)?\b", cell.source)
    if not found or cell.difference is None:
        return None
    if not re.search(r"\d+\.\d+", cell.difference.before + cell.difference.after):
        return None
    module = case.flow.resolve(found[1])
    name = "python" if module in ("sys", "platform") else module
    return cause(
        "version-drift", index, name,
        f"Cell {index} shows the version of {name}{shown(cell)}",
        f"Install the {name} that the notebook ran with",
    )  # fmt: skip


def variable(case: Case, index: int) -> Cause | None:
    """A variable that is not set, or that the record knows with another value."""
    import os

    if "lost" in hints(case, index) and case.cells[index].outputs == []:
        return None
    for source in in_slice(case.sources, case.flow.upstream(index), "variable"):
        name = source.subject
        before = case.record.environment.variables.get(name) if case.record else None
        now = os.environ.get(name)
        if now is None or (before is not None and before != now):
            was = f" (it was {before!r})" if before is not None else ""
            return cause(
                "environment-variable", source.cell, name,
                f"Cell {source.cell} reads the environment variable {name}, which is "
                f"{'not set' if now is None else 'another'} here{was}",
                f"Set {name} as it was, or make it a parameter",
            )  # fmt: skip
    return None


def remote(case: Case, index: int) -> Cause | None:
    sources = in_slice(case.sources, case.flow.upstream(index), "remote")
    if not sources:
        return None
    source = sources[-1]
    return cause(
        "remote-data", source.cell, source.subject,
        f"Cell {source.cell} takes {source.subject} from the network, which may serve something "
        "else by now",
        "Keep a copy of the data in the project (DVC, git) and read that",
    )  # fmt: skip


def changed_data(case: Case, index: int) -> Cause | None:
    upstream = case.flow.upstream(index)
    rest = None
    for found, cell in recorded.changed_files(case):
        if cell in upstream:
            return found
        if cell is None:
            rest = rest or found
    return rest


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
    if not literal or len(literal) > 300 or "\0" in literal or "\n" in literal:
        return None
    try:
        path = case.folder / literal
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def self_overwrite(case: Case, index: int) -> Cause | None:
    """An upstream file is read first and written later: by the record, else by the source."""
    for found, cell in recorded.changed_files(case):
        if found.kind == "self-overwrite" and cell in case.flow.upstream(index):
            return found
    read: dict[str, int] = {}
    for flow in case.flow.cells:
        writes = written_files(flow)
        for name in writes:
            if name in read and read[name] in case.flow.upstream(index):
                return cause(
                    "self-overwrite", flow.index, name,
                    f"Cell {read[name]} reads {name} and cell {flow.index} overwrites it, so that "
                    "a second run starts from another file",
                    f"Write to another file than {name}",
                )  # fmt: skip
        for name in file_literals(flow):
            if name not in writes and file_of(case, name):
                read.setdefault(name, flow.index)
    return None
