"""What goes into an image from the project."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

import msgspec

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import digest_bytes
from mlrepro_nb.store import Store

Layer = Literal["bulk", "data", "model", "code", "record"]


class ContextFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the build context."""

    layer: Layer
    path: str
    """In its layer."""
    source: str | None = None
    """File that it is a copy of; None where `content` has it."""
    content: bytes | None = None


def identity(file: ContextFile, store: Store) -> str:
    """Return the digest of what a file holds; one that did not change is not read again."""
    if file.source is None:
        return digest_bytes(file.content or b"")
    # Not above: a service imports this package, and has no need of what capture needs.
    from mlrepro_nb.capture.data.hashing import hash_file

    found = hash_file(file.source, cache=store.digests)
    if found is None or found.digest is None:
        raise UsageError(f"{file.source} cannot be read.", "Restore it, or record again.")
    return found.digest


def in_project(path: str) -> bool:
    """Whether a recorded path stays in the project."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def inside(path: str) -> str:
    """Return a path that a record gives, refusing one that would leave the build context."""
    if not in_project(path) or ".git" in PurePosixPath(path).parts:
        raise UsageError(
            f"The record names {path!r}, which is not in the project.", "Record the notebook again."
        )
    return path
