"""Which cell of the notebook file each execution was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    ) -> None:
        self._begins = begins
        self._ends = ends
        self._running = running
        cells = list((nb or {}).get("cells") or ())
        self._indices = list(positions) if positions is not None else list(range(len(cells)))
        self._positions = self._match(cells)

    def position(self, order: int | None) -> int | None:
        """Return where in the given notebook an execution's cell is."""
        return None if order is None else self._positions.get(order)

    def index(self, order: int | None) -> int | None:
        """Return where in the notebook file an execution's cell is."""
        position = self.position(order)
        return None if position is None else self._indices[position]

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
        from mlrepro_nb.model import digest_text

        by_id = {cell["id"]: i for i, cell in enumerate(cells) if cell.get("id")}
        by_source: dict[str, list[int]] = {}
        for i, cell in enumerate(cells):
            if cell.get("cell_type") == "code":
                source = cell.get("source", "")
                text = source if isinstance(source, str) else "".join(source)
                by_source.setdefault(digest_text(text), []).append(i)
        found: dict[int, int] = {}
        last = -1
        for order in sorted(self._begins):
            begin = self._begins[order]
            position = by_id.get(begin.get("id"))
            if position is None:
                # Of several cells with this source, the next one down is likeliest.
                same = by_source.get(begin["digest"], [])
                position = next((i for i in same if i > last), same[0] if same else None)
            if position is not None:
                found[order] = last = position
        return found
