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


class Forms:
    """The forms of lines that were seen, each with the numbers in it that are noise."""

    def __init__(self, mask: Callable[[str, Context], str], context: Context) -> None:
        self._mask, self._context = mask, context
        self._noise: dict[str, frozenset[int]] = {}

    def agree(self, one: str, other: str) -> bool:
        """Whether two lines of one form differ in noise alone; False where that is not known."""
        if len(one) != len(other) or len(one) > _LONGEST:
            return False
        form = one.translate(_DIGITS)
        if form != other.translate(_DIGITS):
            return False
        noise = self._noise.get(form)
        if noise is None:
            # Which addresses are this machine's hangs on their digits.
            if len(self._noise) >= _MOST_FORMS or "0.0.0.0" in form:
                return False
            noise = self._noise[form] = self._of(form)
        old, new = _NUMERAL.findall(one), _NUMERAL.findall(other)
        return all(
            a == b or i in noise or close_numerals(a, b, self._context)
            for i, (a, b) in enumerate(zip(old, new, strict=True))
        )

    def _of(self, form: str) -> frozenset[int]:
        places = list(_NUMERAL.finditer(form))
        if len(places) > _MOST_NUMERALS:
            return frozenset()
        masked, found = self._mask(form, self._context), set()
        for index, place in enumerate(places):
            other = place[0].replace("0", "1")
            line = form[: place.start()] + other + form[place.end() :]
            if self._mask(line, self._context) == masked:
                found.add(index)
        return frozenset(found)
