"""SVG: drawn ids, dates and comments have no meaning."""

from __future__ import annotations

import re

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, PLAIN, Context, Difference
from mlrepro_nb.verify.compare._text import compare_text

_DATE = re.compile(r"<dc:date>.*?</dc:date>|<dc:creator>.*?</dc:creator>|<!--.*?-->", re.DOTALL)
_ID = re.compile(r"""\b(id|clip-path|mask|filter|(?:xlink:)?href|url)(=["']?|\()#?[^"')\s>]*""")
_URL = re.compile(r"url\(#[^)]*\)")


def compare_svg(before: str, after: str, context: Context = PLAIN) -> Difference:
    """Compare two drawings."""
    if before == after:
        return EXACT
    old, new = _plain(before), _plain(after)
    return NEAR if old == new else compare_text(old, new, context)


def _plain(svg: str) -> str:
    return _ID.sub(r"\1", _URL.sub("url()", _DATE.sub("", svg)))
