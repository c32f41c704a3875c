"""The one door to Debian's package database."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from mlrepro_nb.connect.command import run
from mlrepro_nb.errors import ToolError


def owners(paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return (package, version) of those files that a package owns; nothing without dpkg.

    One query for all: ``dpkg-query -S`` says nothing of what no package owns.
    """
    if not paths or shutil.which("dpkg-query") is None:
        return {}
    wanted = set(paths)
    try:
        listed = run(["dpkg-query", "-S", *paths], timeout=60).stdout
        packages: dict[str, str] = {}
        for line in listed.splitlines():
            names, separator, path = line.partition(": ")
            # "diversion by x from: /path" names no owner.
            if separator and path in wanted and not names.startswith("diversion"):
                packages.setdefault(path, names.split(",")[0].strip())
        if not packages:
            return {}
        told = run(
            ["dpkg-query", "-W", "-f=${binary:Package}\t${Version}\n", *set(packages.values())],
            timeout=60,
        ).stdout
    except ToolError:
        return {}
    versions: dict[str, str] = {}
    for line in told.splitlines():
        name, _, version = line.partition("\t")
        versions[name] = versions[name.partition(":")[0]] = version
    return {
        path: (package.partition(":")[0], versions.get(package, ""))
        for path, package in packages.items()
    }
