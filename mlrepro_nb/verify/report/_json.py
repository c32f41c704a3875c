"""Several notebooks' outcomes as one document, and documents put together again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Verdict, Verification
from mlrepro_nb.verify._task import Outcome, Problem

_ORDER = (
    "bitwise", "within-tolerance", "statistically-equivalent", "consistent", "inconclusive",
    "different", "failed",
)  # fmt: skip


class Unverified(msgspec.Struct, frozen=True, kw_only=True):
    """A notebook that could not be verified."""

    notebook: str
    error: Problem


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What `mlrepro verify --json` prints of several notebooks."""

    verdict: Verdict | None
    """The worst; None where there is none at all."""
    totals: dict[str, int]
    notebooks: tuple[Verification | Unverified, ...]


def summary(outcomes: Sequence[Outcome]) -> Summary:
    """Return one document of outcomes, in the order of their notebooks."""
    ordered = sorted(outcomes, key=lambda outcome: (outcome.notebook, outcome.target))
    totals: dict[str, int] = {"notebooks": len(ordered)}
    listed: list[Verification | Unverified] = []
    for outcome in ordered:
        found = outcome.verification
        word = found.verdict if found is not None else "error"
        totals[word] = totals.get(word, 0) + 1
        listed.append(found or Unverified(
            notebook=outcome.notebook, error=outcome.problem or Problem(message="unknown")
        ))  # fmt: skip
    return Summary(
        verdict=worst(ordered), totals=dict(sorted(totals.items())), notebooks=tuple(listed)
    )


def worst(outcomes: Sequence[Outcome]) -> Verdict | None:
    """Return the worst verdict."""
    found = [o.verification.verdict for o in outcomes if o.verification is not None]
    return max(found, key=_ORDER.index, default=None)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the worst exit code: what could not be verified counts more than what differs."""
    return max((outcome.exit_code for outcome in outcomes), default=0)


def read(files: Sequence[Path]) -> list[Outcome]:
    """Return the outcomes in files that ``--results`` wrote; of a notebook the last counts.

    Raises
    ------
    UsageError
        One of them is not such a file.
    """
    found: dict[str, Outcome] = {}
    for file in sorted(files):
        try:
            outcomes = msgspec.json.decode(file.read_bytes(), type=list[Outcome])
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError(
                f"{file} holds no results: {error}.", "Name files that --results wrote."
            ) from None
        found |= {outcome.target: outcome for outcome in outcomes}
    return list(found.values())
