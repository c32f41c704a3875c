"""Files that the recorded run read and that are gone, and files that only the rerun read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlrepro_nb.model import Cause, Record, moment
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.inputs import listing, place, shown, touched, written
from mlrepro_nb.verify.attribute.paths import missing_file


def other_files(case: Case, index: int) -> Cause | None:
    """Say whether what a cell rests on read, or lists, a file that is gone, or a new one."""
    if case.record is None or case.rerun is None:
        return None
    upstream = case.flow.upstream(index)
    for cell, path in _by_cell(case, dict(_gone(case, case.record, case.rerun))):
        if cell in upstream:
            return missing_file(case, cell, shown(case, path), "FileNotFoundError")
    for cell, path in _by_cell(case, dict(_new(case, case.record, case.rerun))):
        if cell in upstream:
            name = shown(case, path)
            return cause(
                "changed-data", cell, name,
                f"Cell {cell} takes in {name}, which is new: the recorded run had no such file",
                f"Keep {name} elsewhere, or record again with it",
            )  # fmt: skip
    return None


def _by_cell(case: Case, found: dict[Path, int | None]) -> list[tuple[int, Path]]:
    """Return the files by the cells that read or list them, in file order."""
    pairs = {(cell, path) for path, cell in found.items() if cell is not None}
    pairs |= {(cell, path) for path in found for cell in listing(case, shown(case, path))}
    return sorted(pairs)


def _gone(case: Case, record: Record, rerun: Record) -> Iterator[tuple[Path, int | None]]:
    made: set[Path] = set()
    for access in record.data:
        path = place(case, access)
        if path is None or access.files is not None or not path.is_relative_to(case.root):
            continue
        if access.access == "write":
            made.add(path)
        elif access.size is not None and path not in made and not path.exists():
            # What the rerun read all the same it made itself, and took away again: so did the
            # recorded run. What it read and left is what it put in the place of the input.
            again = {a.access for a in rerun.data if place(case, a) == path}
            if "read" not in again or "write" in again:
                yield path, case.here(access.execution, access.cell)


def _new(case: Case, record: Record, rerun: Record) -> Iterator[tuple[Path, int | None]]:
    known: set[Path] = set()
    for access in record.data:
        files = touched(case, access)
        if files is None:
            return
        known.update(files)
    began = moment(record.lineage.started).timestamp()
    made = written(case)
    for access in rerun.data:
        for path in touched(case, access) or () if access.access == "read" else ():
            if path not in known and path.resolve() not in made and _came(case, path) >= began:
                yield path, access.cell if access.cell in case.cells else None


def _came(case: Case, path: Path) -> float:
    """Return when a file of the project came to be what and where it is."""
    try:
        return path.stat().st_ctime if path.is_relative_to(case.root) else 0.0
    except OSError:
        return 0.0
