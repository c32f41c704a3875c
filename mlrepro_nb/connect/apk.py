"""Alpine's package database, read as the file that it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_DATABASES = (Path("/lib/apk/db/installed"), Path("/usr/lib/apk/db/installed"))


def owners(paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return (package, version) of those files that a package owns; nothing elsewhere.

    A package's lines are ``P:`` name, ``V:`` version, ``F:`` folder, ``R:`` a
    file in the folder named last.
    """
    wanted = set(paths)
    for database in _DATABASES:
        try:
            text = database.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found: dict[str, tuple[str, str]] = {}
        name = version = folder = ""
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key == "P":
                name, version, folder = value, "", ""
            elif key == "V":
                version = value
            elif key == "F":
                folder = value
            elif key == "R" and (path := f"/{folder}/{value}") in wanted:
                found[path] = name, version
        return found
    return {}
