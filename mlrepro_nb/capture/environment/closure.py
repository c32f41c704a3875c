"""What distributions need: Requires-Dist, walked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from mlrepro_nb.model import Distribution, Environment

Edges = Callable[[Distribution], "tuple[str, ...] | None"]
"""The Requires-Dist lines of a distribution, or None where nobody here knows them."""


class Closure(msgspec.Struct, frozen=True, kw_only=True):
    """The distributions that are needed, by name."""

    distributions: tuple[Distribution, ...]
    unknown: tuple[str, ...] = ()
    """Needed ones whose own requirements are not known here."""
    absent: tuple[str, ...] = ()
    """Required by a root's name, but not in the recorded environment."""


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 writes it."""
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))


def closure(roots: Iterable[str], environment: Environment, edges: Edges) -> Closure:
    """Walk Requires-Dist from `roots`, as it reads on the recorded Python on Linux.

    Parameters
    ----------
    roots
        Requirements, with extras if need be: ``uvicorn[standard]``. Versions in
        them do not count: the record has them.
    environment
        The recorded one: nothing else can be in the image.
    edges
        Tells a distribution's requirements.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    recorded = {normal(d.name): d for d in environment.distributions}
    markers = marker_environment(environment)
    found: dict[str, set[str]] = {}
    unknown: set[str] = set()
    absent: set[str] = set()
    waiting: list[tuple[str, frozenset[str]]] = []
    for root in roots:
        requirement = Requirement(root)
        name = normal(requirement.name)
        if name in recorded:
            waiting.append((name, frozenset(map(normal, requirement.extras))))
        else:
            absent.add(name)
    while waiting:
        name, extras = waiting.pop()
        new = extras - found[name] if name in found else extras | {""}
        if not new:
            continue
        found.setdefault(name, set()).update(new)
        lines = edges(recorded[name])
        if lines is None:
            unknown.add(name)
            continue
        for line in lines:
            try:
                required = Requirement(line)
            except InvalidRequirement:
                continue  # old metadata; pip ignores it too
            marker = required.marker
            if marker and not any(marker.evaluate({**markers, "extra": e}) for e in new):
                continue
            needed = normal(required.name)
            # What is required but was not there when the notebook ran was not needed.
            if needed in recorded:
                waiting.append((needed, frozenset(map(normal, required.extras))))
    return Closure(
        distributions=tuple(recorded[name] for name in sorted(found)),
        unknown=tuple(sorted(unknown)),
        absent=tuple(sorted(absent)),
    )


def marker_environment(environment: Environment) -> dict[str, str]:
    """Return what PEP 508 markers see in the image."""
    python = environment.python.rstrip("+")
    implementation = environment.implementation or "CPython"
    return {
        "implementation_name": implementation.lower(),
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": environment.system.machine,
        "platform_python_implementation": implementation,
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
        "extra": "",
    }
