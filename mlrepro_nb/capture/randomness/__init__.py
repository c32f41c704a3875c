"""Random generators: seeds, states, entropy."""

from mlrepro_nb.capture.randomness._assemble import assembled
from mlrepro_nb.capture.randomness.watch import RandomnessWatch

__all__ = ["RandomnessWatch", "assembled"]
