"""Events about the software to a part of the record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlrepro_nb.capture.environment.distributions import checkout, distributions
from mlrepro_nb.capture.environment.libraries import libraries
from mlrepro_nb.capture.environment.surveyor import Surveyor, cache_file, installed
from mlrepro_nb.capture.secrets import mask
from mlrepro_nb.connect import conda, packages
from mlrepro_nb.model import CondaPackage, Environment, System

if TYPE_CHECKING:
    from mlrepro_nb.capture.told import Told

PutBlob = Callable[[bytes], str]

_HASTE = 1.2
"""Seconds that a kernel which is shut down has for a survey: a front end kills it after five."""
_PATIENCE = 120.0
"""Seconds that a headless run may take, once, to read the installed files."""


def assembled(told: Told, put_blob: PutBlob) -> Environment:
    """Return what the code ran on, in software."""
    described = dict(told.environment)
    if not described:
        return Environment(
            python=str(told.start.get("python", "")),
            implementation=str(told.start.get("implementation", "")),
            kernelspec=str(told.start.get("kernelspec", "")),
            system=System(name="", version="", kernel="", machine=""),
        )
    interpreter = described.pop("interpreter", {})
    mapped = described.pop("libraries", [])
    prefix = str(interpreter.get("prefix", ""))
    base = msgspec.convert(described, Environment)
    surveyed = _surveyed(told, interpreter)
    found = distributions(
        surveyed,
        imports(told, interpreter),
        edits=_edits(told, surveyed, interpreter),
        sources=_checkouts(told, surveyed),
        packages=_of_the_system(surveyed),
        base=base,
        put_blob=put_blob,
    )
    return msgspec.structs.replace(
        base,
        distributions=found,
        libraries=libraries([str(path) for path in mapped], prefix),
        conda=_conda(prefix),
        manager_lock=_manager_lock(prefix, told, put_blob),
    )


def _surveyed(told: Told, interpreter: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is installed; a kernel that was too short-lived to say leaves it to us."""
    found = told.distributions
    if not found and interpreter.get("path"):
        found = installed(
            interpreter["path"], interpreter.get("prefix", ""),
            executable=interpreter.get("executable"), timeout=_patience(told),
        ) or {}  # fmt: skip
    if not found:
        told.gaps.setdefault("Which distributions are installed could not be found out.")
    for name in found.get("broken", ()):
        told.gaps.setdefault(
            f"{name} has no readable metadata: what it installed is not in the record. "
            "Install that package again, or delete the folder."
        )
    return list(found.get("distributions", ()))


def imports(told: Told, interpreter: dict[str, Any]) -> dict[str, Any]:
    """Return who imported what; what a kernel had no time for is asked now."""
    unasked = told.imports.get("unasked", ())
    if not unasked:
        return told.imports
    request = {"stacks": [stack for _, _, stack in unasked]}
    found = Surveyor(request, interpreter.get("executable")).answer(_patience(told)) or {}
    tried = {top: list(by) for top, by in told.imports.get("tried", {}).items()}
    for (top, by, _), only in zip(unasked, found.get("guarded", ()), strict=False):
        if only:
            tried.setdefault(top, []).append(by)
    return {**told.imports, "tried": tried}


def _patience(told: Told) -> float:
    """Return the seconds to wait: a live kernel's end is waited for by a person."""
    return _HASTE if told.start.get("mode") == "interactive" else _PATIENCE


def _checkouts(told: Told, surveyed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the state of the folders that imported distributions are installed from."""
    used = set(told.imports.get("modules", ()))
    late = {
        entry["name"]: checkout(Path(entry["folder"]))
        for entry in surveyed
        if entry.get("folder")
        and entry["name"] not in told.checkouts
        and used & set(entry["modules"])
    }
    return {**told.checkouts, **late}


def _edits(
    told: Told, surveyed: list[dict[str, Any]], interpreter: dict[str, Any]
) -> dict[str, Any]:
    used = set(told.imports.get("modules", ()))
    wanted = [
        [entry["name"], entry["location"]]
        for entry in surveyed
        if used & set(entry["modules"]) and entry["name"] not in told.checked
    ]
    if not wanted:
        return told.edits
    # A kernel that ends cannot wait for gigabytes; what was not looked at is told as such.
    if told.start.get("mode") == "interactive":
        return told.edits
    request = {
        "check": wanted, "prefix": interpreter.get("prefix", ""), "cache": cache_file(),
    }  # fmt: skip
    found = Surveyor(request, interpreter.get("executable")).answer(_PATIENCE)
    return {**told.edits, **(found or {})}


def _of_the_system(surveyed: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return the operating system's package of each distribution that it brought."""
    files = {}
    for entry in surveyed:
        if entry["origin"] == "system":
            location = Path(entry["location"])
            named = (location / "METADATA", location / "PKG-INFO", location)
            files[str(next((f for f in named if f.is_file()), location))] = entry["location"]
    return {files[path]: owner for path, owner in packages.owners(files).items()}


def _conda(prefix: str) -> tuple[CondaPackage, ...]:
    if not prefix:
        return ()
    return conda.packages(Path(prefix))


def _manager_lock(prefix: str, told: Told, put_blob: PutBlob) -> str | None:
    """Keep what conda or pixi installs the very same packages from."""
    if not prefix:
        return None
    file = conda.lock_file(Path(prefix))
    if file is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return put_blob(mask(file.read_text(encoding="utf-8")).encode())
    listed = conda.packages(Path(prefix))
    if not listed:
        return None
    try:
        return put_blob(conda.explicit(listed).encode())
    except ValueError as error:
        told.gaps.setdefault(
            f"conda does not know where its package {error} came from: the list of packages "
            "cannot be installed again as it is."
        )
        return None
