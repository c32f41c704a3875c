"""What a line of text is made of, and when two of its tokens are one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlrepro_nb.verify.compare._difference import NEAR, Context, Difference, differing
from mlrepro_nb.verify.compare._numbers import close_numerals
from mlrepro_nb.verify.compare.text._noise import UUID

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DATE = (
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[T ]\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[-+]\d\d:?\d\d)?)?"
    r"|\d{1,2}[/.]\d{1,2}[/.]\d{4}|\d{8}[T_-]\d{6}"
    rf"|(?:\d{{1,2}} {_MONTH},? \d{{4}})|(?:{_MONTH} \d{{1,2}},? \d{{4}})"
    rf"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? "
    rf"(?:{_MONTH} {{1,2}}\d{{1,2}}|\d{{1,2}} {_MONTH})(?: [\d:]+)?(?: \d{{4}})?)"
    r"|datetime\.(?:datetime|date|time)\([\d, ]+\)"
    r"|\d{1,2}:\d\d:\d\d(?:[.,]\d+)?"
)
_NUMBER = (
    r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
    r"(?![\w.]\d)"
)
# A blank belongs to a path only where a separator follows the word behind it.
_COMPONENT = r"[\w.@+-]+(?:(?: [\w.@+-]{1,40}){1,4}(?=[/\\]))?"
TOKEN = re.compile(
    rf"(?P<uuid>{UUID})|(?P<date>(?<![\w.]){_DATE})"
    rf"|(?P<path>(?<![\w/.:<])(?:/|~/|[A-Za-z]:\\)[\w.@+-]+(?:[/\\]{_COMPONENT})+[/\\]?)"
    r"|(?P<version>(?<![\w.])\d+\.\d+\.\d+(?:[\w.+-]*\w)?)"
    rf"|(?P<number>{_NUMBER})|(?P<noise>‹[^›\n]{{0,60}}›)|(?P<word>[^\W\d]\w*)|(?P<other>\S)"
)
_SHOWN = frozenset({"date", "uuid", "path", "version"})


def parts(lines: Sequence[str]) -> list[str]:
    """Return the tokens of lines."""
    return [match[0] for line in lines for match in TOKEN.finditer(line)]


def compare_line(before: str, after: str, context: Context) -> Difference:
    """Compare two lines token by token."""
    old, new = list(TOKEN.finditer(before)), list(TOKEN.finditer(after))
    for one, other in zip(old, new, strict=False):
        if one[0] != other[0] and not same_token(one, other, context):
            return _show(before, after, one, other)
    if len(old) != len(new):
        return differing(before.strip(), after.strip())
    return NEAR


def same_token(one: re.Match[str], other: re.Match[str], context: Context) -> bool:
    """Whether two tokens stand for the same."""
    if one[0] == other[0]:
        return True
    kinds = {one.lastgroup, other.lastgroup}
    if kinds <= {"number", "version"} and "number" in kinds:
        return close_numerals(one[0], other[0], context)
    if kinds == {"path"}:
        # The same file of the same project, on another machine or in another folder.
        return _name(one[0]) == _name(other[0])
    if kinds == {"noise"}:
        return not one[0].strip("‹·›") and not other[0].strip("‹·›")
    return kinds == {"word"} and {one[0].lower(), other[0].lower()} == {"nan"}


def _name(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _show(before: str, after: str, one: re.Match[str], other: re.Match[str]) -> Difference:
    hints = {str(one.lastgroup), str(other.lastgroup)} & _SHOWN
    if _opaque(one[0]) and _opaque(other[0]) and len(one[0]) == len(other[0]):
        hints.add("opaque")
    around = max(0, min(one.start(), other.start()) - 24)
    old = before[around : one.end() + 12].strip()
    new = after[around : other.end() + 12].strip()
    if old == new:
        old, new = one[0], other[0]
    return differing(old, new, hints=hints)


def _opaque(token: str) -> bool:
    """Whether a token looks drawn at random: long, hex or mixed letters and digits."""
    return (
        len(token) >= 8
        and any(c.isdigit() for c in token)
        and (re.fullmatch(r"[0-9a-f]+", token) is not None or any(c.isupper() for c in token))
        and any(c.isalpha() for c in token)
    )
