"""Reruns in which the cells run as their execution counts tell: in that order, and that often.

Counts alone prove little. A gap is as well a cell that was tried and deleted, and a cell that
changes its own input may do so to no effect. What the run gives is what tells.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlrepro_nb.verify.attribute.order import (
    executed_order,
    gaps,
    imports_only,
    ran_again,
    ran_before,
)
from mlrepro_nb.verify.differential._conditions import Held
from mlrepro_nb.verify.differential._runs import Runs

_MOST = 4
"""Runs of a cell that are missing in the counts, beyond which it is not run so often."""
_SHORT = 10.0
"""Seconds that cells may always take to run again; else as long as the whole notebook took."""


class History(Runs):
    """What the order and the number of executions explain."""

    def tell(self) -> None:
        """Run the cells in the order of their counts, and as often as those leave room."""
        ran = set(executed_order(self.case))
        cells = frozenset(
            index for index, cell in self.case.cells.items()
            if index in ran and cell.differs and cell.error is None and cell.repeats is not False
            and index not in self.case.confirmed
        )  # fmt: skip
        if cells and (order := self._in_order()) and self.budget.allows():
            held = Held(order=order)
            outputs = self._carry_out(held, ("execution order",), "whether it is the order in "
                                      "which the cells ran")  # fmt: skip
            restored = self._restored(outputs, cells)
            clean = {index: list(self.case.cells[index].outputs) for index in cells}
            self.case.in_any_order |= self._agree(clean, outputs, cells - restored)
            self._note(restored)
            if restored:
                self._conclude(restored, ran_before(self.case, restored))
            cells -= restored
        if cells and (again := self._perhaps_again()):
            self._again(cells, again)

    def _again(self, cells: frozenset[int], again: dict[int, int]) -> None:
        """Run cells as often as the counts leave room, all of them, then each alone."""
        tried = [again]
        if max(again.values()) > 1:
            tried.append(dict.fromkeys(again, 1))
        for more in tried:
            restored = self._repeat(cells, more)
            if restored is None:
                return
            left = restored
            # Of several the last before the first that differs is the likeliest.
            first = min(restored, default=0)
            for cell in sorted(more, key=lambda c: (c > first, -c)) if len(more) > 1 else ():
                alone = self._repeat(left, {cell: more[cell]}) if left else None
                if alone:
                    self._name_again(alone, cell, more[cell])
                    left -= alone
            if left:
                culprit = max((c for c in more if c <= min(left)), default=min(more))
                self._name_again(left, culprit, more[culprit])
            cells -= restored
        self.case.however_often |= cells

    def _repeat(self, cells: frozenset[int], more: dict[int, int]) -> frozenset[int] | None:
        """Return what comes out as stored where cells run again; None where that cannot be told."""
        if not self.budget.allows():
            return None
        held = Held(order=self._with_again(more))
        told = tuple(f"cell {cell} run {1 + missing} times" for cell, missing in more.items())
        outputs = self._carry_out(held, told, "whether it ran more than once")
        restored = None if outputs is None else self._restored(outputs, cells)
        self._note(restored or ())
        return restored

    def _name_again(self, cells: frozenset[int], cell: int, missing: int) -> None:
        self._conclude(cells, ran_again(self.case, cell, 1 + missing))

    def _in_order(self) -> tuple[int, ...]:
        """Return the cells in the order of their counts; nothing where that is the file's."""
        order = executed_order(self.case)
        return tuple(order) if self._counted() and order != sorted(order) else ()

    def _perhaps_again(self) -> dict[int, int]:
        """Return cells that may have run more than once, and how many runs more there may be."""
        again: dict[int, int] = {}
        took = self._durations()
        left = max(sum(took.values()), _SHORT)
        for cell, missing in gaps(self.case).items() if self._counted() else ():
            left -= took.get(cell, 0.0) * missing
            if missing <= _MOST and left >= 0 and not imports_only(self.case, cell):
                again[cell] = missing
        return again

    def _durations(self) -> dict[int, float]:
        """Return the seconds that cells took in the clean run."""
        rerun, found = self.case.rerun, dict[int, float]()
        for execution in rerun.code.cells if rerun is not None else ():
            cell = self.case.ran(execution.order, execution.index)
            if cell is not None:
                found[cell] = execution.duration or 0.0
        return found

    def _counted(self) -> bool:
        """Whether counts are all that is known, and of one kernel: none stands twice."""
        counts = [cell.count for cell in self.case.cells.values() if cell.count is not None]
        return self.case.record is None and len(set(counts)) == len(counts)

    def _with_again(self, more: Mapping[int, int]) -> tuple[int, ...]:
        """Return the cells in the order of their counts, some of them several times in a row."""
        return tuple(
            cell for index in executed_order(self.case)
            for cell in [index] * (1 + more.get(index, 0))
        )  # fmt: skip
