"""The nouns of comparison."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["bitwise", "within-tolerance", "different"]
_ORDER: tuple[Level, ...] = ("bitwise", "within-tolerance", "different")


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the comparison is told about the cell.

    Floats agree within ``atol + rtol * |reference|``.
    """

    rtol: float = 1e-9
    atol: float = 1e-12
    timed: bool = False
    """The code measures time, so that a duration is no result."""
    identities: bool = False
    """The code prints ``id(…)``."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How far one output is from its reference."""

    level: Level
    where: str = ""
    """``stdout``, a MIME type, ``error``."""
    before: str = ""
    after: str = ""
    hints: frozenset[str] = frozenset()
    """What the first differing place looks like: ``date uuid order path version lost``."""

    @property
    def detail(self) -> str:
        """A line that shows what differs."""
        shown = f"{_clip(self.before)} → {_clip(self.after)}" if self.before != self.after else ""
        return f"{self.where}: {shown}" if self.where and shown else self.where or shown


PLAIN = Context()
EXACT = Difference(level="bitwise")
NEAR = Difference(level="within-tolerance")


def worst(differences: Iterable[Difference]) -> Difference:
    """Return the greatest difference, the first of several; `EXACT` for none."""
    found = EXACT
    for difference in differences:
        if _ORDER.index(difference.level) > _ORDER.index(found.level):
            found = difference
    return found


def _clip(text: str, length: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"
