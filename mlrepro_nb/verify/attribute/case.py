"""What attribution is given, and what it gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mlrepro_nb.dataflow import Flow, read_cell
from mlrepro_nb.model import Cause, ExecutedCell, Record, digest_text
from mlrepro_nb.store import Store
from mlrepro_nb.verify.attribute.modules import imported_by, tops
from mlrepro_nb.verify.attribute.sources import Source, find_sources
from mlrepro_nb.verify.attribute.spelled import listed_patterns, written_files
from mlrepro_nb.verify.compare import Difference

Output = Mapping[str, Any]


class Seen:
    """One code cell: as it is stored, and as it came out of the rerun."""

    def __init__(
        self, *, index: int, id: str | None, source: str, reference: Sequence[Output],  # noqa: A002
        stored: Sequence[Output], count: int | None, executed: bool, compared: bool,
        started: str | None = None, may_raise: bool = False,
    ) -> None:  # fmt: skip
        self.index, self.id, self.source = index, id, source
        self.reference, self.stored = reference, stored
        self.count, self.executed, self.compared, self.started = count, executed, compared, started
        self.may_raise = may_raise
        """The cell is marked so: an exception is its output, not a failure."""
        self.outputs: Sequence[Output] = ()
        self.difference: Difference | None = None
        self.error: Output | None = None
        """The error of the rerun that the reference has not."""
        self.truncated = False
        """Whether the rerun printed more than is kept."""
        self.repeats: bool | None = None
        """Whether a second clean run gave what the first gave; None while there was none."""

    @property
    def differs(self) -> bool:
        """Whether the rerun's output is not the reference's."""
        return self.difference is not None and self.difference.level == "different"


class Case:
    """A notebook that was run again.

    Parameters
    ----------
    cells : mapping
        The code cells by their index in the file.
    record, rerun : Record, optional
        Of the reference run, and of the rerun.
    root, folder : Path
        The project, and the notebook's folder in it.
    store : Store, optional
        Where the record came from.
    rehash : bool
        Hash files again that have not changed since they were hashed.
    asks : bool
        Whether the package index may be asked.
    installed : sequence of str
        Pins of what was installed over the environment for the rerun.
    at_commit : bool
        Whether the rerun had no more of the project than the record's commit holds.
    in_image : bool
        Whether it was in an image that was built from the record.
    """

    def __init__(
        self, cells: Mapping[int, Seen], *, record: Record | None, rerun: Record | None,
        root: Path, folder: Path, notebook: Path, prefix: str = "",
        language: Mapping[str, Any] | None = None, store: Store | None = None,
        rehash: bool = False, asks: bool = False, installed: Sequence[str] = (),
        at_commit: bool = False, in_image: bool = False,
    ) -> None:  # fmt: skip
        self.cells = dict(cells)
        self.asks, self.installed, self.at_commit = asks, tuple(installed), at_commit
        self.in_image = in_image
        self.store = store
        self.digests = (store.digests.rehashing() if rehash else store.digests) if store else None
        """Digests of files that were hashed before, if there is a store."""
        self.record, self.rerun = record, rerun
        self.root, self.folder, self.notebook = root, folder, notebook
        self.prefix = prefix
        """What stands before the project's path where the rerun happened."""
        self.language = language or {}
        self.committed: dict[Path, tuple[str, ...]] = {}
        """What git saw change at paths since the notebook was committed, as it was asked."""
        self.confirmed: dict[int, list[Cause]] = {}
        """Of cells whose cause reruns have told: all that hold."""
        self.in_any_order: set[int] = set()
        """Cells that a run in the order of the execution counts gave as a clean one does."""
        self.however_often: set[int] = set()
        """Cells that did not become as stored when others ran as often as the counts leave room."""
        self.flow = Flow([read_cell(cell.index, cell.source) for cell in cells.values()])

    @cached_property
    def sources(self) -> list[Source]:
        """What the notebook takes in from outside, by its source."""
        return find_sources(self.flow)

    @cached_property
    def own_modules(self) -> dict[str, Path]:
        """Return the source of each of the project's modules: what the rerun loaded, if it did."""
        beside = ((top, self.folder / f"{top}.py") for top in tops(self.flow))
        found = {top: path for top, path in beside if path.is_file()}
        if self.rerun is not None:
            found |= {m.name: self.root / self.local(m.path) for m in self.rerun.code.modules}
        return found

    @cached_property
    def imports(self) -> dict[int, list[str]]:
        """Return for each cell which of the project's modules its imports load."""
        return imported_by(self.flow, self.own_modules)

    @cached_property
    def listed(self) -> dict[int, list[str]]:
        """Return for each cell the patterns of files that it lists, as far as they are spelled."""
        return {cell.index: listed_patterns(cell, self.flow) for cell in self.flow.cells}

    @cached_property
    def written(self) -> dict[int, set[str]]:
        """Return for each cell the paths that it writes, as far as they are spelled."""
        return {cell.index: written_files(cell, self.flow) for cell in self.flow.cells}

    @cached_property
    def index_of(self) -> dict[int, int]:
        """Return for executions of the record, by order, the cell of the file that they ran."""
        found: dict[int, int] = {}
        if self.record is None:
            return found
        ids = {cell.id: index for index, cell in self.cells.items() if cell.id}
        recorded = {cell.id for cell in self.record.code.cells}
        digests = {digest_text(cell.source): index for index, cell in self.cells.items()}
        for execution in self.record.code.cells:
            if execution.origin != "notebook":
                continue
            if execution.id in ids:
                found[execution.order] = ids[execution.id]
            elif execution.digest in digests:
                found[execution.order] = digests[execution.digest]
            elif execution.index in self.cells and self.cells[execution.index].id not in recorded:
                found[execution.order] = execution.index
        return found

    def last_execution(self, index: int) -> ExecutedCell | None:
        """Return the last execution of a cell in the record."""
        if self.record is None:
            return None
        return next(
            (e for e in reversed(self.record.code.cells) if self.index_of.get(e.order) == index),
            None,
        )

    def here(self, execution: int | None, cell: int | None) -> int | None:
        """Return the cell of the file that an execution of the record ran."""
        if execution is not None and execution in self.index_of:
            return self.index_of[execution]
        return cell if cell in self.cells else None

    def ran(self, execution: int, cell: int | None) -> int | None:
        """Return the cell of the file that an execution of the rerun ran."""
        executed = self.rerun.code.cells if self.rerun is not None else ()
        ids = {one.id: index for index, one in self.cells.items()}
        return next((ids.get(e.id) for e in executed if e.order == execution), cell)

    def local(self, path: str) -> str:
        """Return a path of the rerun as it is in the project."""
        return path.replace(self.prefix, "") if self.prefix else path


def cause(
    kind: str, cell: int | None, subject: str, evidence: str, fix: str, *,
    requirement: str | None = None,
) -> Cause:  # fmt: skip
    """Make a cause; the texts end as sentences do."""
    return Cause(
        kind=kind, cell=cell, subject=subject, evidence=_sentence(evidence), fix=_sentence(fix),
        requirement=requirement,
    )  # fmt: skip


def near(case: Case, index: int) -> bool:
    """Whether what differs are numbers that are close: as sums in another order are."""
    difference = case.cells[index].difference
    if difference is None:
        return False
    one, other = (
        [float(n) for n in re.findall(r"-?\d+\.\d+(?:e[-+]?\d+)?", text)[:50]]
        for text in (difference.before, difference.after)
    )
    return (
        bool(one)
        and len(one) == len(other)
        and all(abs(a - b) <= 1e-3 * max(abs(a), abs(b), 1e-12) for a, b in zip(one, other))  # noqa: B905
    )


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "`", ")", "?", "!")) else text + "."
