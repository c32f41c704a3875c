"""Recorded predictions: an input, what the model said to it, and how near the same is. Pure.

They are rounded well below the tolerance, so that two machines whose last digits
differ record the same document, and an image holds the same bytes from both.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from mlrepro_nb.connect.mlflow_answer import ROWS  # more would be predicted at every start
from mlrepro_nb.image.service.payload import JSON, read
from mlrepro_nb.image.service.signature import RefusedError, Signature

FILE = "predictions.json"
RTOL = 1e-6
RTOL_SINGLE = 1e-4
"""Of models that answer in 32 bits."""
LARGEST = 1 << 20
"""Bytes of an input that is kept."""
_PLAIN = frozenset({"double", "float", "integer", "long", "boolean", "string"})

Where = tuple[str, ...]


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """What a model predicted where it was recorded."""

    input: dict[str, Any]
    """A request's body, by MLflow's scoring protocol."""
    output: Any
    """The answer's body."""
    rtol: float
    """Numbers agree within this much of the largest number in their place."""

    def encoded(self) -> bytes:
        """Return them as JSON; NaN and infinities are written as Python does."""
        found = {"input": self.input, "output": self.output, "rtol": self.rtol}
        return json.dumps(found, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def decoded(data: bytes) -> Predictions:
    """Read them again."""
    return msgspec.convert(json.loads(data), Predictions)


def of(body: dict[str, Any], answer: str, outputs: list[dict[str, Any]]) -> Predictions:
    """Return the document of an answer.

    Parameters
    ----------
    outputs
        The signature's outputs as MLflow writes them: they tell the precision.
    """
    types = {str(o.get("tensor-spec", {}).get("dtype", o.get("type"))) for o in outputs}
    single = bool(types & {"float", "float32", "float16"})
    rtol = RTOL_SINGLE if single else RTOL
    found = json.loads(answer)
    return Predictions(input=body, output=_rounded(found, _scales(found), rtol), rtol=rtol)


def difference(expected: Any, found: Any, rtol: float) -> str | None:
    """Return the first thing in which two answers differ, None where they agree.

    Whole numbers, texts and booleans agree if they are the same.
    """
    return next(_differences(expected, found, rtol, _scales(expected), (), "answer"), None)


def _differences(
    expected: Any, found: Any, rtol: float, scales: dict[Where, float], where: Where, shown: str
) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys():
            other = sorted(expected.keys() ^ found.keys())[0]
            yield f"{shown} has {'no' if other in expected else 'besides'} {other!r}"
            return
        for key, value in expected.items():
            inner = f"{shown}.{key}"
            yield from _differences(value, found[key], rtol, scales, (*where, key), inner)
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{shown} has {len(found)} elements instead of {len(expected)}"
            return
        for number, (old, new) in enumerate(zip(expected, found, strict=True)):
            yield from _differences(old, new, rtol, scales, where, f"{shown}[{number}]")
    elif not _agree(expected, found, rtol * scales.get(where, 0.0)):
        yield f"{shown} is {found!r} instead of {expected!r}"


def _agree(expected: Any, found: Any, margin: float) -> bool:
    if not (_is_float(expected) or _is_float(found)):
        return type(expected) is type(found) and bool(expected == found)
    if not (_is_number(expected) and _is_number(found)):
        return False
    if math.isfinite(expected) and math.isfinite(found):
        return bool(abs(expected - found) <= margin)
    return expected == found or (math.isnan(expected) and math.isnan(found))


def _is_float(value: Any) -> bool:
    return isinstance(value, float)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scales(value: Any) -> dict[Where, float]:
    """Return the largest number in each place; elements of an array are one place."""
    found: dict[Where, float] = {}
    waiting: list[tuple[Where, Any]] = [((), value)]
    while waiting:
        where, one = waiting.pop()
        if isinstance(one, dict):
            waiting += [((*where, key), inner) for key, inner in one.items()]
        elif isinstance(one, list):
            waiting += [(where, inner) for inner in one]
        elif _is_number(one) and math.isfinite(one):
            found[where] = max(found.get(where, 0.0), abs(float(one)))
    return found


def _rounded(value: Any, scales: dict[Where, float], rtol: float, where: Where = ()) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v, scales, rtol, (*where, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v, scales, rtol, where) for v in value]
    scale = scales.get(where, 0.0)
    if not _is_float(value) or not math.isfinite(value) or not scale:
        return value
    # Two digits more than are compared.
    found = round(value, 2 - math.floor(math.log10(scale * rtol)))
    return found or 0.0  # not -0.0


def shortened(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request's body with its first rows, where it is easily told what they are."""
    made = dict(body)
    for key in ("dataframe_records", "instances", "inputs"):
        if isinstance(made.get(key), list):
            made[key] = made[key][:ROWS]
    split = made.get("dataframe_split")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        made["dataframe_split"] = {
            key: value[:ROWS] if key in ("data", "index") and isinstance(value, list) else value
            for key, value in split.items()
        }
    return made


def as_csv(body: dict[str, Any], wanted: Signature | None) -> str | None:
    """Return a body's table as CSV, None where CSV cannot tell the same."""
    if body.get("params") or wanted is None or not wanted.columns or not wanted.named:
        return None
    if {str(column.type.get("type")) for column in wanted.columns} - _PLAIN:
        return None
    split, records = body.get("dataframe_split"), body.get("dataframe_records")
    if isinstance(split, dict) and split.get("columns"):
        names, rows = split["columns"], split["data"]
    elif (
        isinstance(records, list)
        and records
        and all(r.keys() == records[0].keys() for r in records)
    ):
        names, rows = list(records[0]), [list(r.values()) for r in records]
    else:
        return None
    if any((isinstance(v, str) and v.strip() != v) or v == "" for row in rows for v in row):
        return None
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, *rows])
    try:
        read(text.getvalue().encode(), "text/csv", wanted)
        read(json.dumps(body).encode(), JSON, wanted)
    except RefusedError:
        return None
    return text.getvalue()
