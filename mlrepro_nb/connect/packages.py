"""The operating system's packages, whichever program keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mlrepro_nb.connect import apk, dpkg, rpm

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def owners(paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return (package, version) of those files that a package owns.

    Where /usr is merged the database may know a file by its path with or
    without ``/usr``: both are asked for. Nothing is owned where there is no
    package database, as in a distroless image.
    """
    wanted = sorted(set(paths))
    if not wanted:
        return {}
    spellings = {path: path for path in wanted}
    for path in wanted:
        if (other := _other_spelling(path)) is not None and os.path.lexists(other):
            spellings.setdefault(other, path)
    found: dict[str, tuple[str, str]] = {}
    for door in (dpkg, rpm, apk):
        for path, owner in door.owners(sorted(spellings)).items():
            found.setdefault(spellings[path], owner)
        if found:
            break
    return found


def _other_spelling(path: str) -> str | None:
    """Return a path with or without ``/usr``, if it lies where a merged /usr has two names."""
    rest = path.removeprefix("/usr")
    top = rest.lstrip("/").partition("/")[0]
    if top not in _MERGED:
        return None
    return rest if rest != path else f"/usr{path}"
