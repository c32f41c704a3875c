"""What the record of the reference run explains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from mlrepro_nb.capture.cells.outputs import STDERR, output_digests
from mlrepro_nb.capture.data import tables, trees
from mlrepro_nb.capture.data.hashing import hash_file, regular
from mlrepro_nb.model import (
    Cause,
    CellOutput,
    DataAccess,
    Distribution,
    LocalModule,
    Record,
    digest_text,
    short,
)
from mlrepro_nb.verify.attribute.case import Case, Output, cause

_ROWS_SECONDS = 60.0


def edited_cells(case: Case) -> dict[int, Cause]:
    """Return the cells whose source is not what ran last."""
    if case.record is None:
        return {}
    found: dict[int, Cause] = {}
    for execution in case.record.code.cells:
        index = case.index_of.get(execution.order)
        if index is None:
            continue
        now = case.cells[index].source
        if digest_text(now) == execution.digest:
            found.pop(index, None)
            continue
        before, after = _changed_line(execution.source, now)
        found[index] = cause(
            "edited-after-run", index, _subject(after or before) or f"cell {index}",
            f"Cell {index} was edited after it ran: it ran as `{before}`, the file says `{after}`",
            f"Record the notebook again, or put cell {index} back as it ran: `{before}`",
        )  # fmt: skip
    return found


def changed_files(case: Case) -> Iterator[tuple[Cause, int | None]]:
    """Yield the files, and URLs, whose content is not what the run read, with the reading cell."""
    if case.record is None:
        return
    for url in read_urls(case):
        if url.now is not None and url.now != url.then:
            then, today = _short(str(url.then)), _short(url.now)
            told = f"was {then} when the notebook was recorded and is {today} now"
            yield changed_url(url, told), url.cell
    written = {_key(access): access for access in case.record.data if access.access == "write"}
    seen = set()
    for access in case.record.data:
        if access.access != "read" or access.size is None or _key(access) in seen:
            continue
        seen.add(_key(access))
        path = _path(case, access)
        how = _how_changed(case, access, path) if path is not None else None
        if path is None or how is None:
            continue
        cell = case.here(access.execution, access.cell)
        name = access.repo_path or access.path
        if _key(access) in written:
            wrote = written[_key(access)]
            # Made by this run before it was read: the file is no input.
            if case.record.data.index(wrote) < case.record.data.index(access):
                continue
            yield (
                cause(
                    "self-overwrite", case.here(wrote.execution, wrote.cell), name,
                    f"The notebook reads {name} in cell {cell} and overwrites it in cell "
                    f"{wrote.cell}, so a second run starts from another file",
                    _undo(case, access, name),
                ),
                cell,
            )  # fmt: skip
            continue
        yield (
            cause(
                "changed-data", cell, name, f"{name}, which cell {cell} reads, {how}",
                _restore(access, name),
            ),
            cell,
        )  # fmt: skip


class Url(NamedTuple):
    """What the record and the rerun say of a URL that a cell reads."""

    url: str
    cell: int | None
    then: str | None
    """Digest of what the run read there; None where that or `now` is not known."""
    now: str | None
    versions: tuple[str | None, str | None]
    """What the server called it, then and now."""


def read_urls(case: Case) -> Iterator[Url]:
    """Yield the URLs that the recorded run read and the rerun has read again."""
    again = case.rerun.data if case.rerun is not None else ()
    now = {a.path: a for a in again if a.access == "read" and "://" in a.path}
    for access in case.record.data if case.record is not None else ():
        if access.access == "read" and "://" in access.path and access.path in now:
            other = now[access.path]
            both = access.digest is not None and other.digest is not None
            yield Url(
                url=access.path,
                cell=case.here(access.execution, access.cell),
                then=access.digest if both else None,
                now=other.digest if both else None,
                versions=(access.version, other.version),
            )


def changed_url(url: Url, how: str) -> Cause:
    """Return the cause that a server serves something else by now."""
    return cause(
        "remote-data", url.cell, url.url, f"{url.url}, which cell {url.cell} reads, {how}",
        f"Keep a copy of it in the project and read that: dvc import-url {quote(url.url)}, or "
        "record again with the new data",
    )  # fmt: skip


def _how_changed(case: Case, access: DataAccess, path: Path) -> str | None:
    """Return how what is there now differs from what was read; None where it does not."""
    if access.files is not None:
        return _changed_in_folder(case, access, path)
    if access.digest is None:  # a file of secrets
        status = regular(str(path))
        return "has another size" if status and status.st_size != access.size else None
    now = _digest(case, str(path))
    if now is None or now == access.digest:
        return None
    how = (
        f"was {_short(str(access.digest))} when the notebook was recorded and is {_short(now)} now"
    )
    if access.rows is None:
        return how
    again = tables.rows_of([str(path)], timeout=_ROWS_SECONDS).get(str(path))
    if again is None:
        return how
    same = again == access.rows
    return f"{how}; it was only encoded anew: its rows are the same" if same else (
        f"{how}; its rows or columns are not the same"
    )  # fmt: skip


def _changed_in_folder(case: Case, access: DataAccess, folder: Path) -> str | None:
    """Say which of the files of a folder that were read are others now."""
    if case.store is None or access.tree is None:
        return None
    listed = trees.stored_listing(case.store, access.tree)
    if listed is None:
        return None
    found = trees.hash_tree(str(folder), listed, cache=case.digests)
    if found is not None and found.digest == access.digest:
        return None
    now = trees.hash_listed(str(folder), listed, cache=case.digests)
    gone = [name for name in listed if now[name] is None]
    other = [name for name in listed if now[name] not in (None, listed[name])]
    told = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for names, what in ((other, "have changed"), (gone, "are missing"))
        if names
    ]
    return f"had {len(listed)} files when the notebook was recorded: {' and '.join(told)}" if (
        told
    ) else None  # fmt: skip


def drifted(case: Case) -> list[tuple[Distribution | None, Distribution | None]]:
    """Return the imported distributions that are of another version, or commit, than recorded."""
    if case.record is None or case.rerun is None:
        return []
    old = {d.name: d for d in case.record.environment.distributions}
    new = {d.name: d for d in case.rerun.environment.distributions}
    found = []
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        if one and other and _same(one, other):
            continue
        if any(d and (d.imported or d.loaded_by) for d in (one, other)):
            found.append((one, other))
    return found


def _same(one: Distribution, other: Distribution) -> bool:
    # In an image, what was installed in place is a wheel, which knows no commit.
    commits = {one.commit, other.commit}
    return one.version == other.version and (None in commits or len(commits) == 1)


def states(one: Distribution | None, other: Distribution | None) -> tuple[str, str]:
    """Return what a distribution was and is: its versions, or commits where those are the same."""
    if one and other and one.version == other.version:
        return f"at commit {str(one.commit)[:12]}", f"at commit {str(other.commit)[:12]}"
    before, after = (found.version if found else "not installed" for found in (one, other))
    return before, after


def version_drift(case: Case, index: int, module: str | None = None) -> Cause | None:
    """Name the distribution whose change concerns a cell most."""
    candidates = drifted(case)
    if not candidates:
        return _python_drift(case, index)
    used = {module} if module else set()
    for cell in case.flow.upstream(index):
        flow = case.flow.by_index.get(cell)
        if flow is not None and not module:
            used |= {name.partition(".")[0] for name in flow.imports.values()}
            used |= {name.partition(".")[0] for name in flow.stars}
    best: tuple[int, Cause] | None = None
    for one, other in candidates:
        distribution = one or other
        assert distribution is not None
        direct = bool(used & {*distribution.modules, distribution.name.replace("-", "_")})
        if module and not direct:
            continue
        rank = 0 if direct else 1
        if best is None or rank < best[0]:
            best = rank, _drift(case, index, distribution.name, one, other)
    return best[1] if best else None


def drift_of(case: Case, index: int, name: str) -> Cause | None:
    """Name one distribution as what concerns a cell."""
    for one, other in drifted(case):
        if name in {d.name for d in (one, other) if d}:
            return _drift(case, index, name, one, other)
    return None


def imported_drift(case: Case) -> list[Cause]:
    """Name the distributions of another version that the notebook itself imports."""
    used = {name for flow in case.flow.cells for name in _imports(case, flow.index)}
    last = max(case.cells, default=0)
    return [
        _drift(case, last, distribution.name, one, other)
        for one, other in drifted(case)
        if used & set((distribution := one or other or _NOTHING).modules)
    ]


def _drift(
    case: Case, index: int, name: str, one: Distribution | None, other: Distribution | None
) -> Cause:
    before, after = states(one, other)
    version = one.version if one and not (other and other.version == one.version) else None
    if version is not None:
        fix = f"Install what it ran with: pip install '{name}=={version}'"
    elif one is not None:
        fix = f"Check out {before.removeprefix('at ')} where {name} comes from, or record again"
    else:
        fix = f"Uninstall {name}, which the recorded run did not have"
    own = {*((one or other or _NOTHING).modules), name.replace("-", "_")}
    cell = next((i for i in sorted(case.flow.upstream(index)) if own & _imports(case, i)), index)
    return cause(
        "version-drift", cell, name,
        f"{name} was {before} when the notebook was recorded and is {after} now",
        fix, requirement=f"{name}=={version}" if version is not None else None,
    )  # fmt: skip


_NOTHING = Distribution(name="", version="")


def _imports(case: Case, cell: int) -> set[str]:
    flow = case.flow.by_index.get(cell)
    return {name.partition(".")[0] for name in flow.imports.values()} if flow else set()


def _python_drift(case: Case, index: int) -> Cause | None:
    if case.record is None or case.rerun is None:
        return None
    before, after = case.record.environment.python, case.rerun.environment.python
    if before.split(".")[:2] == after.split(".")[:2]:
        return None
    return cause(
        "version-drift", index, "python",
        f"Python was {before} when the notebook was recorded and is {after} now",
        f"Run it with Python {before}",
    )  # fmt: skip


def local_edits(case: Case) -> dict[str, Cause]:
    """Return the project's own modules that are not what the run imported, by module name."""
    if case.record is None or case.rerun is None:
        return {}
    now = {module.name: module for module in case.rerun.code.modules}
    found = {}
    for module in case.record.code.modules:
        other = now.get(module.name)
        if other is not None and other.digest != module.digest:
            importing = next((c for c, names in case.imports.items() if module.name in names), None)
            found[module.name] = cause(
                "local-edit", importing, module.path,
                f"{module.path} was {_short(module.digest)} when the notebook was recorded and is "
                f"{_short(other.digest)} now",
                f"Put {module.path} back as {_where(case.record, module)}, or record again",
            )  # fmt: skip
    return found


def _where(record: Record, module: LocalModule) -> str:
    if not module.path.startswith("/"):
        return f"it was at commit {(record.code.commit or 'of the record')[:12]}"
    return f"the store keeps it ({module.kept})" if module.kept else "it was"


def edited_output(case: Case, index: int) -> Cause | None:
    """Say whether a cell's stored output is not what its run gave out."""
    cell = case.cells[index]
    recorded = recorded_outputs(case, index)
    if recorded is None or not cell.executed:
        return None
    stored = stored_digests(cell.stored)
    stripped = not any(other.stored for other in case.cells.values())
    if stored == recorded or stripped:
        return None
    return cause(
        "edited-output", index, f"output of cell {index}",
        f"What the file shows below cell {index} is not what its recorded run gave out "
        f"({len(stored)} outputs, of which {_wrong(stored, recorded)} do not have the recorded "
        "digest)",
        f"Run cell {index} again and save; outputs are not to be typed in",
    )  # fmt: skip


def recorded_outputs(case: Case, index: int) -> list[tuple[str, str]] | None:
    """Return the digests of what the last execution of a cell gave out; None if it never ran."""
    if case.record is None:
        return None
    orders = [order for order, cell in case.index_of.items() if cell == index]
    if not orders:
        return None
    last = max(orders)
    return _digests([o for o in case.record.results.outputs if o.execution == last])


def stored_digests(outputs: Iterable[Output]) -> list[tuple[str, str]]:
    """Return the digests of a cell's outputs, in the order of the record's."""
    merged: list[dict[str, object]] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if (
            last
            and output["output_type"] == last["output_type"] == "stream"
            and (output["name"] == last["name"])
        ):
            last["text"] = f"{last['text']}{output['text']}"
        else:
            merged.append(dict(output))
    found = [pair for output in merged for pair in output_digests(output).items()]
    return sorted(pair for pair in found if pair[0] != STDERR)


def _digests(outputs: list[CellOutput]) -> list[tuple[str, str]]:
    found = [pair for output in outputs for pair in output.data.items()]
    return sorted(pair for pair in found if pair[0] != STDERR)


def _wrong(stored: list[tuple[str, str]], recorded: list[tuple[str, str]]) -> int:
    return len([pair for pair in stored if pair not in recorded]) or len(recorded) - len(stored)


def _key(access: DataAccess) -> str:
    return access.real or access.repo_path or access.path


def _path(case: Case, access: DataAccess) -> Path | None:
    if "://" in access.path:
        return None
    if access.repo_path:
        return case.root / access.repo_path
    path = Path(access.path)
    return path if path.is_absolute() else case.folder / path


def _digest(case: Case, path: str) -> str | None:
    found = hash_file(path, cache=case.digests)
    return found.digest if found else None


def _undo(case: Case, access: DataAccess, name: str) -> str:
    fix = f"Write to another file than {name}"
    if access.kept is None or case.store is None:
        return fix
    blob = case.store.blobs.path(access.kept)
    if blob.is_relative_to(case.root):
        blob = blob.relative_to(case.root)
    return (
        f"{fix}. The bytes that were read are kept: `mlrepro verify --restore` starts from them, "
        f"and `cp {quote(str(blob))} {quote(name)}` puts them back"
    )


def _restore(access: DataAccess, name: str) -> str:
    if access.dvc is not None:
        file = quote(access.dvc.file)
        return f"Bring it back: dvc checkout {file}; or record again with the new data"
    if access.tracked:
        return f"Bring it back: git checkout -- {quote(name)}; or record again with the new data"
    return f"Put back the {name} that has the recorded digest, or record again with the new data"


def _short(digest: str) -> str:
    return f"{digest.partition(':')[0]}:{short(digest)}"


def _changed_line(before: str, after: str) -> tuple[str, str]:
    old, new = before.splitlines(), after.splitlines()
    for one, other in zip(old, new, strict=False):
        if one != other:
            return one.strip()[:120], other.strip()[:120]
    longer = old if len(old) > len(new) else new
    rest = longer[min(len(old), len(new)) :]
    line = next((line.strip()[:120] for line in rest if line.strip()), "")
    return (line, "") if len(old) > len(new) else ("", line)


def _subject(line: str) -> str:
    name, _, rest = line.partition("=")
    return name.strip() if rest and name.strip().isidentifier() else ""
