"""Verification: run a notebook again, say whether it gives the same, and if not why.

`compare` says how far two outputs are apart, `attribute` why; both are pure but
for looking at the project's files. A `Task` and its `Outcome` are values that travel:
`verify_many` spreads them over processes, a cluster over its nodes; `report` writes them.
"""

from mlrepro_nb.verify._discover import discover, shard, skipped
from mlrepro_nb.verify._image import verify_in_image
from mlrepro_nb.verify._many import Update, cores, verify_many
from mlrepro_nb.verify._task import Outcome, Problem, Task, perform
from mlrepro_nb.verify._verify import verify
from mlrepro_nb.verify._words import NEVER_REACHED, sentence
from mlrepro_nb.verify.repair import Repair, verify_and_repair
from mlrepro_nb.verify.statistical._verify import verify_runs

__all__ = [
    "NEVER_REACHED",
    "Outcome",
    "Problem",
    "Repair",
    "Task",
    "Update",
    "cores",
    "discover",
    "perform",
    "sentence",
    "shard",
    "skipped",
    "verify",
    "verify_and_repair",
    "verify_in_image",
    "verify_many",
    "verify_runs",
]
