"""What of a notebook's values is one number."""

from __future__ import annotations

import math
import numbers
from decimal import Decimal
from typing import Any

_SCALARS = frozenset({"numpy", "torch", "tensorflow", "jax", "jaxlib", "cupy", "polars", "pandas"})
"""Libraries whose arrays may be asked for their one item: no code of the user's runs."""


def number(value: Any) -> float | str:
    """Return a value as a number that JSON can hold, or why it is none."""
    kind = type(value).__name__
    if isinstance(value, bool) or kind in ("bool_", "bool"):
        return f"it is {bool(value)}, not a number"
    try:
        if isinstance(value, int | float | Decimal) or (
            isinstance(value, numbers.Real) and type(value).__module__ != "__main__"
        ):
            found = float(value)
        elif type(value).__module__.partition(".")[0] in _SCALARS:
            shape = tuple(getattr(value, "shape", (None,)))
            if shape != ():
                return f"it is an array of shape {shape}, not one number"
            item = value.item() if hasattr(value, "item") else value.numpy().item()
            return number(item) if type(item) is not type(value) else f"it is a {kind}"
        else:
            return f"it is a {kind}, not a number"
    except Exception as error:  # noqa: BLE001 - a library's value may raise anything
        return f"it is a {kind} that gives no number ({type(error).__name__})"
    if math.isnan(found):
        return "it is NaN"
    return found if math.isfinite(found) else "it is infinite"
