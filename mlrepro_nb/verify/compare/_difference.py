"""The nouns of comparison."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

Level = Literal["bitwise", "within-tolerance", "different"]
_ORDER: tuple[Level, ...] = ("bitwise", "within-tolerance", "different")

Substitution = tuple[re.Pattern[str], str]
"""What a sanitize file asks for: a pattern and what to put in its place."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the comparison is told about the cell.

    Floats agree within ``atol + rtol * max(|reference|, |rerun|)``: which of two
    runs is the reference makes no difference.
    """

    rtol: float = 1e-9
    atol: float = 1e-12
    timed: bool = False
    """The code measures time, so that a duration is no result."""
    identities: bool = False
    """The code prints ``id(…)``."""
    entropy: bool = False
    """The code draws identifiers itself (``uuid4()``): they are then no library's."""
    sanitize: tuple[Substitution, ...] = ()
    """Carried out on every text of both sides before they are compared."""
    ignore: frozenset[str] = frozenset()
    """Streams, MIME types and ``evalue`` that are not compared at all."""
    widgets: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})
    """The widgets' states of both notebooks, by model id."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How far one output is from its reference."""

    level: Level
    where: str = ""
    """``stdout``, ``stderr``, a MIME type, ``error``, ``display``."""
    before: str = ""
    after: str = ""
    hints: frozenset[str] = frozenset()
    """What the first differing place looks like: ``date uuid order path version lost opaque``."""
    notes: tuple[str, ...] = ()
    """What came or went and is no result: a warning that was not there before."""
    picture: bytes | None = None
    """A PNG that shows where two pictures differ."""

    @property
    def detail(self) -> str:
        """A line that shows what differs, or what there is to note."""
        shown = f"{_clip(self.before)} → {_clip(self.after)}" if self.before != self.after else ""
        told = f"{self.where}: {shown}" if self.where and shown else self.where or shown
        return told or "; ".join(_clip(note, 120) for note in self.notes[:3])


PLAIN = Context()
EXACT = Difference(level="bitwise")
NEAR = Difference(level="within-tolerance")


def differing(
    before: str,
    after: str,
    *,
    where: str = "",
    hints: Iterable[str] = (),
    picture: bytes | None = None,
) -> Difference:
    """Return a difference that counts, with the two places that show it."""
    return Difference(
        level="different",
        where=where,
        before=before,
        after=after,
        hints=frozenset(hints),
        picture=picture,
    )


def worst(differences: Iterable[Difference]) -> Difference:
    """Return the greatest difference, the first of several, and the notes of all."""
    found, notes = EXACT, []
    for difference in differences:
        notes += [note for note in difference.notes if note not in notes]
        if _ORDER.index(difference.level) > _ORDER.index(found.level):
            found = difference
    return msgspec.structs.replace(found, notes=tuple(notes)) if notes else found


def _clip(text: str, length: int = 60) -> str:
    # Only the beginning is ever shown: the text may be megabytes.
    text = " ".join(text[: 20 * length].split())
    return text if len(text) <= length else text[: length - 1] + "…"
