"""One link of the chain."""

from __future__ import annotations

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one link holds."""

    name: str
    holds: bool | None
    """None where it could not be looked at."""
    said: str


def good(name: str, said: str) -> Check:
    """Return a check that holds."""
    return Check(name=name, holds=True, said=said)


def bad(name: str, said: str) -> Check:
    """Return a check that does not hold."""
    return Check(name=name, holds=False, said=said)


def unknown(name: str, said: str) -> Check:
    """Return a check that could not be made."""
    return Check(name=name, holds=None, said=said)
