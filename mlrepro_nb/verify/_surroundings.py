"""Where and within what a notebook is run again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from mlrepro_nb.errors import UsageError
from mlrepro_nb.execute import NATIVE, Limits, Nursery
from mlrepro_nb.model import Report
from mlrepro_nb.verify._reference import Reference

_LONG = 3600.0
"""Seconds that any notebook may take; one that was recorded may take longer than it did then."""
_TIMES = 10


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where and within what a notebook is run again."""

    nursery: Nursery
    limits: Limits = Limits()
    interpreter: str | None = None
    """Python to use instead of the kernelspec's."""
    extra: tuple[str, ...] = ()
    """Folders for what that Python lacks of what a kernel and the recorder need."""
    pins: tuple[str, ...] = ()
    """What that Python has, where it was made for this run."""
    kernel: str | None = None
    """The kernelspec to use instead of the notebook's, which may not be installed here."""
    commit: str | None = None
    """Of which the scratch copy is; by default it is of the project as it is."""
    data: Literal["current", "recorded"] = "current"
    variables: Mapping[str, str] = {}
    """What the kernel finds set, beside what is set here."""
    notes: tuple[str, ...] = ()
    """What of it is not as it was asked for, one sentence each."""


def surroundings(
    reference: Reference, *, nursery: Nursery, limits: Limits,
    environment: Literal["current", "recorded"], data: Literal["current", "recorded"],
    commit: Literal["current", "recorded"], report: Report,
) -> Surroundings:  # fmt: skip
    """Make ready what a rerun is to happen in.

    Raises
    ------
    UsageError
        There is no record that says what was.
    ToolError
        The recorded environment cannot be built.
    """
    asked = {"--env recorded": environment, "--data recorded": data, "--commit recorded": commit}
    wanted = [name for name, value in asked.items() if value == "recorded"]
    record = reference.record
    if wanted and record is None:
        raise UsageError(
            f"{reference.name} has no record, which {wanted[0]} needs.",
            "Record it first: mlrepro record NOTEBOOK",
        )
    at = None
    if commit == "recorded" and record is not None:
        at = record.code.commit
        if at is None:
            raise UsageError(
                f"{reference.name} was recorded outside git: there is no commit to go back to.",
                "Drop --commit recorded.",
            )
    found = Surroundings(nursery=nursery, limits=limits, commit=at, data=data)
    if environment == "recorded" and record is not None:
        return recorded_environment(reference, found, report)
    return found


def recorded_environment(reference: Reference, where: Surroundings, report: Report) -> Surroundings:
    """Return surroundings whose environment is built from the record's lock.

    Raises
    ------
    UsageError
        There is no lock.
    ToolError
        It cannot be built.
    """
    from mlrepro_nb.execute import environments

    assert reference.record is not None
    built = environments.build(reference.record, reference.store, report)
    return msgspec.structs.replace(
        where, interpreter=built.python, extra=built.extra, kernel=NATIVE
    )


def patience(reference: Reference, total: float | None) -> float | None:
    """Return how many seconds a notebook may take; infinitely many are None."""
    if total is None:
        record = reference.record
        taken = record.results.duration if record is not None else None
        total = max(_LONG, _TIMES * (taken or 0.0))
    return None if math.isinf(total) else total
