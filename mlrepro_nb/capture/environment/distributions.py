"""Events about what is installed and imported to the record's distributions."""

# ruff: noqa: PTH118, PTH120
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.capture.environment.closure import closure
from mlrepro_nb.capture.environment.importers import file_of
from mlrepro_nb.capture.secrets import mask
from mlrepro_nb.model import Distribution, EditedFile, Environment

PutBlob = Callable[[bytes], str]


def owners_of_shared(modules: Iterable[str], surveyed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the distributions in use of those top-level modules that several own.

    ``google`` and ``nvidia`` belong to whoever puts a package below them: the
    files that are in the process tell who did.
    """
    owners = _owners(surveyed)
    locations = {entry["name"]: entry["location"] for entry in surveyed}
    found = {}
    for top in modules:
        names = owners.get(top, [])
        if len(names) > 1:
            used = _loaded_files(top)
            found[top] = [n for n in names if _owns_any(locations[n], used)] or names
    return found


def checkout(folder: Path) -> dict[str, Any]:
    """Return the commit of a folder, and how it differs from that; nothing without git."""
    from mlrepro_nb.connect import git
    from mlrepro_nb.errors import MlreproError

    root = git.root(folder)
    if root is None:
        return {}
    try:
        state = git.state(root)
    except MlreproError:
        return {}
    return {"commit": state.commit, "diff": mask(state.diff)}


def distributions(
    surveyed: list[dict[str, Any]],
    imports: Mapping[str, Any],
    *,
    edits: Mapping[str, Any] = {},
    sources: Mapping[str, Any] = {},
    packages: Mapping[str, tuple[str, str]] = {},
    base: Environment,
    put_blob: PutBlob,
) -> tuple[Distribution, ...]:
    """Return the installed distributions, and what became of each in the run.

    Parameters
    ----------
    surveyed
        What `survey.installed` found.
    imports
        What `UsedModules.report` told, with ``owners`` of the shared modules.
    edits
        What `survey.check` found.
    sources
        By distribution, ``commit`` and ``diff`` of the folder it is installed from.
    packages
        By metadata folder, the operating system's package and its version.
    base
        The environment but for its distributions.
    put_blob
        Keeps bytes and returns their digest.
    """
    modules = _modules(surveyed, imports)
    needed, loaders = _needed(surveyed, imports, modules, base)
    found = []
    for entry in surveyed:
        name, source = entry["name"], entry.get("source")
        state = sources.get(name, {})
        if entry["origin"] == "system" and entry["location"] in packages:
            source = " ".join(packages[entry["location"]]).strip()
        found.append(
            Distribution(
                name=name,
                version=entry["version"],
                origin=entry["origin"],
                source=mask(source) if source else None,
                commit=state.get("commit") or entry.get("commit"),
                diff=put_blob(state["diff"].encode()) if state.get("diff") else None,
                imported=name in modules and name in needed,
                modules=tuple(sorted(modules.get(name, ()))),
                loaded_by=() if name in needed else tuple(sorted(loaders.get(name, ()))),
                edited=_edited(edits[name]) if name in edits else None,
                wheel=_wheel(entry, put_blob),
                requires=tuple(sorted(entry["requires"])),
            )
        )
    return tuple(found)


def _edited(edit: Mapping[str, Any]) -> tuple[EditedFile, ...]:
    return tuple(
        EditedFile(path=path, digest=f"sha256:{hashed}") for path, hashed in edit["edited"]
    )


def _wheel(entry: dict[str, Any], put_blob: PutBlob) -> str | None:
    """Keep the wheel of a distribution that no index has; one in place is no wheel's content."""
    from_file = entry["origin"] == "wheel" and entry.get("folder")
    if entry["origin"] not in ("local", "git") and not from_file:
        return None
    from mlrepro_nb.capture.environment import (
        archive,
    )  # not in every kernel: its ConfigParser is big

    made = archive.wheel(Path(entry["location"]))
    return put_blob(made[1]) if made is not None else None


def _owners(surveyed: list[dict[str, Any]]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for entry in surveyed:
        for top in entry["modules"]:
            owners.setdefault(top, []).append(entry["name"])
    return owners


def _modules(surveyed: list[dict[str, Any]], imports: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return the top-level modules in the process of each distribution that has any there."""
    owners = {**_owners(surveyed), **imports.get("owners", {})}
    found: dict[str, set[str]] = {}
    for top in imports.get("modules", ()):
        for name in owners.get(top, ()):
            found.setdefault(name, set()).add(top)
    return found


def _needed(
    surveyed: list[dict[str, Any]],
    imports: Mapping[str, Any],
    modules: Mapping[str, set[str]],
    base: Environment,
) -> tuple[set[str], dict[str, set[str]]]:
    """Return what the user's code needs, and by whom what it does not need was loaded."""
    tops = {top: name for name in modules for top in modules[name]}
    importers = imports.get("by", {})
    loaders: dict[str, set[str]] = {}
    direct = set()
    for name, own in modules.items():
        by = {importer for top in own for importer in importers.get(top, ())}
        others = {tops[importer] for importer in by if importer in tops} - {name}
        # Imported by a cell, by the project's own code, or by nobody knows whom.
        if own & set(imports.get("direct", ())) or by - set(tops) - _STANDARD or not others:
            direct.add(name)
        loaders[name] = others
    requires = {entry["name"]: [*entry["requires"]] for entry in surveyed}
    for name, own in modules.items():
        for top in own:
            for importer in set(importers.get(top, ())) - set(
                imports.get("tried", {}).get(top, ())
            ):
                # It would not have gone on without: as good as required (mlflow's sqlalchemy).
                if importer in tops:
                    requires[tops[importer]].append(name)
    environment = msgspec.structs.replace(
        base,
        distributions=tuple(
            Distribution(name=entry["name"], version=entry["version"]) for entry in surveyed
        ),
    )
    walked = closure(sorted(direct), environment, lambda d: tuple(requires[d.name]))
    return {d.name for d in walked.distributions}, loaders


_STANDARD = frozenset(sys.stdlib_module_names) - {"__main__"}


def _loaded_files(top: str) -> set[str]:
    return {
        os.path.realpath(file)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == top and (file := file_of(module)) is not None
    }


def _owns_any(location: str, used: set[str]) -> bool:
    root = os.path.realpath(os.path.dirname(location))
    try:
        record = (Path(location) / "RECORD").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(os.path.join(root, line.partition(",")[0]) in used for line in record.splitlines())
