"""The repaired copy: written, run and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.errors import UsageError
from mlrepro_nb.execute import read_notebook
from mlrepro_nb.model import REPRODUCED, Verification
from mlrepro_nb.store import write_atomically
from mlrepro_nb.verify._verify import verify
from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.repair._apply import applied, source_diff
from mlrepro_nb.verify.repair._edits import Edit, Refusal
from mlrepro_nb.verify.repair._propose import propose


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
    if before.verdict in REPRODUCED or not cases:
        return Repair(before=before)
    nb = read_notebook(path)
    proposal = propose(cases[0], before.causes, len(nb.cells))
    if not proposal.edits:
        return Repair(before=before, refused=proposal.refused)
    fixed = applied(nb, proposal.edits)
    _write(place, fixed)
    anew = any(edit.action == "outputs" for edit in proposal.edits)
    once = {**options, "reruns": 0}
    after = verify(place, **once)
    # With other sources the stored outputs may rightly be others: then those of a run from
    # the top are its outputs, and whether they come again is the question.
    if anew and after.verdict not in (*REPRODUCED, "failed") and after.executed:
        _take_outputs(fixed, read_notebook(Path(after.executed)))
        _write(place, fixed)
        after = verify(place, **once)
    return Repair(
        before=before, edits=proposal.edits, refused=proposal.refused,
        diff=source_diff(nb, fixed, (path.name, place.name)), fixed=str(place), after=after,
    )  # fmt: skip


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

    try:
        text = nbformat.writes(nb) + "\n"
        write_atomically(path, text.encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Name a file in a folder that exists."
        ) from None
