"""What is the same in two outputs and what is not: pure, a module a kind of content."""

from mlrepro_nb.verify.compare._cell import compare_bundle, compare_cell, printed
from mlrepro_nb.verify.compare._difference import (
    EXACT,
    Context,
    Difference,
    Substitution,
    worst,
)
from mlrepro_nb.verify.compare._errors import error_name
from mlrepro_nb.verify.compare._json import compare_json
from mlrepro_nb.verify.compare._noise_mask import contradictory, without_noise
from mlrepro_nb.verify.compare._svg import compare_svg
from mlrepro_nb.verify.compare._widgets import widget_states
from mlrepro_nb.verify.compare.html import compare_html
from mlrepro_nb.verify.compare.picture import compare_images
from mlrepro_nb.verify.compare.text import compare_text

__all__ = [
    "EXACT",
    "Context",
    "Difference",
    "Substitution",
    "compare_bundle",
    "compare_cell",
    "compare_html",
    "compare_images",
    "compare_json",
    "compare_svg",
    "compare_text",
    "contradictory",
    "error_name",
    "printed",
    "widget_states",
    "without_noise",
    "worst",
]
