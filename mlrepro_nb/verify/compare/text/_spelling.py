"""Values that libraries have come to write otherwise: the same value, spelled in two ways."""

from __future__ import annotations

import re

# Since NumPy 2 a scalar's repr says its type, and before it did not.
_SCALAR = re.compile(
    r"\b(?:np|numpy)\.(?:(complex\d{2,3}|clongdouble)|(?:u?int(?:8|16|32|64|p|c)|u?byte|u?short"
    r"|u?long(?:long)?|float(?:16|32|64|96|128)|half|single|double|longdouble|bool_?|str_|bytes_))"
    r"\(([^()\n]{1,400})\)"
)
_TRUTH = re.compile(r"\b(?:np|numpy)\.(True|False)_(?!\w)")


def plainly_spelled(line: str) -> str:
    """Return a line with NumPy's scalars as they are without their types."""
    if "np." not in line and "numpy." not in line:
        return line
    return _TRUTH.sub(r"\1", _SCALAR.sub(lambda m: f"({m[2]})" if m[1] else m[2], line))
