"""The repaired copy: written, run and verified, in rounds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import timezone
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.execute import read_notebook
from mlrepro_nb.execute.overlay import normal
from mlrepro_nb.model import REPRODUCED, Verification
from mlrepro_nb.store import write_atomically
from mlrepro_nb.verify._dated import date_of
from mlrepro_nb.verify._reference import locate
from mlrepro_nb.verify._verify import verify
from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.repair._apply import applied, origins, source_diff
from mlrepro_nb.verify.repair._edits import Edit, Proposal, Refusal
from mlrepro_nb.verify.repair._kernel import with_kernel
from mlrepro_nb.verify.repair._propose import propose

_ROUNDS = 8
"""Of proposing and verifying: what is repaired may hide what is broken below it."""


_OF_ITS_TIME = frozenset({
    "api-change", "exception", "kernelspec", "python2", "undeclared-dependency", "version-drift",
})  # fmt: skip


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, what was done about it, and what came of it."""

    before: Verification
    edits: tuple[Edit, ...] = ()
    refused: tuple[Refusal, ...] = ()
    """Causes that are left to a person."""
    diff: str = ""
    """Of the sources, unified."""
    fixed: str | None = None
    """Path of the copy; None where there was nothing to change."""
    requirements: str | None = None
    """Path of the file beside it that says what to install; None where nothing is needed."""
    after: Verification | None = None
    """Of the copy."""


def verify_and_repair(target: str | Path, *, output: Path | None = None, **options: Any) -> Repair:
    """Verify a notebook, and write a repaired copy of it if it does not reproduce.

    As long as the copy fails, what it then fails of is repaired as well.

    Parameters
    ----------
    target : str or Path
        The notebook.
    output : Path, optional
        The copy; by default ``NAME.fixed.ipynb`` beside the notebook.
    **options
        As for `verify`.

    Raises
    ------
    UsageError
        The target is no notebook file, or the copy would be written over it.
    """
    path = Path(target)
    if not path.is_file() or path.suffix != ".ipynb":
        raise UsageError("Only a notebook's file can be repaired.", "Name the .ipynb file.")
    place = output or path.with_name(f"{path.stem}.fixed.ipynb")
    if place.resolve() == path.resolve():
        raise UsageError(
            "The repaired copy would overwrite the notebook itself.", "Choose another --output."
        )
    cases: list[Case] = []
    before = verify(path, **options, observe=cases.append)
    if before.verdict in REPRODUCED:
        return Repair(before=before)
    copy = _Copy(path, place, {**options, "reruns": 0})
    proposal = (
        propose(cases[0], before.causes, copy.size) if cases else with_kernel(copy.nb, before)
    )
    after: Verification | None = None
    for _ in range(_ROUNDS):
        if not copy.take(proposal):
            break
        after = copy.verified()
        if after.verdict != "failed" or copy.case is None:
            break
        proposal = propose(copy.case, after.causes, copy.size)
    if _of_its_time(after or before):
        after = copy.as_of_then() or after
    if after is None:
        copy.forget(None)
        return Repair(before=before, refused=tuple(copy.refused))
    file = copy.requirements()
    after = copy.with_outputs(after)
    copy.forget(after)
    # What was refused in one round may have gone with what another one repaired.
    left = {cause.kind for cause in after.causes}
    return Repair(
        before=before, edits=tuple(copy.edits), diff=copy.diff(),
        refused=tuple(refusal for refusal in copy.refused if refusal.cause in left),
        fixed=str(place), requirements=None if file is None else str(file), after=after,
    )  # fmt: skip


class _Copy:
    """The copy of a notebook as it is repaired."""

    def __init__(self, path: Path, place: Path, options: dict[str, Any]) -> None:
        self.path, self.place, self.options = path, place, options
        self.original = read_notebook(path)
        self.name = path.name
        self.nb = read_notebook(path)
        self.origins: list[int | None] = list(range(self.size))
        self.edits: list[Edit] = []
        self.refused: list[Refusal] = []
        self.wanted: list[str] = []
        self.pins: list[str] = []
        self.case: Case | None = None
        self.runs: list[Verification] = []

    @property
    def size(self) -> int:
        """How many cells it has."""
        return len(self.nb.cells)

    def take(self, proposal: Proposal) -> bool:
        """Carry out what is new of a proposal; say whether anything was."""
        for refusal in proposal.refused:
            told = msgspec.structs.replace(refusal, cell=self._was(refusal.cell))
            if told not in self.refused:
                self.refused.append(told)
        new = [edit for edit in proposal.edits if self._told(edit) not in self.edits]
        needed = [e.source for e in new if e.action == "require" and self._require(e.source)]
        changing = [edit for edit in new if edit.action not in ("require", "outputs")]
        # Outputs are made anew at the end, and only if something is to be run.
        if not (needed or changing or (new and not self.edits)):
            return False
        fixed = applied(self.nb, new)
        self.edits += [self._told(edit) for edit in new]
        places = origins(self.size, new)
        self.origins = [None if place is None else self.origins[place] for place in places]
        self.nb = fixed
        _write(self.place, fixed)
        return True

    def _was(self, cell: int | None) -> int | None:
        return None if cell is None else self.origins[cell]

    def _told(self, edit: Edit) -> Edit:
        """Return an edit with its cells as they are counted in the original."""
        order = tuple(was for n in edit.order if (was := self.origins[n]) is not None)
        return msgspec.structs.replace(edit, cell=self._was(edit.cell), order=order)

    def _require(self, requirement: str) -> bool:
        """Add a requirement; of two versions of one distribution the older one has both names."""
        same = [w for w in self.wanted if normal(w) == normal(requirement)]
        if same and not _older(requirement, same[0]):
            return False
        self.wanted = [w for w in self.wanted if w not in same] + [requirement]
        return True

    def verified(self) -> Verification:
        """Run it with what it requires; what cannot be installed is refused, one by one."""
        kept: list[str] = []
        try:
            return self._run(self.wanted)
        except ToolError as error:
            if not self.wanted:
                raise
            tried, why = self.wanted, error
        for requirement in tried if len(tried) > 1 else ():
            try:
                found = self._run([*kept, requirement])
            except ToolError as error:  # noqa: PERF203 - one must not cost the others
                why = error
            else:
                kept.append(requirement)
        self.wanted = kept
        for requirement in tried:
            if requirement not in kept:
                edit = next(e for e in self.edits if e.source == requirement)
                self.refused.append(Refusal(
                    cause=edit.cause, cell=edit.cell, subject=requirement, why=why.message,
                ))  # fmt: skip
        # Without uv or the index the copy is still worth a look.
        return found if kept and tried[-1] in kept else self._run(kept)

    def _verify(self, **options: Any) -> Verification:
        found = verify(self.place, **options)
        self.runs.append(found)
        return found

    def forget(self, last: Verification | None) -> None:
        """Delete the executed copies of all runs but the last, of which nobody is told."""
        for run in self.runs:
            if run.executed and (last is None or run.executed != last.executed):
                Path(run.executed).unlink(missing_ok=True)

    def _run(self, wanted: Sequence[str]) -> Verification:
        cases: list[Case] = []
        after = self._verify(**self.options, requirements=list(wanted), observe=cases.append)
        self.case = cases[0] if cases else None
        self.pins = list(self.case.installed) if self.case is not None else list(wanted)
        return after

    def as_of_then(self) -> Verification | None:
        """Run it with what the package index had when the notebook was last changed.

        That is for what was written for libraries that are no more, and which no record tells.
        Returns None where there is no such environment, or it fails in that one, too.
        """
        if not self._may_ask() or self.options.get("exclude_newer"):
            return None
        at, _ = date_of(locate(self.path, store=None, notebook=None, outputs=None))
        moment = f"{at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        if not self.place.exists():
            _write(self.place, self.nb)
        cases: list[Case] = []
        try:
            after = self._verify(**{**self.options, "exclude_newer": moment}, observe=cases.append)
        except MlreproError:
            after = None
        if after is None or after.verdict == "failed" or not cases:
            if not self.edits:
                self.place.unlink(missing_ok=True)
            return None
        self.pins = list(cases[0].installed)
        ran = read_notebook(Path(str(after.executed))).metadata.get("language_info") or {}
        self.edits = [edit for edit in self.edits if edit.action != "require"]
        self.edits.append(Edit(
            cause="version-drift", action="environment", source=moment,
            what=f"It runs with Python {ran.get('version', '')} and what the package index had on "
            f"{moment[:10]}: mlrepro verify {self.place.name} --exclude-newer {moment}",
        ))  # fmt: skip
        self.options["exclude_newer"] = moment
        return after

    def _may_ask(self) -> bool:
        asked = self.options.get("index")
        limits = self.options.get("limits")
        recorded = self.options.get("environment", "current") == "recorded"
        offline = limits is not None and limits.offline
        return not recorded and bool(not offline if asked is None else asked)

    def requirements(self) -> Path | None:
        """Write what is to be installed into a file beside it."""
        if not self.pins:
            return None
        file = self._file()
        _put(file, "".join(f"{pin}\n" for pin in self.pins))
        return file

    def _file(self) -> Path:
        return self.place.with_name(f"{self.place.stem}.requirements.txt")

    def with_outputs(self, after: Verification) -> Verification:
        """Give it the outputs of its own run, and verify that, where its outputs were stale."""
        anew = any(edit.action == "outputs" for edit in self.edits)
        # With other sources the stored outputs may rightly be others: then those of a run from
        # the top are its outputs, and whether they come again is the question.
        if not anew or after.verdict in (*REPRODUCED, "failed") or not after.executed:
            return after
        _take_outputs(self.nb, read_notebook(Path(after.executed)))
        _write(self.place, self.nb)
        wanted = [] if self.options.get("exclude_newer") else self.pins
        return self._verify(**self.options, requirements=wanted)

    def diff(self) -> str:
        """Return what it differs in from the original, and what it requires."""
        told = source_diff(self.original, self.nb, (self.name, self.place.name))
        named = [(nb.metadata.get("kernelspec") or {}).get("name") for nb in
                 (self.original, self.nb)]  # fmt: skip
        if named[0] != named[1]:
            told = f"-kernelspec: {named[0]}\n+kernelspec: {named[1]}\n{told}"
        if self.pins:
            lines = [f"{pin}\n" for pin in self.pins]
            told += "".join(difflib.unified_diff([], lines, "/dev/null", self._file().name))
        return told


def _of_its_time(found: Verification) -> bool:
    """Whether a notebook fails, and only of what other libraries or another Python would give."""
    kinds = {cell.cause.kind for cell in found.cells if cell.verdict == "failed" and cell.cause}
    return bool(kinds) and kinds <= _OF_ITS_TIME


def _older(one: str, other: str) -> bool:
    """Whether an exact pin is of an older version than another, or says more than a bare name."""
    from packaging.version import InvalidVersion, Version

    versions = [text.partition("==")[2] for text in (one, other)]
    if not versions[0] or not versions[1]:
        return bool(versions[0])
    try:
        return Version(versions[0]) < Version(versions[1])
    except InvalidVersion:
        return False


def _take_outputs(nb: Any, executed: Any) -> None:
    ran = [c for c in executed.cells if c.cell_type == "code"]
    injected = [c for c in ran if "injected-parameters" in (c.metadata.get("tags") or ())]
    mine = [c for c in nb.cells if c.cell_type == "code"]
    if len(ran) != len(mine):
        ran = [c for c in ran if c not in injected]
    for cell, other in zip(mine, ran, strict=False):
        cell.outputs, cell.execution_count = other.outputs, other.execution_count


def _write(path: Path, nb: Any) -> None:
    import nbformat

    _put(path, nbformat.writes(nb) + "\n")


def _put(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Name a file in a folder that exists."
        ) from None
