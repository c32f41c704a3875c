"""Text: equal, equal but for noise, equal but for float noise, or different."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import partial
from itertools import compress
from math import isclose
from operator import ne

import msgspec

from mlrepro_nb.verify.compare._difference import (
    EXACT,
    NEAR,
    PLAIN,
    Context,
    Difference,
    differing,
)
from mlrepro_nb.verify.compare._numbers import close_numerals
from mlrepro_nb.verify.compare.text._cut import cut, narrowed
from mlrepro_nb.verify.compare.text._forms import Forms
from mlrepro_nb.verify.compare.text._noise import mask_line, only_noise
from mlrepro_nb.verify.compare.text._screen import screen
from mlrepro_nb.verify.compare.text._timing import mask_measured, mask_measured_columns
from mlrepro_nb.verify.compare.text._tokens import TOKEN, compare_line, parts

_FLOAT = re.compile(r"(?<![\w.])(-?\d+(?:\.\d*(?:e[-+]?\d+)?|e[-+]?\d+))(?![\w.])")
_JSON_FLOATS = msgspec.json.Decoder(list[float])
_ISCLOSE = 1e-9
"""The relative tolerance of `math.isclose` unless it is told another."""
_BATCH = 500
_PIECE = 4096
"""Characters of a line that are masked at once: a longer one is cut at blanks."""
_LAID_OUT = 300_000
"""Characters up to which a text is searched for the same parts in another layout or order."""
_MASKED = 20_000_000
"""Characters of differing lines that are looked at one by one; the rest is compared as it is."""


def compare_text(before: str, after: str, context: Context = PLAIN) -> Difference:
    """Compare two texts.

    Never raises, whatever the texts are. Lines that are equal cost next to nothing.
    """
    if before == after:
        return EXACT
    cut_before, cut_after, above = cut(before, after)
    old, new = lines_of(cut_before), lines_of(cut_after)
    if old == new:
        return NEAR
    old, new, skipped = _trimmed(old, new)
    skipped += above
    if len(old) > 1 and _one_dict(before, after):
        return NEAR  # one that is broken over lines
    found = _pairwise(old, new, context) if len(old) == len(new) else None
    if found is None and len(old) == len(new):
        return NEAR
    named = _without_measured(old)
    if named != old:  # what the reference does not name cannot agree with what the rerun does
        old, new = named, _without_measured(new)
        found = _pairwise(old, new, context) if len(old) == len(new) else None
        if found is None and len(old) == len(new):
            return NEAR
    return _laid_out(old, new, context, found, skipped)


def _without_measured(lines: list[str]) -> list[str]:
    """Mask what a library says that it measured: by name, by column, in a heading."""
    text = "\n".join(lines)
    masked_text = mask_measured(text)
    if masked_text != text:
        lines, text = lines_of(masked_text), masked_text
    if "time" in text or "per_sec" in text:
        lines = mask_measured_columns(lines)
    return _run_stamps(lines) if "Date:" in text else lines


def lines_of(text: str) -> list[str]:
    """Return the lines that a terminal shows, empty ones left out."""
    return [line for line in map(str.rstrip, screen(text).split("\n")) if line]


def _trimmed(old: list[str], new: list[str]) -> tuple[list[str], list[str], int]:
    """Leave out the equal lines at both ends of two texts of unequal length."""
    if len(old) == len(new):
        return old, new, 0
    least = min(len(old), len(new))
    head = next((i for i in range(least) if old[i] != new[i]), least)
    rest = least - head
    tail = next((i for i in range(rest) if old[-1 - i] != new[-1 - i]), rest)
    return old[head : len(old) - tail], new[head : len(new) - tail], head + tail


def _inner(old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines from the first that differs to the last, of as many on both sides."""
    off = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    return (old[off[0] : off[-1] + 1], new[off[0] : off[-1] + 1]) if off else (old, new)


def _pairwise(old: list[str], new: list[str], context: Context) -> Difference | None:
    """Compare line by line; the first difference that counts, or None."""
    budget, forms = _MASKED, Forms(masked, context)
    off = list(compress(range(len(old)), map(ne, old, new)))
    for start in range(0, len(off), _BATCH):
        some = off[start : start + _BATCH]
        # All at once where there is nothing but float noise.
        joined = ("\n".join(map(lines.__getitem__, some)) for lines in (old, new))
        if _float_noise(*joined, context=context):
            continue
        for index in some:
            one, other = old[index], new[index]
            if forms.agree(one, other) or _float_noise(one, other, context=context):
                continue
            if len(one) > _PIECE and len(other) > _PIECE:
                one, other = narrowed(one, other)
            budget -= len(one) + len(other)
            if budget < 0:
                return differing(
                    f"{one[:400]} (too much differs to look at all of it)", other[:400]
                )
            found = _compare_pieces(one, other, context)
            if found.level == "different":
                return _placed(found, old, index, other)
    return None


def _float_noise(one: str, other: str, *, context: Context) -> bool:
    """Whether two texts differ in floats alone, and within the tolerances."""
    words, words_new = one.split(), other.split()
    if len(words) != len(words_new):
        return False
    off = list(map(ne, words, words_new))
    old, new = list(compress(words, off)), list(compress(words_new, off))
    return _all_close(old, new, context) or all(
        _close_word(a, b, context) for a, b in zip(old, new, strict=True)
    )


def _all_close(old: list[str], new: list[str], context: Context) -> bool:
    """Whether all words are floats that agree: no step of Python for each of them.

    False where it takes more to tell.
    """
    # A float has one point at most; whole numbers agree exactly or not at all.
    if any("".join(words).count(".") != len(words) for words in (old, new)):
        return False
    try:
        before, after = _floats(old), _floats(new)
    except ValueError:
        return False  # brackets and commas around it
    if len(before) != len(old) or len(after) != len(new):
        return False  # a comma within a word
    if context.rtol >= _ISCLOSE and all(map(isclose, before, after)):
        return True  # without keywords it takes a sixth of the time
    near = partial(isclose, rel_tol=context.rtol, abs_tol=context.atol)
    return all(map(near, before, after))


def _floats(words: list[str]) -> list[float]:
    """Parse floats, those that are spelled as in JSON five times as fast as `float` does."""
    try:
        return _JSON_FLOATS.decode(f"[{','.join(words)}]")
    except msgspec.DecodeError:
        return list(map(float, words))


def _close_word(one: str, other: str, context: Context) -> bool:
    """Whether two words differ in floats alone: `[0.5,` and the like."""
    old, new = _FLOAT.split(one), _FLOAT.split(other)
    if len(old) < 2 or len(old) != len(new) or old[::2] != new[::2]:
        return False
    pairs = zip(old[1::2], new[1::2], strict=True)
    return all(close_numerals(a, b, context) for a, b in pairs)


def masked(line: str, context: Context) -> str:
    """Return a line of any length with its noise masked."""
    if len(line) <= _PIECE:
        return mask_line(line, context)
    return "".join(mask_line(piece, context) for piece in _pieces(line))


def _pieces(line: str) -> list[str]:
    found, start = [], 0
    while start < len(line):
        end = start + _PIECE
        gap = max(line.rfind(" ", start + _PIECE // 2, end), line.rfind(",", start + 1, end))
        end = gap + 1 if gap > start and end < len(line) else end
        found.append(line[start:end])
        start = end
    return found


def _compare_pieces(one: str, other: str, context: Context) -> Difference:
    masked_one, masked_other = masked(one, context), masked(other, context)
    if masked_one == masked_other or _one_dict(one, other):
        return NEAR
    return compare_line(masked_one, masked_other, context)


def _laid_out(
    old: list[str], new: list[str], context: Context, found: Difference | None, equal: int
) -> Difference:
    """Look whether both hold the same in another layout; if not, say what differs."""
    if found is not None and len(old) == len(new):
        shown = found, old, new
        old, new = _inner(old, new)
        if sum(map(len, old)) + sum(map(len, new)) > _LAID_OUT:
            return _lines_reordered(*shown)
    elif sum(map(len, old)) + sum(map(len, new)) > _LAID_OUT:
        return _uneven(old, new, equal)
    masked_old, masked_new = ([masked(line, context) for line in lines] for lines in (old, new))
    if found is None:
        # Bars and warnings come and go; where line stands against line, all of them count.
        masked_old, masked_new = (
            [line for line in lines if not only_noise(line)] for lines in (masked_old, masked_new)
        )
        if masked_old == masked_new:
            return NEAR
    parts_old, parts_new = parts(masked_old), parts(masked_new)
    if found is None and len(masked_old) == len(masked_new):
        pairs = zip(masked_old, masked_new, strict=True)
        off = (compare_line(one, other, context) for one, other in pairs if one != other)
        found = next((each for each in off if each.level == "different"), None)
        if found is None:
            return NEAR
    # Tables and arrays are wrapped where a number got longer.
    if parts_old == parts_new:
        return NEAR
    flat = compare_line(" ".join(masked_old), " ".join(masked_new), context)
    if flat.level != "different":
        return NEAR
    if found is None:
        return _uneven(masked_old, masked_new, equal)
    if sorted(parts_old) == sorted(parts_new):
        return msgspec.structs.replace(found, hints=found.hints | {"order"})
    return found


def _lines_reordered(found: Difference, old: list[str], new: list[str]) -> Difference:
    first = next(compress(old, map(ne, old, new)), "")
    if first in new and Counter(old) == Counter(new):
        return msgspec.structs.replace(found, hints=found.hints | {"order"})
    return found


def _uneven(old: list[str], new: list[str], equal: int) -> Difference:
    hints: set[str] = set()
    if len(new) < len(old) and _within(new, old):
        hints.add("lost")
    index = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
    if index is None:
        index = min(len(old), len(new))
    before = old[index] if index < len(old) else ""
    after = new[index] if index < len(new) else ""
    match_old = TOKEN.search(before)
    if match_old and match_old.lastgroup in ("date", "uuid"):
        hints.add(match_old.lastgroup)
    return differing(
        f"{before[:400].strip()} ({len(old) + equal} lines)",
        f"{after[:400].strip()} ({len(new) + equal} lines)",
        hints=hints,
    )


def _within(few: list[str], many: list[str]) -> bool:
    rest = iter(many)
    return all(line in rest for line in few)


def _one_dict(before: str, after: str) -> bool:
    """Whether both texts are one dict that was filled in another order."""
    before, after = before.strip(), after.strip()
    if not (before.startswith("{") and after.startswith("{")) or len(before) != len(after):
        return False
    if len(before) > 100_000:
        return False
    try:
        old, new = ast.literal_eval(before), ast.literal_eval(after)
        return isinstance(old, dict) and bool(old == new)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False


_STAMPED = re.compile(
    r"(?<![\w])(Date|Time):(\s{1,40})((?:\w{3}, )?\d[\w :/.,-]{4,24}?)(?=\s{2}|$)"
)


def _run_stamps(lines: list[str]) -> list[str]:
    """Mask the moment at which a model was fitted in a summary's heading.

    It is a date with the time of day right below: two labels, one under the other.
    """
    for i in range(len(lines) - 1):
        if "Date:" not in lines[i]:
            continue
        date, time = _STAMPED.search(lines[i]), _STAMPED.search(lines[i + 1])
        if (
            date
            and time
            and (date[1], time[1]) == ("Date", "Time")
            and date.start() == time.start()
        ):
            lines = list(lines)
            for at, match in ((i, date), (i + 1, time)):
                lines[at] = lines[at].replace(match[3], "‹logged›", 1)
    return lines


_CELL = re.compile(r"\S+")


def _placed(found: Difference, lines: list[str], index: int, other: str) -> Difference:
    """Say the row and the column, where the differing place stands in a printed table.

    It does where a line above has a word that ends in the same column of the text, and so
    has every line between them.
    """
    line = lines[index]
    at = next((i for i, (a, b) in enumerate(zip(line[:2000], other, strict=False)) if a != b), None)
    cell = next((c for c in _CELL.finditer(line[:2000]) if at is not None and c.end() > at), None)
    first = _CELL.search(line)
    if cell is None or first is None or first.start() == cell.start():
        return found
    for above in reversed(lines[max(0, index - 200) : index]):
        head = next((c for c in _CELL.finditer(above[: cell.end()]) if c.end() == cell.end()), None)
        if head is None:
            break
        if not re.match(r"[-+]?[\d.]|NaN", head[0]) and len(above.split()) > 1:
            where = f"row {first[0]}, column {head[0]}: {cell[0]}"
            return msgspec.structs.replace(found, before=where)
    return found
