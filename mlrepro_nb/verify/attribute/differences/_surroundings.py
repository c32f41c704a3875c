"""What surrounds the notebook is another: data, modules, versions, variables, the network."""

from __future__ import annotations

import re

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import environment, recorded
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.differences._shown import hints, shown
from mlrepro_nb.verify.attribute.inputs import spelled
from mlrepro_nb.verify.attribute.sources import in_slice
from mlrepro_nb.verify.attribute.spelled import file_literals


def local_edit(case: Case, index: int) -> Cause | None:
    edits = {**recorded.local_edits(case), **environment.edited_packages(case)}
    for cell in case.flow.upstream(index):
        flow = case.flow.by_index.get(cell)
        for name in (*flow.imports.values(), *case.imports[cell]) if flow else ():
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


def zone(case: Case, index: int) -> Cause | None:
    """Say whether a cell shows local times that are those of another time zone."""
    sources = in_slice(case.sources, case.flow.upstream(index), "zone")
    if not sources or not _other_zone(case, index):
        return None
    source = sources[0]
    return cause(
        "environment-variable", source.cell, source.subject,
        f"Cell {source.cell} gives the local time of moments, `{source.text}`, and the times that "
        f"differ all do so by as much as time zones do{shown(case.cells[index])}",
        "Give it a zone (tz=timezone.utc), or set TZ as it was",
    )  # fmt: skip


def _other_zone(case: Case, index: int) -> bool:
    """Whether all times of day that differ do so by as much as two time zones do."""
    difference = case.cells[index].difference
    if difference is None:
        return False
    times = [_TIME.findall(text) for text in (difference.before, difference.after)]
    # One number alone is an hour as little as anything else.
    if len(times[0]) != len(times[1]) or not (len(times[0]) > 1 or any(m for _, m in times[0])):
        return False
    before, after = ([60 * int(h) + int(m or 0) for h, m in found] for found in times)
    shifts = {(b - a) % 1440 for a, b in zip(before, after, strict=True)}
    return len(shifts) == 1 and shifts != {0} and not min(shifts) % 15


_TIME = re.compile(r"(?<![\d:.-])([01]?\d|2[0-3])(?::([0-5]\d)(?::\d\d)?)?(?![\d:.-])")
"""A time of day, or an hour."""


def remote(case: Case, index: int) -> Cause | None:
    upstream = case.flow.upstream(index)
    read = [url for url in recorded.read_urls(case) if url.cell in upstream]
    for url in read:
        before, after = url.versions
        if url.now is None and before != after and before and after:
            how = f"was {before} by its server's account when it was recorded and is {after} now"
            return recorded.changed_url(url, how)
    other = {url.cell for url in read if url.now is None or url.now != url.then}
    same = {url.cell for url in read} - other
    sources = [s for s in in_slice(case.sources, upstream, "remote") if s.cell not in same]
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


def self_overwrite(case: Case, index: int) -> Cause | None:
    """An upstream file is read first and written later: by the record, else by the source."""
    for found, cell in recorded.changed_files(case):
        if found.kind == "self-overwrite" and cell in case.flow.upstream(index):
            return found
    read: dict[str, int] = {}
    for flow in case.flow.cells:
        writes = case.written[flow.index]
        for name in writes:
            if name in read and read[name] in case.flow.upstream(index):
                return cause(
                    "self-overwrite", flow.index, name,
                    f"Cell {read[name]} reads {name} and cell {flow.index} overwrites it, so that "
                    "a second run starts from another file",
                    f"Write to another file than {name}",
                )  # fmt: skip
        for name in file_literals(flow):
            if name not in writes and spelled(case, name):
                read.setdefault(name, flow.index)
    return None
