"""The last version of a library that had what a cell uses of it."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable

import msgspec

from mlrepro_nb.connect import releases
from mlrepro_nb.errors import ToolError
from mlrepro_nb.verify.attribute._removed import REMOVED
from mlrepro_nb.verify.attribute.case import Case

_SECONDS = 15.0
"""For which wheels are looked into; each takes a request or two."""


class Last(msgspec.Struct, frozen=True, kw_only=True):
    """The last version that had a name."""

    name: str
    version: str
    how: str
    pythons: str | None = None
    """Of which Pythons it has wheels, where this one is not among them."""


def last_version(
    case: Case, what: str, module: str, distribution: str, version: str | None
) -> Last | None:
    """Return the last version of a distribution that had a name; None where it is not known.

    Parameters
    ----------
    case : Case
        Where it `asks`, the index's wheels are looked into.
    what : str
        The dotted name, ``sklearn.externals.joblib``, or the class's, ``DataFrame.append``.
    module : str
        The library.
    distribution, version : str
        Which one that is, and what is installed of it.
    """
    found: Last | None
    known = REMOVED.get(what) or REMOVED.get(".".join(what.split(".")[:3]))
    if known is not None and known[0] == distribution and _older(known[1], version):
        found = Last(
            name=known[0], version=known[1],
            how=f"The release notes of {known[0]} say that {known[1]} was the last to have it",
        )  # fmt: skip
    elif case.asks and what.startswith(f"{module}."):
        found = _in_wheels(what, distribution, version)
    else:
        return None
    return found if found is None or not case.asks else _with_pythons(case, found)


def _older(one: str, other: str | None) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return other is None or Version(one) < Version(other)
    except InvalidVersion:
        return False


def _in_wheels(what: str, distribution: str, version: str | None) -> Last | None:
    """Look for the name in the wheels of ever older versions, then between two of them."""
    try:
        listed = [
            r for r in releases.releases(distribution) or ()
            if r.wheel is not None and (version is None or _older(r.version, version))
        ]  # fmt: skip
        place = _last(listed, lambda release: _has(release, what))
        if place is None:
            return None
        after = _has(listed[place + 1], what) if place + 1 < len(listed) else False
        if after is None and not _is_module(listed[place], what):
            return None  # it may only be made in another way
    except ToolError:
        return None
    later = f" and that of {listed[place + 1].version} has not" if place + 1 < len(listed) else ""
    return Last(
        name=distribution, version=listed[place].version,
        how=f"The wheel of {distribution} {listed[place].version} in the package index has it"
            f"{later}",
    )  # fmt: skip


def _last(
    listed: list[releases.Release], has: Callable[[releases.Release], bool | None]
) -> int | None:
    """Return the place of the last release that has it: what is gone is taken to stay gone."""
    until = time.monotonic() + _SECONDS
    bad, step, good = len(listed), 1, -1
    while good < 0:
        if bad == 0 or time.monotonic() > until:
            return None
        place = max(bad - step, 0)
        if has(listed[place]):
            good = place
        else:
            bad, step = place, step * 2
    while bad - good > 1:
        if time.monotonic() > until:
            return None
        middle = (good + bad) // 2
        good, bad = (middle, bad) if has(listed[middle]) else (good, middle)
    return good


def _is_module(release: releases.Release, what: str) -> bool:
    return release.wheel is not None and releases.provides(release.wheel, what)


def _has(release: releases.Release, what: str) -> bool | None:
    """Whether a release has a module, or a name in one; None where only running it would tell."""
    file = release.wheel
    if file is None:
        return None
    if releases.provides(file, what):
        return True
    owner, _, name = what.rpartition(".")
    if not owner or not releases.provides(file, owner):
        return False
    path = owner.replace(".", "/")
    for candidate in (f"{path}/__init__.py", f"{path}.py"):
        if candidate in releases.members(file):
            return binds(releases.member(file, candidate).decode("utf-8", "replace"), name)
    return None


def binds(source: str, name: str) -> bool | None:
    """Whether a module's source gives itself a name; None where only running it would tell."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return bool(re.search(rf"\b{re.escape(name)}\b", source)) or None
    dynamic = False
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            if node.name == name:
                return True
            dynamic |= node.name == "__getattr__"
        elif isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    return True
                dynamic |= alias.name == "*"
        elif isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            return True
        elif isinstance(node, ast.Constant) and node.value == name:
            dynamic = True
    return None if dynamic else False


def _with_pythons(case: Case, found: Last) -> Last:
    """Add for which Pythons it has wheels, where this one's is not among them."""
    here = case.rerun.environment.python if case.rerun is not None else None
    try:
        release = next(
            (r for r in releases.releases(found.name) or () if r.version == found.version), None
        )
    except ToolError:
        return found
    if release is None or here is None or release.usable(re.sub(r"[^\d.].*", "", here)):
        return found
    minors = sorted({
        int(minor) for file in release.files
        for minor in re.findall(r"-cp3(\d+)-", file.name)
    })  # fmt: skip
    if not minors:
        return found
    span = f"3.{minors[0]}" + (f" to 3.{minors[-1]}" if minors[1:] else "")
    return msgspec.structs.replace(found, pythons=span)
