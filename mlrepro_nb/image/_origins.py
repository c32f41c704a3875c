"""Where the values of a plan came from, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlrepro_nb.image._plan import Plan
    from mlrepro_nb.image._settings import Settings

_RECORD = "the record"


def origins(
    plan: Plan, given: Mapping[str, Any], settings: Settings, *, tagged: str | None
) -> dict[str, str]:
    """Return where each value came from.

    Parameters
    ----------
    given
        What was asked for by an option, by name; None where it was not.
    tagged
        Version that the last git tag names.
    """

    def of(name: str, otherwise: str) -> str:
        if given.get(name) is not None:
            return f"--{name.replace('_', '-')}"
        return settings.origins.get(name, otherwise)

    recorded = len(plan.pins) + len(plan.local)
    added = [name for name in ("include", "exclude") if name in settings.origins]
    found = {
        "kind": of("kind", "default"),
        "base": of("base", f"default for Python {plan.python}"),
        "platform": of("platform", _RECORD),
        "python": _RECORD,
        "packages": _RECORD if "packages" not in settings.origins
        else f"{_RECORD}, {settings.origins['packages']}",
        "distributions": ", ".join([_RECORD, *(settings.origins[name] for name in added)]),
        "files": _RECORD if "files" not in settings.origins
        else f"{_RECORD}, {settings.origins['files']}",
        "variables": _RECORD if "variables" not in settings.origins
        else f"{_RECORD}, {settings.origins['variables']}",
        "bake-data": of("bake_data", "default"),
        "bytecode": of("bytecode", "default") + (f", {_RECORD}" if _left(plan) else ""),
        "user": of("user", "default"),
        "repository": of("repository", "the notebook's name"),
        "version": of("version", f"git tag {tagged}" if tagged else "default: no tag, no version"),
        "commit": _RECORD,
        "build-id": of("build_id", "the CI's, else time and record"),
        "gates": settings.origins.get("gates", "--gate") if plan.gates else "",
        "model": of("model", _RECORD) if plan.kind == "service" else "",
        "results": settings.origins.get("results", "default") if plan.kind == "job" else "",
    }  # fmt: skip
    if not recorded:
        del found["distributions"]
    return {name: text for name, text in found.items() if text}


def _left(plan: Plan) -> int:
    """Return how many distributions come as source though the others are compiled."""
    return len(plan.uncompiled) if plan.bytecode else 0


def table(plan: Plan) -> tuple[tuple[str, str, str], ...]:
    """Return a plan's values in short, each with where it came from."""
    values = {
        "kind": plan.kind,
        "base": plan.base_reference,
        "platform": plan.machine,
        "python": plan.python,
        "packages": ", ".join(f"{p.name} {p.version}" for p in plan.packages) or "none",
        "distributions": f"{len(plan.pins)} locked"
        + (f", {len(plan.local)} built here" if plan.local else ""),
        "files": f"{len(plan.files)}"
        + (f", {len(plan.items)} fetched or mounted" if plan.items else ""),
        "variables": " ".join(f"{k}={v}" for k, v in plan.variables.items()) or "none",
        "bytecode": ("yes" if plan.bytecode else "no")
        + (f", but for {left} that nothing imports" if (left := _left(plan)) else ""),
        "user": str(plan.user),
        "repository": plan.repository,
        "version": plan.version,
        "commit": plan.commit or "none",
        "build-id": plan.build_id,
        "gates": ", ".join(f"{g.metric} {g.operator} {g.limit:g}" for g in plan.gates),
        "model": plan.model or "",
        "results": plan.variables.get("MLREPRO_RESULTS", ""),
    }
    return tuple(
        (name, value, plan.origins[name])
        for name, value in values.items()
        if value and name in plan.origins
    )
