"""Reports of verifications: pure, the same outcomes give the same bytes."""

from mlrepro_nb.verify.report._html import html
from mlrepro_nb.verify.report._json import Summary, exit_code, read, summary, worst
from mlrepro_nb.verify.report._junit import junit
from mlrepro_nb.verify.report._plot import described, plot
from mlrepro_nb.verify.report._runs import HEADS, row

__all__ = [
    "HEADS",
    "Summary",
    "described",
    "exit_code",
    "html",
    "junit",
    "plot",
    "read",
    "row",
    "summary",
    "worst",
]
