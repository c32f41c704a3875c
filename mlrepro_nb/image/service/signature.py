"""A model's signature, and whether values keep to it. Pure.

MLflow enforces signatures by casting: to it ``"yes"`` is a fine boolean, and 1.7
the integer 1. Here a value either has the type or is refused, and the refusal
names the column and the row.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec


class RefusedError(Exception):
    """A request that cannot be answered, and why.

    Parameters
    ----------
    message
        What is wrong with it.
    status
        Of HTTP.
    code
        MLflow's word for the kind of error.
    """

    def __init__(
        self, message: str, *, status: int = 400, code: str = "BAD_REQUEST", **where: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.where = where
        """``column``, ``row``, where it has them."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a table that a model takes."""

    name: str | None
    type: dict[str, Any]
    """As MLflow writes it: ``{"type": "double"}``, nested for arrays and objects."""
    required: bool = True


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """An array that a model takes."""

    name: str | None
    dtype: str
    shape: tuple[int, ...]
    """-1 where any length is right."""
    required: bool = True


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes: columns, or tensors."""

    columns: tuple[Column, ...] = ()
    tensors: tuple[Tensor, ...] = ()

    @property
    def named(self) -> bool:
        """Whether its columns have names."""
        return all(column.name is not None for column in self.columns)


def signature(inputs: Sequence[dict[str, Any]] | None) -> Signature | None:
    """Return the signature that MLflow's list of inputs tells, None where there is none."""
    if not inputs:
        return None
    columns, tensors = [], []
    for one in inputs:
        name, required = one.get("name"), bool(one.get("required", True))
        if one.get("type") == "tensor":
            told = one["tensor-spec"]
            shape = tuple(int(n) for n in told["shape"])
            tensors.append(
                Tensor(name=name, dtype=str(told["dtype"]), shape=shape, required=required)
            )
        else:
            columns.append(Column(name=name, type=dict(one), required=required))
    return Signature(columns=tuple(columns), tensors=tuple(tensors))


_INTEGERS = {"integer": 31, "long": 63}
_FLOATS = {"float": 3.4028235677973366e38, "double": math.inf}
_WORDS = {
    "boolean": "a boolean", "integer": "a 32-bit integer", "long": "a 64-bit integer",
    "float": "a 32-bit number", "double": "a number", "string": "a string",
    "binary": "a base64 string", "datetime": "an ISO 8601 date", "array": "an array",
    "object": "an object", "map": "an object",
}  # fmt: skip


def check_column(column: Column, values: Sequence[Any], place: str) -> None:
    """Refuse values that a column cannot have.

    Parameters
    ----------
    place
        What the column is called in a message.
    """
    kind = str(column.type.get("type"))
    if kind in _FLOATS and _all_floats(values, _FLOATS[kind]):
        return
    if kind == "string" and set(map(type, values)) <= {str, type(None)}:
        return
    for row, value in enumerate(values):
        wrong = problem(column.type, value)
        if wrong:
            raise RefusedError(f"{place}, row {row}: {wrong}.", column=column.name, row=row)


def _all_floats(values: Sequence[Any], limit: float) -> bool:
    """Tell at once of a column of plain numbers, as nearly all are."""
    return (
        set(map(type, values)) == {float}
        and max(map(abs, values)) <= limit
        and all(map(math.isfinite, values))
    )


def problem(declared: dict[str, Any], value: Any) -> str | None:
    """Return what is wrong with a value of a declared type, None if nothing."""
    kind = str(declared.get("type"))
    if value is None or (isinstance(value, float) and math.isnan(value) and kind in _FLOATS):
        # NaN is no JSON, but Python writes it, and MLflow does into its own examples.
        # A missing number or text is NaN or None to the model; nothing else can be missing.
        missing = kind in (*_FLOATS, "string", "datetime", "any", "AnyType")
        return None if missing else f"null is not {_WORDS.get(kind, kind)}"
    if kind in _INTEGERS:
        return _integer(value, kind)
    if kind in _FLOATS:
        return _number(value, kind)
    if kind == "boolean":
        return None if isinstance(value, bool) else _not(kind, value)
    if kind == "string":
        return None if isinstance(value, str) else _not(kind, value)
    if kind in ("binary", "datetime"):
        return _text(value, kind)
    return _nested(declared, value, kind)


def _not(kind: str, value: Any) -> str:
    return f"{_shown(value)} is not {_WORDS[kind]}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > 10**20:
        return "an integer of many digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _integer(value: Any, kind: str) -> str | None:
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"{value} is not finite"
        if value != int(value):
            return _not(kind, value)
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return _not(kind, value)
    fits = -(1 << _INTEGERS[kind]) <= value < 1 << _INTEGERS[kind]
    return None if fits else f"{_shown(value)} does not fit into {_WORDS[kind]}"


def _number(value: Any, kind: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _not(kind, value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return f"{_shown(value)} is not finite"
    fits = abs(number) <= _FLOATS[kind]
    return None if fits else f"{_shown(value)} does not fit into {_WORDS[kind]}"


def _text(value: Any, kind: str) -> str | None:
    if not isinstance(value, str):
        return _not(kind, value)
    try:
        if kind == "binary":
            base64.b64decode(value, validate=True)
        else:
            datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (binascii.Error, ValueError):
        return _not(kind, value)
    return None


def _nested(declared: dict[str, Any], value: Any, kind: str) -> str | None:
    if kind == "array":
        if not isinstance(value, list):
            return _not(kind, value)
        found = ((f"[{i}]", problem(declared["items"], v)) for i, v in enumerate(value))
    elif kind == "map":
        if not isinstance(value, dict):
            return _not(kind, value)
        found = ((f".{k}", problem(declared["values"], v)) for k, v in value.items())
    elif kind == "object":
        if not isinstance(value, dict):
            return _not(kind, value)
        properties = declared["properties"]
        for name, one in properties.items():
            if one.get("required", True) and name not in value:
                return f"its property {name!r} is missing"
        found = ((f".{k}", problem(properties[k], v)) for k, v in value.items() if k in properties)
    else:
        return None  # any type, or one that is newer than this
    return next((f"at {where[:40]}: {wrong}" for where, wrong in found if wrong), None)


# --- tensors


def check_tensor(tensor: Tensor, value: Any, place: str) -> int:
    """Refuse an array of the wrong shape or type, and return its first length."""
    shape, leaves = _flat(value, place)
    wanted = tensor.shape
    same = len(shape) == len(wanted) and all(
        w in (-1, s) for s, w in zip(shape, wanted, strict=True)
    )
    if not same:
        raise RefusedError(
            f"{place} has the shape {_shape(shape)}, not {_shape(wanted)}.", column=tensor.name
        )
    declared = {"type": _DTYPES.get(tensor.dtype, tensor.dtype)}
    low = 0 if tensor.dtype.startswith("uint") else None
    for index, leaf in enumerate(leaves):
        wrong = "null is not allowed" if leaf is None else problem(declared, leaf)
        if isinstance(leaf, float) and math.isnan(leaf):
            wrong = "nan is not finite"
        if low is not None and not wrong and isinstance(leaf, int | float) and leaf < low:
            wrong = f"{_shown(leaf)} is negative"
        if wrong:
            raise RefusedError(
                f"{place}, element {index}: {wrong}.", column=tensor.name, element=index
            )
    return shape[0] if shape else 1


_DTYPES = {
    "float64": "double", "float32": "float", "float16": "float", "int64": "long",
    "int32": "integer", "int16": "integer", "int8": "integer", "uint8": "integer",
    "uint16": "integer", "uint32": "long", "uint64": "long", "bool": "boolean", "str": "string",
    "object": "any",
}  # fmt: skip


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join("any" if n == -1 else str(n) for n in shape) + ")"


def _flat(value: Any, place: str) -> tuple[list[int], list[Any]]:
    """Return the shape and the elements of nested arrays, all of one depth and length."""
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        length = len(level[0])
        if any(not isinstance(v, list) or len(v) != length for v in level):
            raise RefusedError(f"{place} is ragged: its arrays differ in length or depth.")
        shape.append(length)
        level = [leaf for v in level for leaf in v]
    if any(isinstance(leaf, list) for leaf in level):
        raise RefusedError(f"{place} is ragged: its arrays differ in length or depth.")
    return shape, level
