"""What builds without an engine keep on this machine: blobs, wheels, and what they were made of.

Everything is found by a digest, written beside its place and renamed into it, so
that builds may share the cache and be killed at any moment. What nobody used for
a month goes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import canonical, digest_bytes
from mlrepro_nb.store import user_cache

_MONTH = 30 * 86400
_DAY = 86400


class Cache:
    """A folder of files by digest, and of notes by what they are about.

    Parameters
    ----------
    root
        The folder; by default ``mlrepro`` in the user's cache folder
        (XDG_CACHE_HOME).
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or user_cache()

    def blob(self, digest: str) -> Path:
        """Return the place of a blob, whether or not it is there."""
        return self.root / "blobs" / digest.replace(":", "/", 1)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether a blob is there (in its size, where that is known); then it is in use."""
        try:
            path = self.blob(digest)
            there = path.stat().st_size
            os.utime(path)
        except OSError:
            return False
        return size is None or there == size

    @contextlib.contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """Yield a new file to be given to `keep`; it is gone afterwards if it was not."""
        folder = self._folder("new")
        with full_disk(self.root):
            file = tempfile.NamedTemporaryFile(dir=folder, delete=False)  # noqa: SIM115
            try:
                with file:
                    yield file
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file.name)

    def keep(self, file: IO[bytes], target: Path) -> None:
        """Put a written file into its place, whole."""
        with full_disk(self.root):
            file.flush()
            os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file.name, target)

    def take(self, path: Path) -> str:
        """Move a file, which is on the same disk, into the cache and return its digest."""
        digest = digest_of(path)
        with full_disk(self.root), path.open("ab") as file:
            self.keep(file, self.blob(digest))
        return digest

    def scratch(self) -> Path:
        """Return a folder on the cache's disk for what may be taken into it."""
        return self._folder("new")

    def put(self, data: bytes) -> str:
        """Keep a small blob and return its digest."""
        digest = digest_bytes(data)
        if not self.has(digest, len(data)):
            with self.writing() as file:
                file.write(data)
                self.keep(file, self.blob(digest))
        return digest

    def fetch(self, digest: str, size: int, into: Callable[[Path], None]) -> Path:
        """Return a blob's place, once `into` has written it, if it was not there.

        `into` is given a file that may hold the beginning already, from a build
        that was killed. Two builds that want the same blob wait for each other.
        """
        target = self.blob(digest)
        part = self._folder("parts") / digest.replace(":", "-")
        with full_disk(self.root), part.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.has(digest, size):
                into(part)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, target)
        return target

    def note(self, about: Any) -> Any:
        """Return what was noted about something, None if nothing."""
        try:
            path = self._note(about)
            found = msgspec.json.decode(path.read_bytes())
            os.utime(path)
        except (OSError, ValueError):
            return None
        return found

    def write_note(self, about: Any, value: Any) -> None:
        """Note something."""
        with self.writing() as file:
            file.write(msgspec.json.encode(value))
            self.keep(file, self._note(about))

    def _note(self, about: Any) -> Path:
        return self.root / "notes" / hashlib.sha256(canonical(about)).hexdigest()

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        with full_disk(self.root):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sweep(self) -> None:
        """Delete what nobody used for a month, and what killed builds left behind."""
        now = time.time()
        # The folder holds what is not the cache's, too: whole environments.
        for name, age in (("new", _DAY), ("blobs", _MONTH), ("notes", _MONTH), ("parts", _MONTH)):
            for path in (self.root / name).rglob("*"):
                with contextlib.suppress(OSError):
                    if path.is_file() and now - path.stat().st_mtime > age:
                        path.unlink()


def located(digests: Iterable[str], caches: Sequence[Cache]) -> dict[str, Path]:
    """Return where blobs are, in the first cache that has one; those that none has are left out."""
    found: dict[str, Path] = {}
    for digest in digests:
        cache = next((c for c in caches if c.has(digest)), None)
        if cache is not None:
            found[digest] = cache.blob(digest)
    return found


def digest_of(path: Path) -> str:
    """Return the digest of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"


@contextlib.contextmanager
def full_disk(where: Path) -> Iterator[None]:
    """Say what it means that a file cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ToolError(
                f"The disk of {where} is full.",
                "Free some space, or set XDG_CACHE_HOME to a folder with more; nothing was "
                "tagged, and the next build goes on from here.",
                tool="disk",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ToolError(
                f"{error.filename or where} cannot be written: {error.strerror}.",
                "Set XDG_CACHE_HOME to a folder that can.",
                tool="disk",
            ) from error
        raise
