"""An unseeded run, fed back: the same entropy to the same cells, in the same order.

A recording keeps, per cell, what seeded a generator from the operating system,
and the state of each global generator that the cell drew from unseeded. A rerun
that is given them (the variable ``MLREPRO_REPLAY`` names the file) draws the
same numbers. Bytes that the user's code itself asked the system for (`secrets`,
`uuid4`, `os.urandom`) may be keys: they are never kept.

A rerun's cells are found by their source; of a cell that ran several times the
last run counts, since its output is the one that stayed.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

VARIABLE = "MLREPRO_REPLAY"
VERSION = 1


def document(sections: Iterable[Mapping[str, Any]]) -> bytes | None:
    """Return the JSON of what is to be fed back; None where that is nothing.

    Parameters
    ----------
    sections : iterable of mapping
        Of each execution in order: ``digest`` (of its source), ``cell`` (its
        index in the file, or None), ``feed`` and ``states``.
    """
    last: dict[Any, dict[str, Any]] = {}
    for number, section in enumerate(sections):
        key = section["cell"] if section["cell"] is not None else f"execution {number}"
        last.pop(key, None)
        last[key] = dict(section)
    kept = list(last.values())
    if not any(section["feed"] or section["states"] for section in kept):
        return None
    # Cells of the same source are told apart by their order in the file.
    kept.sort(key=lambda s: (s["cell"] is None, s["cell"] if s["cell"] is not None else 0))
    told = {"version": VERSION, "sections": kept}
    return json.dumps(told, separators=(",", ":"), sort_keys=True).encode()


class Replay:
    """Feeds back what a recording kept, cell by cell.

    Parameters
    ----------
    sections : iterable of mapping
        Those of the `document`; none in a recording.
    gap : callable
        Report what could not be fed back.
    """

    def __init__(self, sections: Iterable[Mapping[str, Any]], gap: Callable[[str], None]) -> None:
        self._gap = gap
        self._waiting: dict[str, deque[Mapping[str, Any]]] = {}
        for section in sections:
            self._waiting.setdefault(str(section["digest"]), deque()).append(section)
        self.on = bool(self._waiting)
        self.states: dict[str, Any] = {}
        """States that are still to be put back in this cell, by generator."""
        self._queues: dict[str, deque[Mapping[str, Any]]] = {}

    @classmethod
    def from_environment(cls, gap: Callable[[str], None]) -> Replay:
        """Return what the environment names; the variable is for this process alone."""
        path = os.environ.pop(VARIABLE, None)
        if not path:
            return cls((), gap)
        try:
            told = json.loads(Path(path).read_text(encoding="utf-8"))
            if told["version"] != VERSION:
                raise ValueError(f"version {told['version']}")
            replay = cls(told["sections"], gap)
        except (OSError, ValueError, KeyError, TypeError) as error:
            gap(f"The recorded entropy cannot be fed back: {type(error).__name__}: {error}")
            return cls((), gap)
        return replay

    def begin(self, digest: str) -> None:
        """Turn to the section of a cell."""
        self.states, self._queues = {}, {}
        waiting = self._waiting.get(digest)
        if not waiting:
            return
        section = waiting.popleft()
        self.states = dict(section.get("states") or {})
        for entry in section.get("feed") or ():
            kind = next((k for k in ("skip", "numpy", "random", "torch") if k in entry), None)
            key = entry["skip"] if kind == "skip" else kind or f"seed:{entry.get('seed')}"
            copies = int(entry.get("n", 1)) if kind == "skip" else 1
            self._queues.setdefault(str(key), deque()).extend([entry] * copies)

    def take(self, kind: str) -> Mapping[str, Any] | None:
        """Return what a draw of this kind gave in the recorded run; None to draw anew."""
        if not self.on:
            return None
        queue = self._queues.get(kind)
        entry = queue.popleft() if queue else None
        if entry is None and not kind.startswith("seed:"):
            self._gap(
                "A cell drew more from the system than in the recorded run: "
                "the rest was not fed back."
            )
        return None if entry is None or "skip" in entry else entry

    def odd(self) -> None:
        """Report that a draw was of another shape than the recorded one."""
        self._gap("A cell drew otherwise from the system than in the recorded run.")
