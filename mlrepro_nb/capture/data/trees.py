"""Folders as one thing: a digest over the paths and digests of their files.

The listing is canonical JSON, relative path to digest; the folder's digest is the
BLAKE3 of these bytes. So the listing says which files changed, and whoever has the
files can make the digest anew.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Iterable, Mapping
from hashlib import md5 as md5_of
from typing import TYPE_CHECKING

import msgspec
from blake3 import blake3

from mlrepro_nb.capture.data.hashing import REST_NS, DigestCache, hash_files
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import canonical

if TYPE_CHECKING:
    from mlrepro_nb.store import Store

_stat, _scandir = os.stat, os.scandir


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder held."""

    digest: str
    size: int
    """Bytes of all files."""
    files: int


def listing(digests: Mapping[str, str | None]) -> bytes:
    """Return the listing of a folder's files; a file without a digest has null."""
    return canonical(dict(digests))


def digest_of_listing(data: bytes) -> str:
    """Return the digest of a folder with a listing."""
    return f"blake3:{blake3(data).hexdigest()}"


def read_listing(data: bytes) -> dict[str, str | None]:
    """Return a folder's files and digests from its listing.

    Raises
    ------
    msgspec.DecodeError
        It is none.
    """
    return msgspec.json.decode(data, type=dict[str, str | None])


def stored_listing(store: Store, tree: str) -> dict[str, str | None] | None:
    """Return a folder's files and digests from the store, None where it lacks the listing."""
    try:
        return read_listing(store.blobs.get(tree))
    except (MlreproError, msgspec.DecodeError):
        return None


def hash_tree(
    folder: str, names: Iterable[str] | None = None, *, cache: DigestCache | None = None
) -> Tree | None:
    """Return the digest of a folder, or None where a file is missing or cannot be read.

    A folder of which no file's status has changed since it was hashed is known by
    these alone: nothing is read, and the cache is asked once.

    Parameters
    ----------
    folder : str
        Path of the folder.
    names : iterable of str, optional
        Relative paths of the files that count, ``/`` between the parts; by
        default all below it.
    cache : DigestCache, optional
        Digests of earlier sessions.
    """
    now = time.time_ns()
    states = _States.of(folder, names)
    if states is None:
        return None
    print_ = states.fingerprint()
    kept = cache.get_tree(print_) if cache is not None else None
    if kept is not None:
        return Tree(digest=kept[0], size=kept[1], files=len(states.names))
    digests = hash_listed(folder, states.names, cache=cache)
    if None in digests.values():
        return None
    # Only if nothing changed meanwhile does the status stand for what was read.
    again = _States.of(folder, states.names)
    if again is None or again.numbers != states.numbers:
        return None
    found = Tree(
        digest=digest_of_listing(listing(digests)), size=states.size(), files=len(states.names)
    )
    if cache is not None and now - states.newest() >= REST_NS:
        cache.put_tree(print_, found.digest, found.size)
    return found


def hash_listed(
    folder: str, names: Iterable[str], *, cache: DigestCache | None = None
) -> dict[str, str | None]:
    """Return the digests of some files of a folder, None for those that cannot be read."""
    listed = list(names)
    found = hash_files([f"{folder}/{name}" for name in listed], cache=cache)
    return {
        name: one.digest if one is not None else None
        for name, one in zip(listed, found, strict=True)
    }


def dvc_md5(md5s: Mapping[str, str | None]) -> str | None:
    """Return the ``md5:….dir`` that DVC gives a folder, from its files' md5s; None if one lacks."""
    entries = []
    for name in sorted(md5s):
        md5 = md5s[name]
        if md5 is None:
            return None
        entries.append(f'{{"md5": "{md5.removeprefix("md5:")}", "relpath": {json.dumps(name)}}}')
    text = f"[{', '.join(entries)}]"
    return f"md5:{md5_of(text.encode(), usedforsecurity=False).hexdigest()}.dir"


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)


class _States:
    """What `os.stat` says of a folder's files, as plain numbers: there may be 100,000."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.numbers: array[int] = array("q")
        """Five a file: device, inode, size, mtime_ns, ctime_ns."""

    @classmethod
    def of(cls, folder: str, names: Iterable[str] | None) -> _States | None:
        found = cls()
        try:
            if names is None:
                found._walk(folder, "")
            for name in names or ():
                found._add(name, _stat(f"{folder}/{name}"))
        except (OSError, ValueError):
            return None
        return found

    def _walk(self, folder: str, below: str) -> None:
        with _scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._walk(entry.path, f"{below}{entry.name}/")
                elif entry.is_file():
                    self._add(below + entry.name, entry.stat())

    def _add(self, name: str, s: os.stat_result) -> None:
        self.names.append(name)
        told = (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
        try:
            self.numbers.extend(told)
        except OverflowError:  # an inode that uses the highest bit
            del self.numbers[(len(self.names) - 1) * 5 :]
            self.numbers.extend((number + 2**63) % 2**64 - 2**63 for number in told)

    def fingerprint(self) -> str:
        names = "\0".join(self.names).encode("utf-8", "surrogatepass")
        return blake3(names + b"\0\0" + self.numbers.tobytes()).hexdigest()

    def size(self) -> int:
        return sum(self.numbers[2::5])

    def newest(self) -> int:
        return max((*self.numbers[3::5], *self.numbers[4::5]), default=0)
