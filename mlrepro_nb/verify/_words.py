"""What a verification says in a sentence."""

from __future__ import annotations

from mlrepro_nb.model import REPRODUCED, Verification

NEVER_REACHED = "the run ended before it"
"""What is said of a cell that was not run because the kernel was gone."""


def sentence(found: Verification) -> str:
    """Return the verdict in a sentence."""
    if found.runs:
        return _of_runs(found)
    counted = [cell for cell in found.cells if cell.verdict != "inconclusive"]
    off = [cell for cell in counted if cell.verdict not in REPRODUCED]
    what = f"{found.notebook}: "
    if found.verdict == "inconclusive":
        return what + "it ran, and there was nothing to compare with: no outputs, no record."
    known = (
        "its record and stored outputs"
        if found.record
        else "its stored outputs, all that was known"
    )
    if found.verdict == "bitwise":
        return f"{what}reproduced bit for bit: {len(counted)} cells agree with {known}."
    if found.verdict in REPRODUCED:
        return f"{what}reproduced: {len(counted)} cells agree with {known}, up to noise."
    word = "failed" if found.verdict == "failed" else "not reproduced"
    return f"{what}{word}: {len(off)} of {len(counted)} cells are not as in {known}."


_OF_RUNS = {
    "statistically-equivalent": "reproduced: statistically equivalent",
    "consistent": "consistent with its record, which is less than equivalent",
    "inconclusive": "inconclusive",
    "different": "not reproduced: the metrics differ",
    "failed": "failed: no run gave anything",
}


def _of_runs(found: Verification) -> str:
    """Return the verdict on several runs in a sentence."""
    good = sum(run.problem is None for run in found.runs)
    ran = f"{good} of {len(found.runs)} runs" if good < len(found.runs) else f"{good} runs"
    held = max((len(one.reference) for one in found.metrics), default=0)
    names = ", ".join(one.metric for one in found.metrics)
    against = f" of {names} against {held} of reference" if names else ""
    return f"{found.notebook}: {_OF_RUNS.get(found.verdict, found.verdict)} ({ran}{against})."
