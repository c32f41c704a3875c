"""The one door to Debian's package database."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from mlrepro_nb.connect.command import run
from mlrepro_nb.errors import ToolError


def owners(paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return (package, version) of those files that a package owns; nothing without dpkg.

    One query for all. Where /usr is merged a file's path in the database may
    lack or have ``/usr``: both are asked.
    """
    wanted = sorted(set(paths))
    if not wanted or shutil.which("dpkg-query") is None:
        return {}
    spellings = {path: path for path in wanted}
    for path in wanted:
        other = path.removeprefix("/usr") if path.startswith("/usr/lib") else f"/usr{path}"
        spellings.setdefault(other, path)
    try:
        found = run(["dpkg-query", "-S", *spellings], timeout=30).stdout
        packages: dict[str, str] = {}
        for line in found.splitlines():
            names, separator, path = line.partition(": ")
            if separator and path in spellings:
                packages.setdefault(spellings[path], names.split(",")[0].strip())
        listed = run(
            ["dpkg-query", "-W", "-f=${binary:Package}\t${Version}\n", *set(packages.values())],
            timeout=30,
        ).stdout
    except ToolError:
        return {}
    versions: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, version = line.partition("\t")
        versions[name] = versions[name.partition(":")[0]] = version
    return {
        path: (package.partition(":")[0], versions.get(package, ""))
        for path, package in packages.items()
    }
