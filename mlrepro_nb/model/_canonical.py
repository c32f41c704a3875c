"""Canonical JSON (RFC 8785) and digests."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import msgspec


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 canonical JSON of a value or of plain JSON data.

    Raises
    ------
    ValueError
        For NaN, infinities, integers beyond 2**53 and lone surrogates, which
        RFC 8785 does not know.
    """
    import rfc8785

    return rfc8785.dumps(msgspec.to_builtins(value))


def plain(value: Any) -> Any:
    """Return a value as JSON that has a canonical form; `revived` gives the value back.

    What RFC 8785 does not know is an object of one key: ``{"$int": "9007199254740993"}``,
    ``{"$float": "nan"}`` and ``"1.0"``, ``{"$items": [[1, "a"]]}`` for a mapping whose keys are no
    texts, ``{"$text": "2024-01-01"}`` for anything else, which stays a text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) <= 2**53 - 1 else {"$int": str(int(value))}
    if isinstance(value, float):
        # RFC 8785 writes 1.0 as 1: a rerun would get another type.
        exact = math.isfinite(value) and not value.is_integer()
        return value if exact else {"$float": repr(float(value))}
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        texts = all(isinstance(key, str) for key in value)
        if texts and not (len(value) == 1 and next(iter(value)).startswith("$")):
            return {plain(key): plain(item) for key, item in value.items()}
        return {"$items": [[plain(key), plain(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {"$text": str(value)}


def revived(value: Any) -> Any:
    """Return what `plain` made JSON of; what is not as it writes it stays as it is."""
    if isinstance(value, list):
        return [revived(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, told),) = value.items()
        try:
            if kind in ("$int", "$float", "$text") and isinstance(told, str):
                return {"$int": int, "$float": float, "$text": str}[kind](told)
            if kind == "$items":
                return {_key(key): revived(item) for key, item in told}
        except (ValueError, TypeError):
            return value
    return {key: revived(item) for key, item in value.items()}


def _key(value: Any) -> Any:
    found = revived(value)
    return tuple(found) if isinstance(found, list) else found


def digest(value: Any) -> str:
    """Return ``sha256:<hex>`` over the canonical JSON of a value."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> str:
    """Return ``sha256:<hex>`` over bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_text(text: str) -> str:
    """Return ``sha256:<hex>`` over the UTF-8 form of a text; lone surrogates are kept apart."""
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def short(digest: str, length: int = 12) -> str:
    """Return the first hex digits of a digest, to show to people."""
    return digest.rpartition(":")[2][:length]
