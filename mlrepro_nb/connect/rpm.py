"""The one door to RPM's package database."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from mlrepro_nb.connect.command import run
from mlrepro_nb.errors import ToolError


def owners(paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return (package, version) of those files that a package owns; nothing without rpm.

    One query for all: rpm answers a line a file, in their order.
    """
    if not paths or shutil.which("rpm") is None:
        return {}
    try:
        # Without a terminating line for each file a multi-owned one would shift the rest:
        # so each answer says which file it is about.
        listed = run(
            ["rpm", "-q", "--qf", "%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\n", "-f", *paths],
            timeout=60,
        ).stdout.splitlines()
    except ToolError:
        return {}
    if len(listed) != len(paths):
        return _one_by_one(paths)
    return {path: found for path, line in zip(paths, listed, strict=True) if (found := _read(line))}


def _one_by_one(paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    found = {}
    for path in paths:
        try:
            listed = run(
                ["rpm", "-q", "--qf", "%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\n", "-f", path],
                timeout=30,
            ).stdout.splitlines()
        except ToolError:
            continue
        if listed and (owner := _read(listed[0])):
            found[path] = owner
    return found


def _read(line: str) -> tuple[str, str] | None:
    # "file X is not owned by any package" has no tab.
    name, tab, version = line.partition("\t")
    return (name, version.removeprefix("0:")) if tab else None
