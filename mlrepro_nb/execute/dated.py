"""An environment as somebody would have installed it at a moment in the past."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mlrepro_nb.connect import interpreters, releases, uv
from mlrepro_nb.errors import ToolError
from mlrepro_nb.execute.environments import (
    RECORDING,
    Built,
    add_recorder,
    alone,
    stands,
    this_package,
)
from mlrepro_nb.execute.overlay import normal
from mlrepro_nb.model import Report, Step, digest, short, silent
from mlrepro_nb.store import user_cache, write_atomically

_FORMAT = 3
_OLDEST = 7
"""The oldest Python 3 that stands in for an older one: uv and ipykernel still go with it."""


def build(
    requirements: Sequence[str], moment: datetime, *, python: str | None = None,
    report: Report = silent, root: Path | None = None,
) -> Built:  # fmt: skip
    """Build an environment of what the index had at a moment, unless it is there.

    Parameters
    ----------
    requirements : sequence of str
        What is to be in it, as pip takes it.
    moment : datetime
        What the index got later is not taken. Where something had nothing yet for the Python
        that is there, the moment is moved to when it first had; the notes say so.
    python : str, optional
        The version that is wanted; the one that mlrepro runs in stands in for it.
    report : callable
        Is told the progress.
    root : Path, optional
        Where environments are kept; by default the user's cache folder.

    Raises
    ------
    ToolError
        uv is missing, the index cannot be reached, or nothing of that time fits together.
    """
    found, version = _python(python, report)
    notes: list[str] = []
    if found is None:
        found, version = _nearest(python)
        if python:
            notes.append(f"Python {python} is not on this machine, and uv cannot fetch it: "
                         f"Python {version} stands in for it.")  # fmt: skip
    moved, why = _possible(requirements, moment, version)
    notes += why
    stamp = moved.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    key = digest([_FORMAT, "dated", sorted(requirements), stamp, version])
    folder = (root or user_cache()) / "environments" / short(key, 32)
    done = folder / "built.json"
    with alone(folder):
        if not stands(folder):
            report(Step(message=f"building an environment of {stamp[:10]} (Python {version})"))
            shutil.rmtree(folder / "env", ignore_errors=True)
            made = uv.make_environment(folder / "env", found)
            left = _install(made, list(requirements), stamp)
            if _recordable(version):
                add_recorder(folder, report)
            else:
                add_recorder(folder, report, ("ipykernel",))
            write_atomically(done, json.dumps({"notes": left}).encode())
        os.utime(done)
        notes += json.loads(done.read_text(encoding="utf-8"))["notes"]
    extra = [str(folder / "apart"), *([this_package(root)] if _recordable(version) else [])]
    return Built(
        python=str(folder / "env" / "bin" / "python"), extra=tuple(extra), notes=tuple(notes)
    )


def _python(wanted: str | None, report: Report) -> tuple[str | None, str]:
    """Return an interpreter of a version, else of its minor, fetched if need be."""
    parts = re.findall(r"\d+", wanted or "")
    if len(parts) < 2 or parts[0] != "3":
        return None, ""
    minor = ".".join(parts[:2])
    for version in dict.fromkeys([".".join(parts[:3]), f"{minor}.*"]):
        if found := interpreters.find(version):
            return found, minor
    report(Step(message=f"fetching Python {minor}"))
    found = interpreters.fetch(minor)
    return found, minor


def _nearest(wanted: str | None) -> tuple[str, str]:
    """Return the interpreter on this machine that is the next after a version, if not this one.

    It has the libraries of the years after; the one that mlrepro runs in may be a decade newer.
    """
    parts = [int(n) for n in re.findall(r"\d+", wanted or "")[:2]]
    oldest = max(_OLDEST, parts[1]) if parts[:1] == [3] and len(parts) == 2 else _OLDEST
    for minor in range(oldest, sys.version_info[1]) if parts else ():
        if found := interpreters.find(f"3.{minor}.*"):
            return found, f"3.{minor}"
    return sys.executable, platform.python_version().rstrip("+")


def _recordable(version: str) -> bool:
    """Whether the recorder runs in this Python."""
    return tuple(int(n) for n in re.findall(r"\d+", version)[:2]) >= RECORDING


def _possible(
    requirements: Sequence[str], moment: datetime, python: str
) -> tuple[datetime, list[str]]:
    """Return the first moment from `moment` on at which all is there for a Python, and why."""
    late: dict[str, datetime] = {}
    for requirement in requirements:
        try:
            listed = releases.releases(normal(requirement)) or []
        except ToolError:
            continue
        usable = [r for r in listed if r.usable(python)]
        # What is Python alone is built where it had no wheel, whatever the Python.
        compiled = any(file.is_wheel and not file.is_pure for r in listed for file in r.files)
        if not usable or (not compiled and any(_all_sources(r, moment) for r in listed)):
            continue
        first = min((t for r in usable if (t := _uploaded(r, python)) is not None), default=None)
        if first is not None and first > moment:
            late[normal(requirement)] = first
    if not late:
        return moment, []
    # uv takes what is older than a moment, and a release's files come one after the other.
    last = max(late.values()) + timedelta(days=1)
    names = ", ".join(f"{name} ({at:%Y-%m-%d})" for name, at in sorted(late.items()))
    return last, [
        f"At {moment:%Y-%m-%d} there was nothing for Python {python} yet of {names}: the "
        f"environment is of {last:%Y-%m-%d}."
    ]


def _all_sources(release: releases.Release, moment: datetime) -> bool:
    """Whether a release of before a moment has no wheel at all."""
    at = _uploaded(release, None)
    return at is not None and at <= moment and all(not file.is_wheel for file in release.files)


def _uploaded(release: releases.Release, python: str | None) -> datetime | None:
    """Return when a release was there for a Python, None where the index does not say."""
    times = []
    for file in release.files:
        one = releases.Release(version=release.version, files=(file,))
        if file.uploaded and (python is None or one.usable(python)):
            try:
                at = datetime.fromisoformat(file.uploaded.replace("Z", "+00:00"))
            except ValueError:
                continue
            times.append(at if at.tzinfo else at.replace(tzinfo=timezone.utc))
    return min(times, default=None)


def _install(python: Path, requirements: list[str], stamp: str) -> list[str]:
    """Install all that can be had; return what could not, a sentence each."""
    if not requirements:
        return []
    try:
        uv.install(python, requirements, newest=stamp)
    except ToolError as error:
        if _away(error):
            raise
    else:
        return []
    left = []
    for requirement in requirements:
        try:
            uv.install(python, [requirement], newest=stamp)
        except ToolError as error:  # noqa: PERF203 - one must not cost the others
            if _away(error):
                raise
            left.append(f"{requirement} could not be had as of {stamp[:10]}: {_last(error)}")
    return left


def _away(error: ToolError) -> bool:
    return error.tool != "uv" or bool(
        re.search(r"error sending request|dns error|Failed to fetch|uv is not installed",
                  error.output + error.message)
    )  # fmt: skip


def _last(error: ToolError) -> str:
    said = " ".join(re.sub(r"[╰─▶×│├]+", " ", error.output).split())
    return f"{said[:200].rstrip('.')}." if said else error.message
