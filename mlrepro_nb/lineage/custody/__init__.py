"""trace --verify: whether the chain from an image back to notebook, lock and data is unbroken.

Each link is a `Check`: it holds, it does not, or it could not be looked at here.
"""

from mlrepro_nb.lineage.custody._check import Check
from mlrepro_nb.lineage.custody._verify import Custody, verify

__all__ = ["Check", "Custody", "verify"]
