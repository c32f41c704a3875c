"""Random generators: seeds, states, entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrepro_nb.lazily import exports

if TYPE_CHECKING:
    from mlrepro_nb.capture.randomness._assemble import assembled
    from mlrepro_nb.capture.randomness.watch import RandomnessWatch

__all__ = ["RandomnessWatch", "assembled"]

__getattr__ = exports(
    __name__,
    {
        "RandomnessWatch": "watch",
        "assembled": "_assemble",
    },
)
