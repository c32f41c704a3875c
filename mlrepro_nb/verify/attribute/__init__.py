"""Why a cell was not reproduced: from the source, the record, and runs compared.

Evidence that costs nothing comes first; a second run is only asked for where a
cell may be nondeterministic.
"""

from mlrepro_nb.verify.attribute._attribute import (
    attribute,
    drift_suspected,
    needs_second_run,
    without_effect,
)
from mlrepro_nb.verify.attribute.case import Case, Output, Seen, near
from mlrepro_nb.verify.attribute.differences import (
    circumstantial,
    is_explained,
    may_agree_by_chance,
    of_condition,
)
from mlrepro_nb.verify.attribute.differences import drawn as draws

__all__ = [
    "Case",
    "Output",
    "Seen",
    "attribute",
    "circumstantial",
    "draws",
    "drift_suspected",
    "is_explained",
    "may_agree_by_chance",
    "near",
    "needs_second_run",
    "of_condition",
    "without_effect",
]
