"""The lock: pins with hashes, and the copy of it that the store keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from mlrepro_nb.connect import uv
from mlrepro_nb.errors import NotFoundError, StoreError
from mlrepro_nb.model import Environment, digest, short
from mlrepro_nb.store import Store, write_atomically


def _pointer(store: Store, pins: Sequence[str], environment: Environment) -> Path:
    key = digest([sorted(pins), environment.python, environment.system.machine])
    return store.root / "locks" / short(key, 64)


def cached(store: Store, pins: Sequence[str], environment: Environment) -> str | None:
    """Return the lock of these pins, if they were locked before."""
    if not pins:
        return ""
    try:
        named = _pointer(store, pins, environment).read_text(encoding="ascii").strip()
        return store.blobs.get(named).decode()
    except (OSError, UnicodeDecodeError, NotFoundError, StoreError):
        return None


def resolve(store: Store, pins: Sequence[str], environment: Environment) -> str:
    """Lock the pins and keep the lock; the index is asked only the first time.

    Raises
    ------
    ToolError
        uv is missing, the index cannot be reached or lacks a pin.
    """
    found = cached(store, pins, environment)
    if found is not None:
        return found
    made = uv.lock(pins, python=environment.python.rstrip("+"), machine=environment.system.machine)
    pointer = _pointer(store, pins, environment)
    blob = store.blobs.put(made.encode())
    with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to fail
        pointer.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(pointer, blob.encode("ascii"))
    return made
