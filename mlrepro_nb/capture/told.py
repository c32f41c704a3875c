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
    imports: list[str] = []
    runs: dict[str, dict[str, Any]] = {}
    models: dict[str, dict[str, Any]] = {}
    gaps: dict[str, None] = {}
    seal: dict[str, Any] = {}


def sort(events: Iterable[Event]) -> Told:
    """Sort a journal's events; a damaged one is left out, which is a gap."""
    told = Told()
    for kind, data in events:
        if is_whole(kind, data):
            _take(told, kind, data)
        else:
            told.gaps.setdefault(f"A damaged {str(kind)[:20]!r} event was left out.")
    return told


def _take(told: Told, kind: str, data: Any) -> None:
    if kind == "begin":
        told.begins[int(data["order"])] = data
        told.seal = {}  # what was sealed before was not the end
    elif kind == "end":
        told.ends[int(data["order"])] = data
        told.opens.extend(data.get("opens") or ())
    elif kind == "opens":
        told.opens.extend(data["opens"])
    elif kind == "output":
        told.outputs[int(data["order"])] = data["outputs"]
    elif kind == "file":
        told.files.append(data)
    elif kind == "removed":
        told.removed.add(data["absolute"])
    elif kind == "gap":
        told.gaps.setdefault(str(data["text"]))
    elif kind == "run":
        told.runs.setdefault(data["run_id"], {}).update(data)
    elif kind == "model":
        told.models.setdefault(data["uri"], {}).update(data)
    elif kind != "start" or not told.start:
        setattr(told, kind, data)
