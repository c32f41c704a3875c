"""Verification: run a notebook again, say whether it gives the same, and if not why.

`compare` says how far two outputs are apart, `attribute` why; both are pure but
for looking at the project's files.
"""

from mlrepro_nb.verify._verify import verify
from mlrepro_nb.verify._words import sentence

__all__ = ["sentence", "verify"]
