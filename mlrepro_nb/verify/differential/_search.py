"""The reruns themselves: each tells of one condition whether a cell's output hangs on it."""

from __future__ import annotations

from collections.abc import Collection

from mlrepro_nb.model import Trial
from mlrepro_nb.verify.attribute import (
    Case,
    is_explained,
    may_agree_by_chance,
    of_condition,
)
from mlrepro_nb.verify.attribute.environment import (
    confirmed_drift,
    imported_by,
    recorded_versions,
)
from mlrepro_nb.verify.differential._conditions import Condition, Held
from mlrepro_nb.verify.differential._history import History
from mlrepro_nb.verify.differential._plan import Suspicion, suspicions
from mlrepro_nb.verify.differential._runs import Budget, Go, Runs, Same

_REPLAY: tuple[Condition, ...] = ("replay",)
_MORE = 3
"""Runs more in which clean runs must agree where they may have agreed by chance."""


def investigate(case: Case, go: Go, same: Same, budget: Budget) -> list[Trial]:
    """Run a case under conditions until the causes of its cells are sure; return what was run.

    The causes are put into `case.confirmed`, several for a cell where several hold.
    """
    trials: list[Trial] = []
    search = _Search(case, go, same, budget, trials)
    search.coincidence()
    History(case, go, same, budget, trials).tell()
    if any(cell.repeats is False for cell in case.cells.values()):
        search.replay()
        search.chance()
    search.change()
    return trials


class _Search(Runs):
    def coincidence(self) -> None:
        """Run on where two clean runs agree and an unseeded draw may be why they should not.

        Of an accuracy on a few rows, or the order of two names, two runs often give the same.
        """
        cells = self.case.cells
        left = {
            index for index, cell in cells.items()
            if cell.differs and cell.error is None and cell.repeats
            and not is_explained(self.case, index) and may_agree_by_chance(self.case, index)
        }  # fmt: skip
        for _ in range(_MORE):
            if not left or not self.budget.allows():
                return
            outputs = self._run((), "whether two runs agreed by chance")
            if outputs is None:
                return
            first = {index: list(cells[index].outputs) for index in left}
            other = left - self._agree(first, outputs, frozenset(left))
            for index in other:
                cells[index].repeats = False
            self._note(other)
            left -= other

    def replay(self) -> None:
        """Feed back what the recorded run drew: what comes out as recorded hung on that."""
        record = self.case.record
        if record is None or record.randomness.replay is None or self.case.store is None:
            return
        wanted = [s for s in suspicions(self.case, chance=True) if s.condition == "seeds"]
        if not wanted or not self.budget.allows():
            return
        outputs = self._run(_REPLAY, wanted[0].why)
        restored = self._restored(outputs, wanted[0].cells)
        self._name(restored, "seeds", "with the recorded entropy fed back it is as recorded")
        self._note(restored)

    def chance(self) -> None:
        """Hold all suspects still, then let go of one at a time: what moves then hangs on it."""
        left = [s for s in suspicions(self.case, chance=True) if s.cells - set(self.case.confirmed)]
        if not left or not self.budget.allows(2):
            return
        left = left[: max(1, self.budget.left - 1)]
        everything = tuple(s.condition for s in left)
        cells = frozenset().union(*(s.cells for s in left)) - set(self.case.confirmed)
        base = self._run(everything, _reasons(left))
        if base is None:
            return
        if len(left) == 1:
            again = self._run(everything, "whether nothing else is left to chance")
            still = self._agree(base, again, cells)
            self._name(still, left[0].condition, "two runs in which only that is fixed agree")
            self._note(still)
            return
        moved: dict[int, list[Suspicion]] = {}
        for suspect in left:
            if not self.budget.allows():
                break
            rest = tuple(c for c in everything if c != suspect.condition)
            outputs = self._run(rest, f"all but {suspect.condition} fixed: {suspect.why}")
            if outputs is None:
                continue
            # What comes out as before does not hang on what was let go.
            other = cells - self._agree(base, outputs, cells)
            self._note(other)
            for cell in other:
                moved.setdefault(cell, []).append(suspect)
        doubtful = {cell for cell, found in moved.items() if len(found) == len(left)}
        # What moves whatever is let go hangs on something else, unless it stands still as a whole.
        if doubtful:
            why = "whether nothing else is left to chance"
            again = self._run(everything, why) if self.budget.allows() else None
            still = self._agree(base, again, frozenset(doubtful))
            moved = {c: found for c, found in moved.items() if c not in doubtful or c in still}
        for cell, found in sorted(moved.items()):
            for suspect in found:
                self._name({cell}, suspect.condition, "with the other suspects fixed it alone "
                           "changes the output")  # fmt: skip

    def change(self) -> None:
        """Put back one thing at a time, then all that was tried together."""
        left = suspicions(self.case, chance=False)
        open_cells = frozenset().union(*(s.cells for s in left)) if left else frozenset()
        for suspect in left:
            if not self.budget.allows():
                return
            outputs = self._run((suspect.condition,), suspect.why)
            restored = self._restored(outputs, suspect.cells)
            if suspect.condition == "environment":
                self._note(restored)
                self._drift(restored)
                open_cells -= restored
                continue
            self._name(restored, suspect.condition, "under that condition it is as stored")
            self._note(restored)
            open_cells -= restored
        if len(left) > 1 and open_cells and self.budget.allows():
            every = tuple(s.condition for s in left)
            restored = self._restored(self._run(every, "all of them together"), open_cells)
            for suspect in left:
                if suspect.condition == "environment":
                    self._confirm(restored & suspect.cells, f"with {' and '.join(every)} held it "
                                  "is as stored")  # fmt: skip
                    continue
                self._name(restored & suspect.cells, suspect.condition,
                           f"with {' and '.join(every)} held it is as stored")  # fmt: skip
            self._note(restored)

    def _drift(self, cells: frozenset[int]) -> None:
        """Say which distribution it is of those that were put back: one of what is imported."""
        versions = recorded_versions(self.case)
        left = set(cells)
        imported = {cell: imported_by(self.case, cell) for cell in cells}
        names = sorted({n for found in imported.values() for n in found if n in versions})
        if len(versions) > 1:
            for name in names:
                about = frozenset(cell for cell in left if name in imported[cell])
                if not about or not self.budget.allows():
                    continue
                held = Held(conditions=("environment",), versions={name: versions[name]})
                outputs = self._carry_out(
                    held, (*held.conditions, f"{name}=={versions[name]}"),
                    f"whether it is {name} alone",
                )  # fmt: skip
                alone = self._restored(outputs, about)
                self._note(alone)
                self._confirm(alone, f"with {name} {versions[name]} and all else as it is here it "
                              "is as recorded", name)  # fmt: skip
                left -= alone
        self._confirm(left, "with the recorded versions it is as recorded")

    def _confirm(self, cells: Collection[int], evidence: str, name: str | None = None) -> None:
        for cell in sorted(cells):
            found = confirmed_drift(self.case, cell, evidence, name)
            if found is not None:
                self.case.confirmed.setdefault(cell, []).append(found)

    def _name(self, cells: Collection[int], condition: Condition, evidence: str) -> None:
        for cell in sorted(cells):
            found = of_condition(self.case, cell, condition, evidence)
            self.case.confirmed.setdefault(cell, []).append(found)


def _reasons(suspects: list[Suspicion]) -> str:
    return "; ".join(f"{s.condition}: {s.why}" for s in suspects)
