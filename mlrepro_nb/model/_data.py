"""What was read and written."""

from __future__ import annotations

from typing import Literal

import msgspec


class DvcPointer(msgspec.Struct, frozen=True, kw_only=True):
    """The ``.dvc`` file or ``dvc.lock`` stage that tracks a file."""

    file: str
    md5: str | None = None
    """As DVC has it, ``.dir`` at its end for a folder; None for a parameters file."""
    remote: str | None = None
    stage: str | None = None
    """Of ``dvc.lock``; None for a ``.dvc`` file."""
    role: Literal["out", "dep", "param", "metric", "plot"] = "out"


class DataVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a file held from an execution on."""

    digest: str
    execution: int | None = None
    """`ExecutedCell.order` of the first execution that read it so."""


class DataAccess(msgspec.Struct, frozen=True, kw_only=True):
    """A file, folder, table or URL that the run read or wrote.

    One entry a path and kind of access. A folder of which many files were
    touched is one entry: `files` says how many they are, `tree` which.
    """

    path: str
    """As the code gave it."""
    repo_path: str | None = None
    """Path inside the repository, where it lies in one."""
    real: str | None = None
    """Where the path leads through links, or the other name of a hard link, if that is not it."""
    digest: str | None = None
    """``blake3:…``; of a URL, if all that it held was handed over in Python. None for what cannot
    be hashed: another URL, a file gone before it could be read."""
    versions: tuple[DataVersion, ...] = ()
    """What it held when, oldest first, if it was read again with other content. `digest` is what it
    held before the run itself wrote to it; if others did, what it held last."""
    md5: str | None = None
    size: int | None = None
    files: int | None = None
    """Of a folder: how many of its files were touched."""
    tree: str | None = None
    """Of a folder: digest of the blob that lists them: canonical JSON, relative path to digest.
    `digest` is the BLAKE3 of these bytes."""
    rows: str | None = None
    """Of a table: ``blake3:`` over its schema and rows, however they are encoded."""
    version: str | None = None
    """As the outside store names what was read: ``etag:"…"``, ``s3:…``, ``delta:12``."""
    kept: str | None = None
    """Digest of the blob that holds the bytes that were read, where the run overwrote them."""
    access: Literal["read", "write"]
    cell: int | None = None
    execution: int | None = None
    """`ExecutedCell.order` of the execution that opened it first."""
    executions: tuple[int, ...] = ()
    """All that opened it so, oldest first, where there are several. What a written file holds in
    the end is the last one's."""
    tracked: bool = False
    """Under git."""
    dvc: DvcPointer | None = None
    layers: tuple[str, ...] = ()
    """Capture layers that saw it: ``audit``, ``wrapper:pyarrow``…"""

    @property
    def orders(self) -> tuple[int, ...]:
        """The executions that opened it so, oldest first."""
        return self.executions or (() if self.execution is None else (self.execution,))
