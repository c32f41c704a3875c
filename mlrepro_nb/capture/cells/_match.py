"""Which cell of the notebook file each execution was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlrepro_nb.capture.cells._assemble import InFile, in_file, source_digest, unexecuted
from mlrepro_nb.capture.cells.client import Origin, origins
from mlrepro_nb.model import ExecutedCell


class Cells:
    """Executions and the cells of the file, matched by id, else by source."""

    def __init__(
        self,
        begins: Mapping[int, dict[str, Any]],
        ends: Mapping[int, dict[str, Any]],
        nb: Mapping[str, Any] | None,
        positions: Sequence[int | None] | None,
        *,
        running: int | None = None,
        saved: str | None = None,
    ) -> None:
        self._begins = begins
        self._ends = ends
        self._running = running
        cells = list((nb or {}).get("cells") or ())
        self._indices = list(positions) if positions is not None else list(range(len(cells)))
        ids = {cell["id"] for cell in cells if cell.get("id")}
        digests = {source_digest(cell) for cell in cells if cell.get("cell_type") == "code"}
        self._origins = origins(begins, ids, digests, saved)
        self._positions = self._match(cells)
        known = cells if nb is not None else None
        self._in_file = in_file(begins, self._positions, known, saved)
        self._unexecuted = unexecuted(self._positions, known)

    def position(self, order: int | None) -> int | None:
        """Return where in the given notebook an execution's cell is."""
        return None if order is None else self._positions.get(order)

    def index(self, order: int | None) -> int | None:
        """Return where in the notebook file an execution's cell is."""
        position = self.position(order)
        return None if position is None else self._indices[position]

    def origin(self, order: int) -> Origin:
        """Return who asked for an execution."""
        return self._origins[order]

    def in_file(self, order: int) -> InFile | None:
        """Return what the file holds of an execution's cell; None where that is not known."""
        return self._in_file.get(order)

    def unexecuted(self) -> tuple[int, ...]:
        """Return the indices of the file's code cells that did not run."""
        indices = (self._indices[position] for position in self._unexecuted)
        return tuple(index for index in indices if index is not None)

    def executed(self, seal: Mapping[str, Any]) -> tuple[ExecutedCell, ...]:
        """Return the executions in order."""
        found = []
        for order in sorted(self._begins):
            begin, end = self._begins[order], self._ends.get(order)
            if end is None and order == self._running:
                end = {"status": "ok", "duration": seal.get("duration") or 0.0}
            end = end or {"status": "interrupted", "duration": 0.0}
            found.append(
                ExecutedCell(
                    order=order,
                    index=self.index(order),
                    id=begin.get("id"),
                    execution_count=end.get("count"),
                    name=begin.get("name"),
                    source=begin["source"],
                    digest=begin["digest"],
                    status=end["status"],
                    started=begin["started"],
                    duration=float(end["duration"]),
                )
            )
        return tuple(found)

    def _match(self, cells: list[Any]) -> dict[int, int]:
        by_id = {cell["id"]: i for i, cell in enumerate(cells) if cell.get("id")}
        by_source: dict[str, list[int]] = {}
        for i, cell in enumerate(cells):
            if cell.get("cell_type") == "code":
                by_source.setdefault(source_digest(cell), []).append(i)
        found: dict[int, int] = {}
        last = -1
        for order in sorted(self._begins):
            begin = self._begins[order]
            position = by_id.get(begin.get("id"))
            if position is None and self._origins[order] == "notebook":
                # Of several cells with this source, the next one down is likeliest.
                same = by_source.get(begin["digest"], [])
                position = next((i for i in same if i > last), same[0] if same else None)
            if position is not None:
                found[order] = last = position
        return found
