"""Content-addressed blobs in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mlrepro_nb.errors import NotFoundError, StoreError
from mlrepro_nb.model import digest_bytes
from mlrepro_nb.store._atomic import write_atomically

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Blobs:
    """Blobs named ``sha256:<hex>``, each a read-only file written atomically."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Return where the blob is, or would be."""
        if not _DIGEST.fullmatch(digest):
            raise NotFoundError(f"{digest!r} is not a digest.", "It reads sha256:<64 hex digits>.")
        name = digest.removeprefix("sha256:")
        return self.root / name[:2] / name

    def put(self, data: bytes) -> str:
        """Write a blob, unless it is there, and return its digest.

        The file appears whole or not at all, even if the process is killed or
        two processes write the same blob at once.
        """
        digest = digest_bytes(data)
        path = self.path(digest)
        if path.exists():
            return digest
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, mode=0o444)
        except OSError as error:
            raise StoreError(
                f"The store at {self.root.parent} cannot be written: {error.strerror}.",
                "Free some space or fix its permissions, or set MLREPRO_STORE to another folder.",
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """Read a blob, checking that its content still has its digest.

        Raises
        ------
        NotFoundError
            There is no such blob.
        StoreError
            The file was damaged.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(
                f"The store has no blob {digest}.", "`mlrepro log` lists what it has."
            ) from None
        if digest_bytes(data) != digest:
            raise StoreError(
                f"The blob {digest} was damaged on disk.",
                f"Delete {self.path(digest)} and record the notebook again.",
            )
        return data

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self.root.glob("??/*")):
            if not path.name.startswith("."):
                yield f"sha256:{path.name}"
