"""What changed between two records: pure.

The one place that compares records, and a notebook with its record; `mlrepro diff`
prints it and `verify` reasons from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from mlrepro_nb.model import DataAccess, Record, digest_text, revived, short

Part = Literal[
    "code", "data", "parameters", "environment", "randomness", "hardware", "results", "lineage"
]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two records."""

    part: Part
    subject: str
    """What changed: ``cell 4``, a file's path, a distribution's name, a metric."""
    before: str | None
    """None where there was nothing before."""
    after: str | None
    """None where there is nothing now."""
    cell: int | None = None
    """The cell of the second record (else the first) that the change belongs to."""
    used: bool = True
    """Whether the run could feel it: False for a distribution that neither run imported."""


Listing = Callable[[str], Mapping[str, str | None] | None]
"""Returns the files of a folder, path to digest, by the digest of their listing."""


def _unlisted(tree: str) -> None:
    """Know no folder's files."""


def changes(before: Record, after: Record, listing: Listing = _unlisted) -> tuple[Change, ...]:
    """Return what differs from one record to another, in the order of the record's parts.

    Times, durations, digests of outputs that hold a picture of the run itself,
    and peaks of memory are left out: they differ between any two runs.

    `listing` is asked for the files of folders that are one entry in the records;
    without an answer a changed folder is one change.
    """
    return (
        *_code(before, after),
        *_data(before, after, listing),
        *_mapping("parameters", _parameters(before), _parameters(after)),
        *_environment(before, after),
        *_randomness(before, after),
        *_hardware(before, after),
        *_results(before, after),
    )


def edited_cell(record: Record, sources: Sequence[str]) -> int | None:
    """Return the first cell of a notebook that is not as it ran; None where all are.

    Parameters
    ----------
    record
        Of the run. Cells that it did not run do not count, nor do cells that changed places
        with another one that ran.
    sources
        The sources of the notebook's cells; a cell beyond their end is gone.
    """
    ran: dict[int, set[str]] = {}
    for cell in record.code.cells:
        if cell.index is not None:
            ran.setdefault(cell.index, set()).add(cell.digest)
    every = {cell.digest for cell in record.code.cells}
    for index, wanted in sorted(ran.items()):
        if index >= len(sources) or digest_text(sources[index]) not in wanted | every:
            return index
    return None


def _mapping(
    part: Part,
    before: Mapping[str, str | None],
    after: Mapping[str, str | None],
    *,
    cells: Mapping[str, int | None] | None = None,
    unused: Iterable[str] = (),
) -> Iterable[Change]:
    for subject in (*before, *(s for s in after if s not in before)):
        old, new = before.get(subject), after.get(subject)
        if old != new or (subject in before) != (subject in after):
            yield Change(
                part=part,
                subject=subject,
                before=old,
                after=new,
                cell=(cells or {}).get(subject),
                used=subject not in unused,
            )


def _code(before: Record, after: Record) -> Iterable[Change]:
    a, b = before.code, after.code
    facts_a = {"commit": a.commit and short(a.commit), "notebook": a.notebook}
    facts_b = {"commit": b.commit and short(b.commit), "notebook": b.notebook}
    facts_a["uncommitted changes"] = short(a.diff) if a.diff else None
    facts_b["uncommitted changes"] = short(b.diff) if b.diff else None
    yield from _mapping("code", facts_a, facts_b)
    cells_a, cells_b = _sources(before), _sources(after)
    indices = {name: index for name, (_, index) in (*cells_a.items(), *cells_b.items())}
    yield from _mapping(
        "code",
        {name: source for name, (source, _) in cells_a.items()},
        {name: source for name, (source, _) in cells_b.items()},
        cells=indices,
    )
    yield from _mapping(
        "code",
        {f"module {m.name}": short(m.digest) for m in a.modules},
        {f"module {m.name}": short(m.digest) for m in b.modules},
    )


def _sources(record: Record) -> dict[str, tuple[str, int | None]]:
    """Return the last source that ran under each cell's name."""
    found: dict[str, tuple[str, int | None]] = {}
    for cell in record.code.cells:
        name = f"cell {cell.index}" if cell.index is not None else f"execution {cell.order}"
        found[name] = (cell.source, cell.index)
    return found


def _data(before: Record, after: Record, listing: Listing) -> Iterable[Change]:
    cells = {(a.repo_path or a.path): a.cell for r in (before, after) for a in r.data}
    for access in ("read", "write"):
        old, new = _accesses(before, access), _accesses(after, access)
        facts = ({n: _content(a) for n, a in old.items()}, {n: _content(a) for n, a in new.items()})
        for change in _mapping("data", *facts, cells=cells):
            for one in _explained(change, old, new, listing):
                yield (
                    one
                    if access == "read"
                    else msgspec.structs.replace(one, subject=f"{one.subject} (written)")
                )


def _accesses(record: Record, access: str) -> dict[str, DataAccess]:
    return {a.repo_path or a.path: a for a in record.data if a.access == access}


def _content(access: DataAccess) -> str | None:
    """Return what tells a file's content from another, short."""
    return short(access.digest) if access.digest else access.version


def _explained(
    change: Change, old: Mapping[str, DataAccess], new: Mapping[str, DataAccess], listing: Listing
) -> Iterable[Change]:
    """Yield a folder's files in its place, and say of a table whether its rows changed."""
    a, b = old.get(change.subject), new.get(change.subject)
    if a is None or b is None:
        yield change
        return
    if a.tree is not None and b.tree is not None:
        files = listing(a.tree), listing(b.tree)
        if files[0] is not None and files[1] is not None:
            for one in _mapping("data", *({k: v and short(v) for k, v in f.items()}
                                          for f in files if f is not None)):  # fmt: skip
                yield msgspec.structs.replace(
                    one, subject=f"{change.subject}/{one.subject}", cell=change.cell
                )
            return
    if a.rows is not None and b.rows is not None:
        how = "re-encoded, rows unchanged" if a.rows == b.rows else "rows changed"
        change = msgspec.structs.replace(change, after=f"{change.after} ({how})")
    yield change


def _parameters(record: Record) -> dict[str, str | None]:
    told = {**record.parameters.mlflow, **revived(record.parameters.papermill)}
    return {k: str(v) for k, v in told.items()}


def _environment(before: Record, after: Record) -> Iterable[Change]:
    a, b = before.environment, after.environment
    yield from _mapping(
        "environment",
        {"python": a.python, "system": f"{a.system.name} {a.system.version}"},
        {"python": b.python, "system": f"{b.system.name} {b.system.version}"},
    )
    used = {d.name for e in (a, b) for d in e.distributions if d.imported or d.loaded_by}
    names = {d.name for e in (a, b) for d in e.distributions}
    yield from _mapping(
        "environment",
        {d.name: _version(d.version, d.commit) for d in a.distributions},
        {d.name: _version(d.version, d.commit) for d in b.distributions},
        unused=names - used,
    )
    yield from _mapping(
        "environment",
        {f"${k}": v for k, v in a.variables.items()},
        {f"${k}": v for k, v in b.variables.items()},
    )
    yield from _mapping(
        "environment",
        {f"{t.api} {t.implementation}": f"{t.version}, {t.threads} threads" for t in a.threadpools},
        {f"{t.api} {t.implementation}": f"{t.version}, {t.threads} threads" for t in b.threadpools},
    )


def _version(version: str, commit: str | None) -> str:
    return f"{version} ({short(commit)})" if commit else version


def _randomness(before: Record, after: Record) -> Iterable[Change]:
    def seeds(record: Record) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for seed in record.randomness.seeds:
            found[f"seed of {seed.generator}"] = seed.value
        return found

    yield from _mapping("randomness", seeds(before), seeds(after))


def _hardware(before: Record, after: Record) -> Iterable[Change]:
    a, b = before.hardware, after.hardware
    yield from _mapping(
        "hardware",
        {"CPU": a.cpu, "GPUs": ", ".join(g.product for g in a.gpus) or None},
        {"CPU": b.cpu, "GPUs": ", ".join(g.product for g in b.gpus) or None},
    )


def _results(before: Record, after: Record) -> Iterable[Change]:
    a, b = before.results, after.results
    yield from _mapping("results", {"status": a.status}, {"status": b.status})
    yield from _mapping(
        "results",
        {k: repr(v) for k, v in a.metrics.items()},
        {k: repr(v) for k, v in b.metrics.items()},
    )
    yield from _mapping(
        "results",
        {f"model {m.name}": m.digest and short(m.digest) for m in a.models},
        {f"model {m.name}": m.digest and short(m.digest) for m in b.models},
    )
