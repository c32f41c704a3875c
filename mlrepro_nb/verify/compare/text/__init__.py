"""Text, token by token: numbers within tolerances, noise by its form and its context."""

from mlrepro_nb.verify.compare.text._compare import compare_text, lines_of, masked
from mlrepro_nb.verify.compare.text._screen import screen
from mlrepro_nb.verify.compare.text._timing import MEASURED
from mlrepro_nb.verify.compare.text._tokens import TOKEN

__all__ = ["MEASURED", "TOKEN", "compare_text", "lines_of", "masked", "screen"]
