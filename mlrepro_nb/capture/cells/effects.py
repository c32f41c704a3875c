"""What a cell changed in its process: folder, search path, variables, installed packages."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from mlrepro_nb.capture.watch import Execution, Recording, Watch

_METADATA = re.compile(r"^(.+?)-([^-]+?)(?:-py[\d.]+)?\.(?:dist-info|egg-info)$")
_CONDA = re.compile(r"^(.+)-([^-]+)-[^-]+\.json$")


class EffectWatch(Watch):
    """Compares a few facts of the process before and after a cell.

    What was installed is seen by the change of a folder's time: only then is
    the folder listed.

    Parameters
    ----------
    recording : Recording
        The recorder. It gets ``installed`` events.
    """

    title = "what a cell changed in its process"
    part = "effects"

    def __init__(self, recording: Recording) -> None:
        self._emit = recording.emit
        self._folder: str | None = None
        self._path: list[Any] = []
        self._variables: dict[Any, Any] = {}
        self._times: dict[str, int] = {}
        self._installed: dict[str, set[str]] = {}

    def start(self) -> None:
        """Begin to watch."""
        self._folder, self._path, self._variables = _folder(), list(sys.path), _variables()
        self._times = {place: _time(place) for place in _places(sys.path)}
        self._installed = {place: _distributions(place) for place in self._times}

    def cell_ended(self, execution: Execution) -> dict[str, Any] | None:
        """Return what the cell changed, None where it changed nothing."""
        changed: dict[str, Any] = {}
        if (folder := _folder()) != self._folder:
            changed["folder"], self._folder = folder, folder
        if sys.path != self._path:
            before, now = self._path, list(sys.path)
            changed["path"] = [f"+{p}" for p in now if p not in before]
            changed["path"] += [f"-{p}" for p in before if p not in now]
            self._path = now
            for place in _places(now):
                if place not in self._times:
                    self._times[place] = _time(place)
                    self._installed[place] = _distributions(place)
        if (variables := _variables()) != self._variables:
            changed["variables"] = _changed(self._variables, variables)
            self._variables = variables
        return changed or None

    def after_cell(self, execution: Execution) -> None:
        """Report what was installed or uninstalled."""
        found: list[str] = []
        for place, before in self._times.items():
            if (now := _time(place)) == before:
                continue
            self._times[place] = now
            old, new = self._installed[place], _distributions(place)
            self._installed[place] = new
            found += [f"+{name}" for name in sorted(new - old)]
            found += [f"-{name}" for name in sorted(old - new)]
        if found:
            self._emit("installed", {"order": execution.order, "distributions": found})


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - after each cell
    except OSError:
        return None  # it was deleted


def _variables() -> dict[Any, Any]:
    # Its own dictionary: copying that decodes nothing.
    held = getattr(os.environ, "_data", None)
    return dict(held) if isinstance(held, dict) else dict(os.environ)


def _changed(before: dict[Any, Any], now: dict[Any, Any]) -> list[str]:
    found = [f"+{_name(key)}" for key, value in now.items() if before.get(key) != value]
    return sorted(found + [f"-{_name(key)}" for key in before if key not in now])


def _name(key: Any) -> str:
    return os.fsdecode(key) if isinstance(key, str | bytes) else str(key)


def _places(path: list[Any]) -> list[str]:
    """Return the folders in which installed distributions leave their metadata."""
    found = [
        p for p in path if isinstance(p, str) and p.endswith(("site-packages", "dist-packages"))
    ]
    conda = Path(sys.prefix) / "conda-meta"
    return [*dict.fromkeys(found), *([str(conda)] if conda.is_dir() else [])]


def _time(place: str) -> int:
    try:
        return os.stat(place).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


def _distributions(place: str) -> set[str]:
    try:
        names = os.listdir(place)  # noqa: PTH208
    except OSError:
        return set()
    pattern = _CONDA if place.endswith("conda-meta") else _METADATA
    return {f"{m[1]}=={m[2]}" for name in names if (m := pattern.match(name))}
