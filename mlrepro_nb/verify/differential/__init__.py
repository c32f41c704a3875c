"""Reruns under one changed condition at a time: what restores an output is its cause.

`_plan` reads from the static evidence which conditions are worth a run, `_conditions` says
what a condition is to a kernel, `_kernel` holds it there, `_search` runs and compares (by
`_runs`, which counts them); `_history` runs cells as their execution counts tell, `_bisect`
finds the release of a library that changed it.
"""

from mlrepro_nb.verify.differential._bisect import bisect
from mlrepro_nb.verify.differential._conditions import Condition, Held, hold
from mlrepro_nb.verify.differential._plan import Suspicion, suspicions
from mlrepro_nb.verify.differential._runs import Budget
from mlrepro_nb.verify.differential._search import investigate

__all__ = ["Budget", "Condition", "Held", "Suspicion", "bisect", "hold", "investigate",
           "suspicions"]  # fmt: skip
