"""What long work says while it goes on."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of long work: what is going on, and how far it is."""

    message: str
    done: float | None = None
    total: float | None = None
    log: bool = False
    """A line of a tool's own output, to be shown as it comes."""


Report = Callable[[Step], None]
"""What long work tells its progress to. It must return at once and never raise."""


def silent(step: Step) -> None:
    """Report nothing."""
