"""Arrays of numbers that plotting libraries pack into base64."""

from __future__ import annotations

import array
import base64
import binascii
import re
import sys
from collections.abc import Mapping
from typing import Any

_CODES = {
    "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
    "f4": "f", "f8": "d",
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I",
    "int64": "q", "float32": "f", "float64": "d",
}  # fmt: skip
_LITERAL = re.compile(
    r"""\{\s?["']dtype["']:\s?["'](\w{2,8})["'],\s?["']bdata["']:\s?["']([A-Za-z0-9+/=\\]*)["']"""
)


def unpacked(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the numbers of a typed array (plotly's ``bdata``, bokeh's ``ndarray``), or None."""
    dtype, data = value.get("dtype"), value.get("bdata")
    if data is None:
        data = value.get("array", value.get("__ndarray__"))
        if isinstance(data, Mapping) and data.get("type") == "bytes":
            data = data.get("data")
    if not isinstance(dtype, str) or not isinstance(data, str):
        return None
    return _numbers(dtype, data)


def numbers_in(script: str) -> str:
    """Return a script with its packed arrays written out."""
    if "bdata" not in script:
        return script
    return _LITERAL.sub(lambda m: _written(m), script)


def _written(match: re.Match[str]) -> str:
    numbers = _numbers(match[1], match[2].replace("\\u002f", "/").replace("\\/", "/"))
    return match[0] if numbers is None else "{" + ", ".join(map(repr, numbers))


def _numbers(dtype: str, data: str) -> list[Any] | None:
    code = _CODES.get(dtype)
    if code is None:
        return None
    try:
        numbers = array.array(code)
        numbers.frombytes(base64.b64decode(data))
    except (binascii.Error, ValueError):
        return None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
