"""Lines of one form, as logs have them by the thousand: what of them is noise is found out once.

A number of a line is noise where another number in its place leaves the masked line as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mlrepro_nb.verify.compare._difference import Context
from mlrepro_nb.verify.compare._numbers import close_numerals

_DIGITS = str.maketrans("123456789", "000000000")
_NUMERAL = re.compile(r"\d+(?:\.\d+)?")
_LONGEST = 1000
_MOST_NUMERALS = 24
_MOST_FORMS = 2000


Spans = tuple[tuple[int, int], ...]


class Forms:
    """The forms of lines that were seen, each with what stands between the noise in it."""

    def __init__(self, mask: Callable[[str, Context], str], context: Context) -> None:
        self._mask, self._context = mask, context
        self._kept: dict[str, Spans] = {}

    def agree(self, one: str, other: str) -> bool:
        """Whether two lines of one form differ in noise alone; False where that is not known."""
        if len(one) != len(other) or len(one) > _LONGEST:
            return False
        form = one.translate(_DIGITS)
        if form != other.translate(_DIGITS):
            return False
        kept = self._kept.get(form)
        if kept is None:
            # Which addresses are this machine's hangs on their digits.
            if len(self._kept) >= _MOST_FORMS or "0.0.0.0" in form:
                return False
            kept = self._kept[form] = self._of(form)
        return all(
            one[start:end] == other[start:end] or self._close(one[start:end], other[start:end])
            for start, end in kept
        )

    def _close(self, one: str, other: str) -> bool:
        # The same form, cut at the same places: as many numerals.
        pairs = zip(_NUMERAL.findall(one), _NUMERAL.findall(other), strict=True)
        return all(a == b or close_numerals(a, b, self._context) for a, b in pairs)

    def _of(self, form: str) -> Spans:
        places = list(_NUMERAL.finditer(form))
        if len(places) > _MOST_NUMERALS:
            return ((0, len(form)),)
        masked, kept, start = self._mask(form, self._context), [], 0
        for place in places:
            line = form[: place.start()] + place[0].replace("0", "1") + form[place.end() :]
            if self._mask(line, self._context) == masked:
                kept.append((start, place.start()))
                start = place.end()
        return (*kept, (start, len(form)))
