"""What strace saw of a run, as events beside those that the kernel told."""

# Paths stay strings here: a run opens a great many files.
# ruff: noqa: PTH110
from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlrepro_nb.capture.data.hashing import hash_file, regular
from mlrepro_nb.capture.data.paths import is_ignored, is_secret, printable
from mlrepro_nb.capture.data.strace import Opened, Trace
from mlrepro_nb.capture.told import Event
from mlrepro_nb.connect import dvc

_OURS = str(Path(__file__).parents[2]) + "/"
_MODULE = re.compile(r"^.*/(?:site|dist)-packages/(?:__pycache__/)?(\w+)\b.*\.(?:py|pyc|so)$")
_AT_START = frozenset({"_distutils_hack", "_virtualenv", "sitecustomize", "usercustomize"})
"""Modules that an interpreter imports by itself."""

_SLACK = 0.05
"""Seconds by which a file's change time may lie behind the clock."""


def traced(trace: Trace, events: Iterable[Event]) -> Iterator[Event]:
    """Yield events of what a trace holds, with digests of what the kernel did not hash.

    What Jupyter, MLflow and the recorder opened for themselves is left out.

    Parameters
    ----------
    trace : Trace
        All of the run.
    events : iterable of (kind, data)
        What the recorder in the kernel reported.
    """
    if trace.kernel is None:
        return
    about: dict[str, Any] = {}
    known: dict[str, set[str]] = {}
    for kind, data in events:
        if kind == "deep":
            about = data
        opens = data.get("opens") if kind in ("did", "opens") else None
        for one in opens or ():
            if one.get("absolute"):
                known.setdefault(one["absolute"], set()).add(one["access"])
    real = {os.path.realpath(path): (path, kinds) for path, kinds in known.items()}
    prefixes, machinery = tuple(about.get("ignored") or ()), set(about.get("machinery") or ())
    own = set(about.get("threads") or ())
    for opened in trace.opened.values():
        path = opened.absolute
        if (
            is_ignored(path, opened.access)
            or (prefixes and path.startswith(prefixes))
            or path in machinery
        ):
            continue
        if all(trace.descends(thread, own) for thread in opened.threads):
            continue
        as_known, kinds = real.get(os.path.realpath(path), (printable(path), set()))
        if opened.access in kinds:
            yield "opens", _opens(opened, as_known)
        elif not (opened.access == "read" and "write" in kinds):
            yield from _unknown(opened, trace)
    yield "programs", _imported(trace, own)
    yield "traced", True


def _imported(trace: Trace, own: set[int]) -> list[str]:
    """Return the top-level modules that the kernel's child processes took from distributions.

    A child that has the recorder tells more exactly itself.
    """
    assert trace.kernel is not None
    found: dict[int, set[str]] = {}
    for opened in trace.opened.values():
        ours = opened.absolute.startswith(_OURS)
        match = _MODULE.search(opened.absolute)
        if opened.access == "read" and (ours or match is not None):
            for thread in opened.threads:
                if not trace.descends(thread, own):
                    tops = found.setdefault(trace.process(thread), set())
                    tops.add("mlrepro_nb" if ours or match is None else match[1])
    found.pop(trace.process(trace.kernel), None)
    programs = (tops for tops in found.values() if "mlrepro_nb" not in tops)
    return sorted(set().union(*programs) - _AT_START)


def _unknown(opened: Opened, trace: Trace) -> Iterator[Event]:
    path = opened.absolute
    status, name = regular(path), printable(Path(path).name)
    if status is None:
        if opened.access == "read" and path not in trace.made and not os.path.exists(path):
            yield "gap", {"text": f"{name} was read and is gone: its digest is not known."}
        return
    changed = status.st_ctime_ns / 1e9 > opened.time + _SLACK
    if opened.access == "write" and status.st_ctime_ns / 1e9 < opened.first - _SLACK:
        return  # opened to be written, and left as it was
    yield "opens", _opens(opened, printable(path))
    if opened.access == "read" and changed:
        yield "gap", {"text": f"{name} was changed after it was read: its digest is of later."}
    found = hash_file(path, md5=dvc.is_tracked(path)) if not is_secret(path) else None
    if found is not None:
        yield (
            "file",
            {"absolute": printable(path), "access": opened.access, "order": opened.order,
             "digest": found.digest, "md5": found.md5, "size": found.size},
        )  # fmt: skip


def _opens(opened: Opened, absolute: str) -> dict[str, Any]:
    entry = {"path": printable(opened.path), "absolute": absolute, "access": opened.access,
             "order": opened.order, "layer": "strace"}  # fmt: skip
    return {"order": opened.order, "opens": [entry]}
