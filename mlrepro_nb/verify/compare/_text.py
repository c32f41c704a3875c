"""Text: equal, equal but for noise, equal but for float noise, or different."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, PLAIN, Context, Difference
from mlrepro_nb.verify.compare._noise import mask_line, only_noise, screen

_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DATE = (
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[T ]\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[-+]\d\d:?\d\d)?)?"
    r"|\d{1,2}[/.]\d{1,2}[/.]\d{4}|\d{8}[T_-]\d{6}"
    rf"|(?:\d{{1,2}} {_MONTH},? \d{{4}})|(?:{_MONTH} \d{{1,2}},? \d{{4}})"
    rf"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? {_MONTH} +\d{{1,2}}(?: [\d:]+)?(?: \d{{4}})?)"
    r"|datetime\.(?:datetime|date|time)\([\d, ]+\)"
    r"|\d{1,2}:\d\d:\d\d(?:[.,]\d+)?"
)
_NUMBER = (
    r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]\d)"
)
_TOKEN = re.compile(
    rf"(?P<uuid>{_UUID})|(?P<date>(?<![\w.]){_DATE})"
    r"|(?P<path>(?<![\w/.:<])(?:/|~/|[A-Za-z]:\\)[\w.@+-]+(?:[/\\][\w.@+\- ]*[\w.@+-])+[/\\]?)"
    r"|(?P<version>(?<![\w.])\d+\.\d+\.\d+(?:[\w.+-]*\w)?)"
    rf"|(?P<number>{_NUMBER})|(?P<word>[^\W\d]\w*|‹\w+›)|(?P<other>\S)"
)


def compare_text(before: str, after: str, context: Context = PLAIN) -> Difference:
    """Compare two texts.

    Never raises, whatever the texts are.
    """
    if before == after:
        return EXACT
    old, new = _lines(before), _lines(after)
    if old == new:
        return NEAR
    # Not line by line first: a set or dict may be broken over lines.
    if _same_value("\n".join(old), "\n".join(new)):
        return NEAR
    masked_old, masked_new = _masked(old, context), _masked(new, context)
    if len(masked_old) != len(masked_new):
        # Tables and arrays are wrapped where a number got longer.
        flat = _compare_line(" ".join(masked_old), " ".join(masked_new), context)
        return flat if flat.level != "different" else _uneven(masked_old, masked_new)
    found = EXACT
    for one, other in zip(masked_old, masked_new, strict=True):
        if one != other:
            found = _compare_line(one, other, context)
            if found.level == "different":
                if _parts(masked_old) == _parts(masked_new):
                    return NEAR  # an array that was wrapped elsewhere
                return _hinted(found, masked_old, masked_new)
    return NEAR


def _lines(text: str) -> list[str]:
    return [line for line in (part.rstrip() for part in screen(text).split("\n")) if line]


def _masked(lines: list[str], context: Context) -> list[str]:
    masked = (mask_line(line, context) for line in lines)
    return [line for line in masked if not only_noise(line) or not line.strip("‹› \t")]


def _compare_line(before: str, after: str, context: Context) -> Difference:
    old, new = list(_TOKEN.finditer(before)), list(_TOKEN.finditer(after))
    for one, other in zip(old, new, strict=False):
        if one[0] != other[0] and not _same_token(one, other, context):
            return _show(before, after, one, other)
    if len(old) != len(new):
        return Difference(level="different", before=before.strip(), after=after.strip())
    return NEAR


def _same_token(one: re.Match[str], other: re.Match[str], context: Context) -> bool:
    kinds = {one.lastgroup, other.lastgroup}
    if kinds <= {"number", "version"} and "number" in kinds and _numeric(one[0], other[0], context):
        return True
    if kinds == {"path"}:
        # The same file of the same project, on another machine or in another folder.
        return _name(one[0]) == _name(other[0])
    return bool(kinds == {"word"} and {one[0].lower(), other[0].lower()} == {"nan"})


def _name(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _numeric(before: str, after: str, context: Context) -> bool:
    if not re.search(r"[.eE]", before + after):
        return before.replace(",", "").lstrip("+") == after.replace(",", "").lstrip("+")
    try:
        old, new = float(before.replace(",", "")), float(after.replace(",", ""))
    except ValueError:
        return False
    return old == new or math.isclose(
        old, new, rel_tol=0, abs_tol=context.atol + context.rtol * abs(old)
    )


def _show(before: str, after: str, one: re.Match[str], other: re.Match[str]) -> Difference:
    hints = {str(one.lastgroup), str(other.lastgroup)} & {"date", "uuid", "path", "version"}
    if _opaque(one[0]) and _opaque(other[0]) and len(one[0]) == len(other[0]):
        hints.add("opaque")
    around = max(0, min(one.start(), other.start()) - 24)
    old = before[around : one.end() + 12].strip()
    new = after[around : other.end() + 12].strip()
    if old == new:
        old, new = one[0], other[0]
    return Difference(level="different", before=old, after=new, hints=frozenset(hints))


def _opaque(token: str) -> bool:
    """Whether a token looks drawn at random: long, hex or mixed letters and digits."""
    return (
        len(token) >= 8
        and any(c.isdigit() for c in token)
        and (re.fullmatch(r"[0-9a-f]+", token) is not None or any(c.isupper() for c in token))
        and any(c.isalpha() for c in token)
    )


def _hinted(found: Difference, old: list[str], new: list[str]) -> Difference:
    """Say whether the same parts came in another order."""
    hints = found.hints
    if Counter(_parts(old)) == Counter(_parts(new)):
        hints |= {"order"}
    return Difference(level="different", before=found.before, after=found.after, hints=hints)


def _parts(lines: list[str]) -> list[str]:
    return [match[0] for line in lines for match in _TOKEN.finditer(line)]


def _uneven(old: list[str], new: list[str]) -> Difference:
    hints: set[str] = set()
    if len(new) < len(old) and _within(new, old):
        hints.add("lost")
    index = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
    if index is None:
        index = min(len(old), len(new))
    before = old[index] if index < len(old) else ""
    after = new[index] if index < len(new) else ""
    match_old = _TOKEN.search(before)
    if match_old and match_old.lastgroup in ("date", "uuid"):
        hints.add(match_old.lastgroup)
    return Difference(
        level="different",
        before=f"{before.strip()} ({len(old)} lines)",
        after=f"{after.strip()} ({len(new)} lines)",
        hints=frozenset(hints),
    )


def _within(few: list[str], many: list[str]) -> bool:
    rest = iter(many)
    return all(line in rest for line in few)


def _same_value(before: str, after: str) -> bool:
    """Whether both texts are one dict that was filled in another order."""
    if not (before.startswith("{") and after.startswith("{")) or len(before) != len(after):
        return False
    try:
        old, new = ast.literal_eval(before), ast.literal_eval(after)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False
    return isinstance(old, dict) and bool(old == new)
