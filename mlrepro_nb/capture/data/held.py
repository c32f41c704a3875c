"""What the files that a program is given hold before it starts: it may change them in place.

The program waits for this, so only what is read in some milliseconds is looked at.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from mlrepro_nb.capture.data.audit import unwatched
from mlrepro_nb.capture.data.hashing import hash_file, regular
from mlrepro_nb.capture.data.paths import is_secret
from mlrepro_nb.capture.data.programs import named
from mlrepro_nb.connect import dvc

_MOST = 8 << 20
"""Bytes of all files that are hashed for one command line: starting it takes longer."""


class Held(msgspec.Struct):
    """What a file held."""

    digest: str
    size: int
    md5: str | None = None


def held(commands: list[list[str]]) -> dict[str, Held]:
    """Return what files held that commands name, by their paths without links."""
    found: dict[str, Held] = {}
    room = _MOST
    with unwatched():
        for word in named(commands):
            path = os.path.realpath(word)
            status = regular(path)
            if status is None or is_secret(path) or not status.st_size or status.st_size > room:
                continue
            digest = hash_file(path, md5=dvc.is_tracked(path))
            if digest is not None:
                room -= digest.size
                found[path] = Held(digest.digest, digest.size, digest.md5)
    return found


def to_json(found: dict[str, Held]) -> dict[str, Any]:
    """Return it as a child process tells it."""
    return {path: msgspec.to_builtins(one) for path, one in found.items()}


def of_json(told: dict[str, Any]) -> dict[str, Held]:
    """Return what a child process told."""
    return msgspec.convert(told, dict[str, Held])
