"""A lock, read: its pins with the hashes that it allows. Pure."""

from __future__ import annotations

import re

import msgspec

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.image._closure import normal


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement of a lock, as it is written there, and the hashes that it allows."""

    name: str
    text: str
    hashes: tuple[str, ...]
    """SHA-256, in hex."""

    @property
    def version(self) -> str | None:
        """Which version it pins; None where it is one by its URL."""
        found = re.match(r"[^=@\s]+==([^\s;]+)", self.text)
        return found[1] if found else None


def parse(lock: str) -> tuple[list[str], list[Pin]]:
    """Return a lock's options for pip and its pins.

    Raises
    ------
    MlreproError
        A line of it has no hash.
    """
    lines = re.sub(r"\\\n\s*", " ", lock).splitlines()
    options, pins = [], []
    for line in lines:
        text = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if not text:
            continue
        if text.startswith("-"):
            options.append(text)
            continue
        named = re.match(r"[A-Za-z0-9][\w.-]*", text)
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", text))
        if named is None or not hashes:
            raise MlreproError(
                f"The lock has a line without a hash: {text[:80]!r}.", "Record the notebook again."
            )
        pins.append(Pin(name=normal(named[0]), text=text, hashes=hashes))
    return options, pins
