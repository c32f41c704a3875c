"""What goes into an image from the project, as values."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

import msgspec

from mlrepro_nb.errors import UsageError

Layer = Literal["bulk", "data", "model", "code", "record"]


class ContextFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the build context."""

    layer: Layer
    path: str
    """In its layer."""
    source: str | None = None
    """File that it is a copy of; None where `content` has it."""
    content: bytes | None = None


def in_project(path: str) -> bool:
    """Whether a recorded path stays in the project."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def inside(path: str) -> str:
    """Return a path that a record gives, refusing one that would leave the build context."""
    if not in_project(path) or PurePosixPath(path).parts[:1] == (".git",):
        raise UsageError(
            f"The record names {path!r}, which is not in the project.", "Record the notebook again."
        )
    return path
