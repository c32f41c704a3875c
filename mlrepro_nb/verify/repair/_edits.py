"""What a repair does to a notebook, as values."""

from __future__ import annotations

from typing import Literal

import msgspec


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the copy; cells are counted as in the original."""

    cause: str
    """The kind of the cause that it is for."""
    action: Literal["replace", "insert", "order", "outputs", "require", "kernel", "environment"]
    """Another source for a cell; a new cell before one; all cells in another order; outputs
    made anew; a requirement (`source`) that goes into a file beside the copy; an installed kernel
    (`source`) instead of the one that the notebook names; an environment as of a moment
    (`source`)."""
    cell: int | None = None
    source: str = ""
    order: tuple[int, ...] = ()
    what: str
    """In a sentence."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A cause that no edit of the notebook repairs."""

    cause: str
    cell: int | None
    subject: str
    why: str


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """All edits, in the order of their causes, and what is left to a person."""

    edits: tuple[Edit, ...] = ()
    refused: tuple[Refusal, ...] = ()
