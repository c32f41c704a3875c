"""Why a cell gave something else than before, without raising."""

from __future__ import annotations

from collections.abc import Callable

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import environment, order, recorded, state
from mlrepro_nb.verify.attribute.case import Case
from mlrepro_nb.verify.attribute.differences._file import (
    edited_output,
    edited_source,
    interrupted,
    lost,
    skipped,
    unexecuted,
    unexplained,
)
from mlrepro_nb.verify.attribute.differences._nondeterminism import (
    clock,
    drawn,
    listing,
    may_agree_by_chance,
    may_be_nondeterministic,
    nondeterminism,
    of_condition,
)
from mlrepro_nb.verify.attribute.differences._surroundings import (
    changed_data,
    local_edit,
    remote,
    self_overwrite,
    variable,
    version_shown,
    zone,
)
from mlrepro_nb.verify.attribute.exceptions import cause_of_message
from mlrepro_nb.verify.attribute.other_files import other_files
from mlrepro_nb.verify.attribute.paths import nothing_listed
from mlrepro_nb.verify.attribute.versioned import committed_since, written_since

__all__ = [
    "cause_of_difference",
    "circumstantial",
    "drawn",
    "drift_may_explain",
    "is_explained",
    "may_agree_by_chance",
    "may_be_nondeterministic",
    "of_condition",
]


def cause_of_difference(case: Case, index: int) -> Cause | None:
    """Name why a cell's output is another; None when it is only time that passed."""
    cell = case.cells[index]
    if index in case.confirmed:
        return case.confirmed[index][0]
    if cell.repeats is False:
        return nondeterminism(case, index)
    for explain in _EXPLANATIONS:
        found = explain(case, index)
        if found is not None:
            return found
    return unexplained(case, cell)


_EXPLANATIONS: tuple[Callable[[Case, int], Cause | None], ...] = (
    edited_output,
    edited_source,
    cause_of_message,
    self_overwrite,
    changed_data,
    other_files,
    local_edit,
    state.moved_widget,
    state.made_elsewhere,
    state.taken_from_history,
    order.out_of_order,
    version_shown,
    recorded.version_drift,
    order.shifted_stream,
    order.repeated,
    interrupted,
    skipped,
    order.run_again_after,
    clock,
    written_since,
    committed_since,
    nothing_listed,
    environment.hardware,
    state.perhaps_moved_widget,
    variable,
    zone,
    lost,
    remote,
    listing,
    environment.startup_changed,
    recorded.edited_output,
    unexecuted,
)


def is_explained(case: Case, index: int) -> bool:
    """Whether one run is enough to name why a cell's output is another."""
    # That a cell ran again is a guess where nothing but counts says so.
    guesses = () if case.record is not None else (order.shifted_stream, order.repeated)
    return any(e(case, index) is not None for e in _EXPLANATIONS if e not in guesses)


_CIRCUMSTANTIAL = (clock, listing, changed_data, recorded.version_drift, local_edit)


def circumstantial(case: Case, index: int) -> list[str]:
    """Return the kinds of cause that may explain a stable difference and that are no proof.

    None where what the record or the file says leaves no doubt.
    """
    first = next((e for e in _EXPLANATIONS if e(case, index) is not None), None)
    kinds = [found.kind for e in _CIRCUMSTANTIAL if (found := e(case, index)) is not None]
    if first in (changed_data, recorded.version_drift, local_edit):
        return kinds if len(kinds) > 1 else []
    return kinds if first in (clock, listing, written_since, variable, remote) else []


def drift_may_explain(case: Case, index: int) -> bool:
    """Whether versions are others than recorded, and nothing surer explains a stable difference."""
    first = next((e for e in _EXPLANATIONS if e(case, index) is not None), None)
    beaten = (version_shown, recorded.version_drift, clock, listing, written_since, variable,
              remote, order.shifted_stream, order.repeated, recorded.edited_output)  # fmt: skip
    return (first is None or first in beaten) and recorded.version_drift(case, index) is not None
