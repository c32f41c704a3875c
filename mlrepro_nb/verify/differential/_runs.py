"""Runs of a case, as many as may be: what each was, and which outputs it gave back."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import Cause, Trial
from mlrepro_nb.verify.attribute import Case, Output
from mlrepro_nb.verify.differential._conditions import Condition, Held, hold

Outputs = dict[int, list[Output]]
Go = Callable[[Held], Outputs]
"""Runs the notebook under conditions and returns what its cells gave out."""
Same = Callable[[int, list[Output], list[Output]], bool]
"""Whether two outputs of a cell agree; the first is the reference's where they are told apart."""


class Budget(msgspec.Struct):
    """How many reruns there may still be."""

    left: int

    def allows(self, count: int = 1) -> bool:
        """Whether so many are left."""
        return self.left >= count


class Runs:
    """Runs a case under conditions, and keeps in `trials` what was run and what it told."""

    def __init__(self, case: Case, go: Go, same: Same, budget: Budget, trials: list[Trial]) -> None:
        self.case, self.go, self.same, self.budget = case, go, same, budget
        self.trials = trials

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

    def _conclude(self, cells: Collection[int], found: Cause) -> None:
        """Take a cause for sure of some cells."""
        for cell in sorted(cells):
            self.case.confirmed.setdefault(cell, []).append(
                msgspec.structs.replace(found, confidence="confirmed")
            )

    def _note(self, cells: Collection[int]) -> None:
        if self.trials:
            self.trials[-1] = msgspec.structs.replace(self.trials[-1], told=tuple(sorted(cells)))
