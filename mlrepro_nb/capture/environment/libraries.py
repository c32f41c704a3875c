"""The shared libraries that are mapped into the process, and whose they are."""

# Paths stay strings here: /proc speaks in them.
# ruff: noqa: PTH119
from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from mlrepro_nb.capture.data.hashing import hash_file, regular, signature
from mlrepro_nb.connect import conda, packages
from mlrepro_nb.model import SharedLibrary

_MOST_HASHED = 512 << 20
"""Bytes of libraries that nobody owns that are read; CUDA's alone are gigabytes."""


def mapped() -> list[str]:
    """Return the paths of the shared libraries in the process that no distribution brought.

    What lies in ``site-packages`` belongs to the distributions, and the
    standard library's own modules to the interpreter.
    """
    standard = tuple(
        f"{os.path.realpath(folder)}/"
        for name in ("stdlib", "platstdlib")
        if (folder := sysconfig.get_paths().get(name))
    )
    found = set()
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                path = "/" + line.rstrip("\n").partition("/")[2].removesuffix(" (deleted)")
                if path.endswith(".so") or ".so." in path:
                    found.add(path)
    except OSError:
        return []
    return sorted(
        path
        for path in found
        if not path.startswith(standard) and "/site-packages/" not in path
        and not ("/dist-packages/" in path and not path.startswith("/usr/lib/python3/"))
    )  # fmt: skip


def libraries(paths: list[str], prefix: str = sys.prefix) -> tuple[SharedLibrary, ...]:
    """Return libraries with the package that owns each; those that none owns by their digest."""
    real = {path: os.path.realpath(path) for path in paths}
    asked = {*real, *real.values()}
    owners = {**_packages(asked), **conda.owners(Path(prefix), asked)}
    found: dict[tuple[str, str | None, str | None], SharedLibrary] = {}
    left = _MOST_HASHED
    for path in sorted(paths):
        owner = owners.get(path) or owners.get(real[path])
        digest = None
        status = regular(path) if owner is None else None
        if status is not None and status.st_size <= left:
            left -= status.st_size
            digest = _digest(path, signature(status))
        library = SharedLibrary(
            name=os.path.basename(path).encode("utf-8", "replace").decode(),
            package=owner[0] if owner else None,
            version=(owner[1] or None) if owner else None,
            digest=digest,
        )
        found.setdefault((library.name, library.package, digest), library)
    return tuple(found[key] for key in sorted(found, key=str))


_known: dict[str, tuple[str, str] | None] = {}


def _packages(paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the packages that own files; of those asked before it is known."""
    new = [path for path in paths if path not in _known]
    found = packages.owners(new)
    _known.update({path: found.get(path) for path in new})
    return {path: owner for path in paths if (owner := _known[path]) is not None}


@functools.lru_cache(maxsize=1024)
def _digest(path: str, _signature: tuple[int, ...]) -> str | None:
    found = hash_file(path)
    return found.digest if found else None
