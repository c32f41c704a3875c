"""A notebook whose kernel is not installed: that is a verdict, though nothing ran."""

from __future__ import annotations

from collections.abc import Mapping

from mlrepro_nb.execute import MissingKernel
from mlrepro_nb.model import Cause, CellVerdict, Verification, timestamp
from mlrepro_nb.verify._reference import Reference
from mlrepro_nb.verify._words import NEVER_REACHED
from mlrepro_nb.verify.attribute import Seen


def without_kernel(
    found: Reference, cells: Mapping[int, Seen], missing: MissingKernel
) -> Verification:
    """Return the verification of a notebook that no installed kernel can run."""
    named = f"The notebook names the kernel {missing.name!r} ({missing.language})"
    said = f"{named}, which is not installed here"
    python2 = missing.language == "python2"
    cause = Cause(
        kind="python2" if python2 else "kernelspec",
        cell=None,
        subject=missing.name,
        evidence=f"{said}: nothing was run.",
        fix=missing.remedy,
    )
    return Verification(
        verdict="failed",
        notebook=found.name,
        record=found.digest,
        cells=tuple(
            CellVerdict(
                index=cell.index, id=cell.id, verdict="failed", cause=cause, detail=NEVER_REACHED
            )
            for cell in cells.values()
            if cell.executed
        ),
        causes=(cause,),
        notes=(f"{said}.",),
        created=timestamp(),
    )
