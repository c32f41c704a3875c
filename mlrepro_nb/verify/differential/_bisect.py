"""The release of a library that changed what a cell gives, found between two of them.

What the recorded version gives is known, and what the installed one: each further run halves
the releases between them. All that differs from the record besides is as recorded in them.
A release that does not install, or fails where both of these do not, tells nothing: as with
``git bisect skip`` another one is run instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from mlrepro_nb.connect import releases
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import Cause, Trial
from mlrepro_nb.verify._reference import raised
from mlrepro_nb.verify.attribute import Case, Output
from mlrepro_nb.verify.attribute.case import cause
from mlrepro_nb.verify.attribute.environment import other_python, recorded_versions
from mlrepro_nb.verify.differential._conditions import Held
from mlrepro_nb.verify.differential._runs import Go, Same

Tell = Callable[[str], object]
RUNS = 12
"""Runs at most for one distribution: enough for 4000 releases, less those that do not install."""


def bisect(
    case: Case, go: Go, same: Same, *, runs: int = RUNS, tell: Tell = lambda _: None
) -> list[Trial]:
    """Find the release behind each confirmed drift of one distribution; return what was run.

    Parameters
    ----------
    case : Case
        Investigated; what is found becomes part of its confirmed causes.
    go, same : callable
        As `investigate` takes them.
    runs : int
        How often the notebook may be run for one distribution.
    tell : callable
        Is told the progress.
    """
    trials: list[Trial] = []
    if other_python(case):
        return trials
    cells: dict[str, list[int]] = {}
    for index, causes in case.confirmed.items():
        for found in causes:
            if found.kind == "version-drift" and found.subject in recorded_versions(case):
                cells.setdefault(found.subject, []).append(index)
    for name, there in cells.items():
        trials += _Bisection(case, go, same, name, there, runs, tell).search()
    return trials


_UNFINISHED = ("DeadKernelError", "TimeoutError")


def _fraction(number: int) -> float:
    """Return a place between 0 and 1, far from those of the numbers before: 1/2, 1/4, 3/4, 1/8."""
    place, step = 0.0, 0.5
    while number:
        number, bit = divmod(number, 2)
        place, step = place + bit * step, step / 2
    return place


class _Bisection:
    def __init__(
        self, case: Case, go: Go, same: Same, name: str, cells: list[int], runs: int, tell: Tell
    ) -> None:
        self.case, self.go, self.same, self.tell = case, go, same, tell
        self.name, self.cells, self.runs = name, cells, runs
        self.trials: list[Trial] = []
        self.skipped: list[str] = []
        assert case.rerun is not None
        self.base = recorded_versions(case)
        self.before = self.base[name]
        now = {d.name: d.version for d in case.rerun.environment.distributions}
        self.after = now.get(name)
        self.python = case.rerun.environment.python.rstrip("+")

    def search(self) -> list[Trial]:
        if self.after is None:
            return []
        listed = self._between()
        if listed is None:
            return self.trials
        # Where others have changed, too, it is to be seen that this one alone makes it different.
        alone = self._gives_the_recorded(self.after) if len(self.base) > 1 else False
        if alone is None:
            self._say(f"with {self.name} {self.after} and all else as recorded it could not be "
                      "run, so no release of it was tried")  # fmt: skip
            return self.trials
        if alone:
            self._say(f"with {self.name} {self.after} and all else as recorded it is as recorded "
                      f"nevertheless: not {self.name} alone changed it")  # fmt: skip
            return self.trials
        good, bad = self.before, self.after
        left, passed = listed, 0
        while left and self.runs > 0:
            # Broken releases come in a row: what is tried next lies far from the last one.
            middle = left[int(len(left) * _fraction(passed + 1))]
            self.tell(
                f"bisecting {self.name}: between {good} and {bad}, {len(left)} "
                f"release{'s' if left[1:] else ''} left"
            )
            told = self._gives_the_recorded(middle)
            place = left.index(middle)
            if told is None:
                self.skipped.append(middle)
                left = [version for version in left if version != middle]
                passed += 1
            elif told:
                good, left, passed = middle, left[place + 1 :], 0
            else:
                bad, left, passed = middle, left[:place], 0
        listed = [self.before, *listed, self.after]
        between = listed[listed.index(good) + 1 : listed.index(bad)]
        self._tell(good, bad, left, [version for version in between if version in self.skipped])
        return self.trials

    def _between(self) -> list[str] | None:
        """Return the releases between the two, from the recorded one on, that can be installed."""
        from packaging.version import InvalidVersion, Version

        try:
            one, other = Version(self.before), Version(str(self.after))
            found = releases.releases(self.name) or []
        except InvalidVersion:
            return None
        except MlreproError as error:
            self.trials.append(Trial(
                conditions=("environment", self.name), why="which release changed it",
                problem=error.message,
            ))  # fmt: skip
            return None
        low, high = sorted((one, other))
        fitting = [
            r.version for r in found
            if low < Version(r.version) < high and r.usable(self.python)
        ]  # fmt: skip
        return fitting if one < other else fitting[::-1]

    def _gives_the_recorded(self, version: str | None) -> bool | None:
        """Run with a version: whether all cells are as recorded; None where that cannot be told."""
        self.runs -= 1
        conditions = ("environment", f"{self.name}=={version}")
        why = f"which release of {self.name} changed it"
        held = Held(conditions=("environment",), versions={**self.base, self.name: str(version)})
        try:
            outputs = self.go(held)
        except MlreproError as error:
            self.trials.append(Trial(conditions=conditions, why=why, problem=error.message))
            return None
        if broken := self._broken(outputs):
            self.trials.append(Trial(conditions=conditions, why=why, problem=broken))
            return None
        restored = [
            cell for cell in self.cells
            if self.same(cell, list(self.case.cells[cell].reference), outputs.get(cell, []))
        ]  # fmt: skip
        self.trials.append(Trial(conditions=conditions, why=why, told=tuple(restored)))
        return len(restored) == len(self.cells)

    def _broken(self, outputs: Mapping[int, list[Output]]) -> str | None:
        """Say what fails in a run that fails neither in the reference nor as it is here."""
        needed = {up for cell in self.cells for up in self.case.flow.upstream(cell)}
        for index in sorted(needed | set(self.cells)):
            seen = self.case.cells[index]
            if index not in outputs:
                if index in self.cells and (seen.error or {}).get("ename") not in _UNFINISHED:
                    return f"cell {index} was not reached"
                continue
            known = {e.get("ename") for e in (raised(seen.reference), seen.error,
                                              raised(seen.outputs)) if e}  # fmt: skip
            error = raised(outputs[index])
            if error is not None and error.get("ename") not in known:
                return f"cell {index} raised {error.get('ename')}: {error.get('evalue')}"[:200]
        return None

    def _tell(self, good: str, bad: str, left: list[str], between: list[str]) -> None:
        count = len(self.trials)
        ran = f"{count} run{'' if count == 1 else 's'}" if count else (
            "no release lies between"
        )  # fmt: skip
        rest = [version for version in self.skipped if left or version not in between]
        skipped = f"; {', '.join(rest)} could not be run" if rest else ""
        if left:
            said = (f"{self.name} {good} still gives it as recorded, {bad} does not; "
                    f"{len(left)} releases between them were not tried")  # fmt: skip
        elif between:
            said = (f"{self.name} {good} still gives it as recorded, {bad} does not; "
                    f"{', '.join(between)} between them could not be run")  # fmt: skip
        else:
            said = (f"{self.name} {bad} is the release that changed it, {good} gives it as "
                    "recorded")  # fmt: skip
        self._say(f"{said} ({ran}{skipped})", good, bad)

    def _say(self, said: str, good: str | None = None, bad: str | None = None) -> None:
        for index in self.cells:
            self.case.confirmed[index] = [
                self._told(found, said, good, bad) if found.subject == self.name else found
                for found in self.case.confirmed[index]
            ]

    def _told(self, found: Cause, said: str, good: str | None, bad: str | None) -> Cause:
        fix, pin = found.fix, found.requirement
        if good is not None and bad is not None:
            pin = f"{self.name}=={good}"
            fix = (
                f"Install the last release that gives the recorded result: pip install '{pin}'; "
                f"or port cell {found.cell} to {self.name} {bad}"
            )
        made = cause(
            found.kind, found.cell, found.subject, f"{found.evidence} Bisected: {said}", fix,
            requirement=pin,
        )  # fmt: skip
        return msgspec.structs.replace(made, confidence=found.confidence)
