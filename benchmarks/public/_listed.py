"""The notebooks of the list, and how they were judged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST = Path(__file__).with_name("notebooks.toml")


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A public notebook, and what a person says of it."""

    repository: str
    commit: str
    path: str
    verdict: str
    """``reproduced``, ``different``, ``failed``; ``inconclusive``: it runs, and has no outputs."""
    causes: tuple[str, ...] = ()
    """The main one first: what a person would mend first."""
    also: tuple[str, ...] = ()
    """Causes that are there too, or that may as well be named: neither right nor wrong."""
    cell: int | None = None
    """Where the main cause lies, if in a cell."""
    why: str

    @property
    def name(self) -> str:
        """A name of one line."""
        return f"{self.repository}: {self.path}"


def listed() -> list[Listed]:
    """Return the notebooks of the list."""
    return msgspec.convert(_document()["notebook"], list[Listed])


def packages() -> list[str]:
    """Return the distributions, pinned, that notebooks are judged with."""
    return list(_document()["environment"]["packages"])


def _document() -> dict[str, Any]:
    return tomllib.loads(LIST.read_text(encoding="utf-8"))
