"""Events sorted by what they tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mlrepro_nb.capture.events import is_whole

Event = tuple[str, Any]


class Told(msgspec.Struct):
    """What a recorder told; of what is told again, the last counts."""

    start: dict[str, Any] = {}
    begins: dict[int, dict[str, Any]] = {}
    ends: dict[int, dict[str, Any]] = {}
    outputs: dict[int, list[dict[str, Any]]] = {}
    opens: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    removed: set[str] = set()
    environment: dict[str, Any] = {}
    hardware: dict[str, Any] = {}
    modules: list[dict[str, Any]] = []
    imports: dict[str, Any] = {}
    distributions: dict[str, Any] = {}
    edits: dict[str, dict[str, Any]] = {}
    checked: set[str] = set()
    checkouts: dict[str, dict[str, Any]] = {}
    runs: dict[tuple[str], dict[str, Any]] = {}
    models: dict[tuple[str], dict[str, Any]] = {}
    artifacts: dict[tuple[str, str], dict[str, Any]] = {}
    versions: dict[str, str] = {}
    contents: dict[str, list[dict[str, Any]]] = {}
    """What URLs held each time that all of it was read."""
    expected: list[dict[str, Any]] = []
    metrics: dict[tuple[str, str], dict[str, Any]] = {}
    outside: list[dict[str, Any]] = []
    widgets: list[dict[str, Any]] = []
    installed: dict[int, list[str]] = {}
    listed: dict[int, list[str]] = {}
    looked: set[int] = set()
    """Executions that ended and were looked at."""
    gaps: dict[str, None] = {}
    unseen: dict[str, None] = {}
    """Gaps that there are only if the kernel was not traced."""
    traced: bool = False
    """Whether strace followed the kernel from its start to its end."""
    deep: dict[str, Any] = {}
    programs: list[str] = []
    """Top-level modules that strace saw child processes take from distributions."""
    seal: dict[str, Any] = {}


def sort(events: Iterable[Event]) -> Told:
    """Sort a journal's events; a damaged one is left out, which is a gap."""
    told = Told()
    for kind, data in events:
        if is_whole(kind, data):
            _take(told, kind, data)
        else:
            told.gaps.setdefault(f"A damaged {str(kind)[:20]!r} event was left out.")
    if not told.traced:
        told.gaps.update(told.unseen)
    if told.imports and told.programs:
        modules = sorted({*told.imports["modules"], *told.programs})
        told.imports = {**told.imports, "modules": modules}
    return told


_LISTED = {"file": "files", "outside": "outside", "widget": "widgets", "expect": "expected"}
"""Events of which each counts."""
_OF_CELLS = {"installed": "distributions", "listed": "folders"}
"""Events of which all count for an execution, with the list that each has."""
_MERGED = {
    "run": ("runs", "run_id"), "model": ("models", "uri"),
    "artifact": ("artifacts", "run_id", "path"), "metric": ("metrics", "source", "name"),
}  # fmt: skip
"""Events of which the later add to the earlier of the same name."""


def _take(told: Told, kind: str, data: Any) -> None:
    if kind == "begin":
        told.begins[int(data["order"])] = data
        told.seal = {}  # what was sealed before was not the end
    elif kind == "end":
        told.ends[int(data["order"])] = dict(data)
    elif kind == "did":
        _take_deeds(told, data)
    elif kind == "opens":
        told.opens.extend(data["opens"])
    elif kind == "output":
        told.outputs[int(data["order"])] = data["outputs"]
    elif kind in _LISTED:
        getattr(told, _LISTED[kind]).append(data)
    elif kind == "files":
        told.files.extend(data)
    elif kind == "removed":
        told.removed.add(data["absolute"])
    elif kind in _OF_CELLS:
        done = getattr(told, kind).setdefault(int(data["order"]), [])
        done.extend(data[_OF_CELLS[kind]])
    elif kind == "edits":
        told.edits.update(data["found"])
        told.checked |= set(data["of"])
    elif kind == "checkouts":
        told.checkouts.update(data)
    elif kind == "gap":
        gaps = told.unseen if data.get("closed_by") else told.gaps
        gaps.setdefault(str(data["text"]))
    elif kind in _MERGED:
        where, *names = _MERGED[kind]
        getattr(told, where).setdefault(tuple(data[name] for name in names), {}).update(data)
    elif kind == "version":
        _take_answer(told, data)
    elif kind != "start" or not told.start:
        setattr(told, kind, data)


def _take_deeds(told: Told, data: dict[str, Any]) -> None:
    order = int(data["order"])
    told.looked.add(order)
    if order in told.ends:
        told.ends[order].update(data)
    told.opens.extend(data.get("opens") or ())


def _take_answer(told: Told, data: dict[str, Any]) -> None:
    if data.get("version"):
        told.versions[data["path"]] = data["version"]
    if data.get("digest"):
        told.contents.setdefault(data["path"], []).append(data)
