"""SVG: drawn ids, dates and comments have no meaning; shapes agree number by number."""

from __future__ import annotations

import re

import msgspec

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, PLAIN, Context, Difference, worst
from mlrepro_nb.verify.compare.text import compare_text

_METADATA = re.compile(r"<metadata\b[^>]{0,200}>")
_COMMENT = re.compile(r"<!--")
_ID = re.compile(
    r"""\b(id|clip-path|mask|filter|marker-\w{3,5}|(?:xlink:)?href)=["'](?:url\()?#?([^"')]{1,200})\)?["']"""
)
_URL = re.compile(r"url\(#([^)\n]{1,200})\)")
_TAG, _TEXT = re.compile(r"<[^<>]*>"), re.compile(r">([^<>]+)<")
_INVISIBLE = 1e-3
"""Points by which a coordinate may be off: no screen shows it."""
_RULE = re.compile(r"(?<=[\s{},;])#([\w-]{2,80})(?=[\s.{:,>])")


def compare_svg(before: str, after: str, context: Context = PLAIN) -> Difference:
    """Compare two drawings by their shapes, in the order in which they are drawn."""
    if before == after:
        return EXACT
    old, new = _plain(before), _plain(after)
    if old == new:
        return NEAR
    found = worst(
        (
            compare_text("\n".join(_TEXT.findall(old)), "\n".join(_TEXT.findall(new)), context),
            compare_text(
                "\n".join(_TAG.findall(old)),
                "\n".join(_TAG.findall(new)),
                msgspec.structs.replace(context, atol=max(context.atol, _INVISIBLE)),
            ),
        )
    )
    return NEAR if found.level == "bitwise" else found


def _plain(svg: str) -> str:
    """Return a drawing without what describes it, its ids numbered as they come."""
    svg = _without(_without(svg, _METADATA, "</metadata>"), _COMMENT, "-->")
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        name = match[match.lastindex or 0]
        return match[0].replace(name, f"‹{numbers.setdefault(name, len(numbers))}›")

    def known(match: re.Match[str]) -> str:
        # A colour is written like a reference.
        return number(match) if match[1] in numbers else match[0]

    return _RULE.sub(known, _URL.sub(number, _ID.sub(number, svg)))


def _without(svg: str, start: re.Pattern[str], end: str) -> str:
    kept, position = [], 0
    while (match := start.search(svg, position)) is not None:
        kept.append(svg[position : match.start()])
        stop = svg.find(end, match.end())
        if stop < 0:
            return "".join(kept)
        position = stop + len(end)
    kept.append(svg[position:])
    return "".join(kept)
