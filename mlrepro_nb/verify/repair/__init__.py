"""A repaired copy of a notebook, from the causes of its verification; the original stays.

`propose` is pure: from the case and its causes to edits, each naming its cause. `verify_and_repair`
writes the copy, verifies it, and returns both verdicts with the difference of the sources.
"""

from mlrepro_nb.verify.repair._apply import applied, source_diff
from mlrepro_nb.verify.repair._edits import Edit, Proposal, Refusal
from mlrepro_nb.verify.repair._propose import propose
from mlrepro_nb.verify.repair._repair import Repair, verify_and_repair

__all__ = [
    "Edit",
    "Proposal",
    "Refusal",
    "Repair",
    "applied",
    "propose",
    "source_diff",
    "verify_and_repair",
]
