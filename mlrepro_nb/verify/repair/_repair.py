"""The repaired copy: written, run and verified."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.execute import missing_kernel, read_notebook
from mlrepro_nb.model import REPRODUCED, Verification
from mlrepro_nb.store import write_atomically
from mlrepro_nb.verify._verify import verify
from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.repair._apply import applied, source_diff
from mlrepro_nb.verify.repair._edits import Edit, Refusal
from mlrepro_nb.verify.repair._propose import propose

_ROUNDS = 5


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
    nb = read_notebook(path)
    if not cases:
        return _with_kernel(nb, place, before, options)
    proposal = propose(cases[0], before.causes, len(nb.cells))
    if not proposal.edits:
        return Repair(before=before, refused=proposal.refused)
    fixed = applied(nb, proposal.edits)
    _write(place, fixed)
    anew = any(edit.action == "outputs" for edit in proposal.edits)
    wanted = [edit.source for edit in proposal.edits if edit.action == "require"]
    edits, refused = list(proposal.edits), list(proposal.refused)
    once = {**options, "reruns": 0}
    try:
        after, pins, more = _with_all(place, once, wanted)
    except ToolError as error:
        if not wanted:
            raise
        # Without uv or the index the copy is still worth a look.
        needed = [edit for edit in edits if edit.action == "require"]
        refused += [
            Refusal(cause=edit.cause, cell=edit.cell, subject=edit.source, why=error.message)
            for edit in needed
        ]
        after, pins, more = verify(place, **once), wanted, []
    edits += more
    file = place.with_name(f"{place.stem}.requirements.txt") if pins else None
    if file is not None:
        _put(file, "".join(f"{pin}\n" for pin in pins))
    # With other sources the stored outputs may rightly be others: then those of a run from
    # the top are its outputs, and whether they come again is the question.
    if anew and after.verdict not in (*REPRODUCED, "failed") and after.executed:
        _take_outputs(fixed, read_notebook(Path(after.executed)))
        _write(place, fixed)
        after = verify(place, **once, requirements=pins)
    diff = source_diff(nb, fixed, (path.name, place.name))
    if file is not None:
        lines = [f"{pin}\n" for pin in pins]
        diff += "".join(difflib.unified_diff([], lines, "/dev/null", file.name))
    return Repair(
        before=before, edits=tuple(edits), refused=tuple(refused), diff=diff, fixed=str(place),
        requirements=None if file is None else str(file), after=after,
    )  # fmt: skip


def _with_kernel(nb: Any, place: Path, before: Verification, options: dict[str, Any]) -> Repair:
    """Have a copy name an installed kernel of the same language, where its own is missing."""
    missing = missing_kernel(nb)
    if missing is None or missing.substitute is None:
        return Repair(before=before, refused=tuple(
            Refusal(cause=cause.kind, cell=None, subject=cause.subject, why=cause.fix)
            for cause in before.causes
        ))  # fmt: skip
    nb.metadata["kernelspec"] = {
        "name": missing.substitute, "display_name": "Python 3", "language": missing.language,
    }  # fmt: skip
    _write(place, nb)
    what = f"It names the kernel {missing.substitute}, which is installed, not {missing.name}."
    edit = Edit(cause="kernelspec", action="kernel", source=missing.substitute, what=what)
    after = verify(place, **{**options, "reruns": 0})
    diff = f"-kernelspec: {missing.name}\n+kernelspec: {missing.substitute}\n"
    return Repair(before=before, edits=(edit,), diff=diff, fixed=str(place), after=after)


def _with_all(
    place: Path, options: dict[str, Any], wanted: list[str]
) -> tuple[Verification, list[str], list[Edit]]:
    """Verify a copy with what it requires; what it then turns out to lack is added.

    Returns the exact pins, and the edits that were added: an import that failed hides the
    next one of its cell.
    """
    more: list[Edit] = []
    for _ in range(_ROUNDS):
        cases: list[Case] = []
        after = verify(place, **options, requirements=wanted, observe=cases.append)
        new = [
            Edit(cause=cause.kind, action="require", cell=cause.cell, source=lacking,
                 what=f"{lacking} is required, too.")
            for cause in after.causes
            if cause.kind == "undeclared-dependency"
            and (lacking := cause.requirement) is not None and lacking not in wanted
        ]  # fmt: skip
        if not new:
            break
        more += new
        wanted = [*wanted, *(edit.source for edit in new)]
    return after, list(cases[0].installed) if cases else wanted, more


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
