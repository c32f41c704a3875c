"""When two numbers are one."""

from __future__ import annotations

import math
import re

from mlrepro_nb.verify.compare._difference import Context

_PARTS = re.compile(r"([-+]?)(\d*)(?:\.(\d*))?(?:[eE]([-+]?\d{1,6}))?\Z")
_LEAST_DECIMALS = 7
"""From so many printed decimals on, rounding may turn the last one over."""
_LONGEST = 4000
"""Characters of a numeral beyond which it is compared as text."""


def close(before: float, after: float, context: Context) -> bool:
    """Whether two floats agree within the tolerances; two that are not a number do."""
    if before == after:
        return True
    if math.isnan(before) or math.isnan(after):
        return math.isnan(before) and math.isnan(after)
    if math.isinf(before) or math.isinf(after):
        return False
    limit = context.atol + context.rtol * max(abs(before), abs(after))
    return abs(before - after) <= limit


def close_numerals(before: str, after: str, context: Context) -> bool:
    """Whether two printed numbers agree: whole ones exactly, others within the tolerances."""
    old, new = before.replace(",", ""), after.replace(",", "")
    if old == new:
        return True
    if len(old) > _LONGEST or len(new) > _LONGEST:
        return False
    if not any(c in old or c in new for c in ".eE"):
        return old.lstrip("+") == new.lstrip("+")
    try:
        if close(float(old), float(new), context):
            return True
    except ValueError:
        return False
    return _last_place(old, new)


def _last_place(before: str, after: str) -> bool:
    """Whether two roundings of what may be one number stand next to each other.

    Only with the many decimals of an array's representation: in a metric that was
    rounded to four, the last one is a result.
    """
    one, other = _PARTS.match(before), _PARTS.match(after)
    if not one or not other or one[1] != other[1] or one[4] != other[4]:
        return False
    decimals, also = one[3] or "", other[3] or ""
    if len(decimals) < _LEAST_DECIMALS or len(decimals) != len(also) or len(decimals) > 17:
        return False
    return abs(int((one[2] or "0") + decimals) - int((other[2] or "0") + also)) <= 1
