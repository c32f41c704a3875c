"""The reruns themselves: each tells of one condition whether a cell's output hangs on it."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import Cause, Trial
from mlrepro_nb.verify.attribute import (
    Case,
    Output,
    is_explained,
    may_agree_by_chance,
    of_condition,
)
from mlrepro_nb.verify.attribute.environment import (
    confirmed_drift,
    imported_by,
    recorded_versions,
)
from mlrepro_nb.verify.attribute.order import ran_again, ran_before
from mlrepro_nb.verify.differential import _history
from mlrepro_nb.verify.differential._conditions import Condition, Held, hold
from mlrepro_nb.verify.differential._plan import Suspicion, suspicions

Outputs = dict[int, list[Output]]
Go = Callable[[Held], Outputs]
"""Runs the notebook under conditions and returns what its cells gave out."""
Same = Callable[[int, list[Output], list[Output]], bool]
"""Whether two outputs of a cell agree; the first is the reference's where they are told apart."""


_REPLAY: tuple[Condition, ...] = ("replay",)
_MORE = 3
"""Runs more in which clean runs must agree where they may have agreed by chance."""


class Budget(msgspec.Struct):
    """How many reruns there may still be."""

    left: int

    def allows(self, count: int = 1) -> bool:
        """Whether so many are left."""
        return self.left >= count


def investigate(case: Case, go: Go, same: Same, budget: Budget) -> list[Trial]:
    """Run a case under conditions until the causes of its cells are sure; return what was run.

    The causes are put into `case.confirmed`, several for a cell where several hold.
    """
    search = _Search(case, go, same, budget)
    search.coincidence()
    search.history()
    if any(cell.repeats is False for cell in case.cells.values()):
        search.replay()
        search.chance()
    search.change()
    return search.trials


class _Search:
    def __init__(self, case: Case, go: Go, same: Same, budget: Budget) -> None:
        self.case, self.go, self.same, self.budget = case, go, same, budget
        self.trials: list[Trial] = []

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

    def history(self) -> None:
        """Run the cells in the order of their counts, and as often as those leave room."""
        cells = frozenset(
            index for index, cell in self.case.cells.items()
            if cell.differs and cell.error is None and cell.repeats is not False
            and index not in self.case.confirmed
        )  # fmt: skip
        if cells and (order := _history.in_order(self.case)) and self.budget.allows():
            held = Held(order=order)
            outputs = self._carry_out(held, ("execution order",), "whether it is the order in "
                                      "which the cells ran")  # fmt: skip
            restored = self._restored(outputs, cells)
            clean = {index: list(self.case.cells[index].outputs) for index in cells}
            self.case.in_any_order |= self._agree(clean, outputs, cells - restored)
            self._note(restored)
            if restored:
                self._conclude(restored, ran_before(self.case, restored), "with the cells run in "
                               "the order of their execution counts it is as stored")  # fmt: skip
            cells -= restored
        if cells and (again := _history.perhaps_again(self.case)):
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
        held = Held(order=_history.with_again(self.case, more.items()))
        told = tuple(f"cell {cell} run {1 + missing} times" for cell, missing in more.items())
        outputs = self._carry_out(held, told, "whether it ran more than once")
        restored = None if outputs is None else self._restored(outputs, cells)
        self._note(restored or ())
        return restored

    def _name_again(self, cells: frozenset[int], cell: int, missing: int) -> None:
        self._conclude(cells, ran_again(self.case, cell, 1 + missing), "run as often as the "
                       "execution counts leave room it is as stored")  # fmt: skip

    def _conclude(self, cells: frozenset[int], found: Cause, evidence: str) -> None:
        told = f"{found.evidence} Reruns show it: {evidence}."
        for cell in sorted(cells):
            self.case.confirmed.setdefault(cell, []).append(
                msgspec.structs.replace(found, evidence=told, confidence="confirmed")
            )

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

    def _run(self, conditions: Collection[Condition], why: str) -> Outputs | None:
        return self._carry_out(hold(conditions, self.case), conditions, why)

    def _carry_out(self, held: Held, conditions: Collection[str], why: str) -> Outputs | None:
        self.budget.left -= 1
        try:
            outputs = self.go(held)
        except MlreproError as error:
            self.trials.append(Trial(conditions=tuple(conditions), why=why, problem=error.message))
            return None
        self.trials.append(Trial(conditions=tuple(conditions), why=why))
        return outputs

    def _restored(self, outputs: Outputs | None, cells: frozenset[int]) -> frozenset[int]:
        return frozenset(
            cell for cell in cells
            if outputs is not None
            and self.same(cell, list(self.case.cells[cell].reference), outputs.get(cell, []))
        )  # fmt: skip

    def _agree(
        self, one: Outputs | None, other: Outputs | None, cells: frozenset[int]
    ) -> frozenset[int]:
        if one is None or other is None:
            return frozenset()
        return frozenset(c for c in cells if self.same(c, one.get(c, []), other.get(c, [])))

    def _name(self, cells: Collection[int], condition: Condition, evidence: str) -> None:
        for cell in sorted(cells):
            found = of_condition(self.case, cell, condition, evidence)
            self.case.confirmed.setdefault(cell, []).append(found)

    def _note(self, cells: Collection[int]) -> None:
        if self.trials:
            self.trials[-1] = msgspec.structs.replace(self.trials[-1], told=tuple(sorted(cells)))


def _reasons(suspects: list[Suspicion]) -> str:
    return "; ".join(f"{s.condition}: {s.why}" for s in suspects)
