"""Reports of verifications: pure, the same outcomes give the same bytes."""

from mlrepro_nb.verify.report._html import html
from mlrepro_nb.verify.report._json import Summary, exit_code, read, summary, worst
from mlrepro_nb.verify.report._junit import junit

__all__ = ["Summary", "exit_code", "html", "junit", "read", "summary", "worst"]
