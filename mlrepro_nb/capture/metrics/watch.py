"""Watches the variables that something is expected of, and the scraps that are displayed."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from mlrepro_nb.capture.metrics.numbers import number
from mlrepro_nb.capture.watch import Execution, Recording, Watch
from mlrepro_nb.model import Expectation

VARIABLE = "MLREPRO_METRICS"
"""Names of variables, a line each, that who starts the kernel wants to know the values of."""

SCRAP = "application/scrapbook.scrap.json+json"
PAPERMILL = "application/papermill.record+json"
"""What ``papermill.record`` displayed, before there was scrapbook."""

Told = tuple[str, str]
"""Where a value is from, and its name."""


class MetricWatch(Watch):
    """Reports metrics that no MLflow run holds, whenever they change.

    Parameters
    ----------
    recording : Recording
        Is told.
    """

    title = "metrics"

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        names = os.environ.pop(VARIABLE, "")
        self._names = dict.fromkeys(name for name in names.split("\n") if name)
        self._seen: dict[Told, float | str] = {}

    def start(self) -> None:
        """Say what who starts the kernel wants to know of."""
        for name in self._names:
            self._recording.emit("expect", {"metric": name})

    def declare(self, expected: Expectation) -> Expectation:
        """Note what is expected from now on, and return it with what the metric is by now."""
        told = {
            name: value for name in ("metric", "operator", "limit", "delta")
            if (value := getattr(expected, name)) is not None
        }  # fmt: skip
        self._recording.emit("expect", {**told, "order": self._recording.current()})
        self._names.setdefault(expected.metric)
        self._look()
        for source in ("scrapbook", "variable"):
            found = self._seen.get((source, expected.metric))
            if found is not None:
                return msgspec.structs.replace(expected, source=source, **_told(found))
        return expected

    def displayed(self, data: Any) -> None:
        """Note the scraps among what a cell displays."""
        if not isinstance(data, dict):
            return
        scrap = data.get(SCRAP)
        if isinstance(scrap, dict) and scrap.get("encoder", "json") == "json":
            self._note("scrapbook", str(scrap.get("name")), scrap.get("data"))
        recorded = data.get(PAPERMILL)
        if isinstance(recorded, dict):
            for name, value in recorded.items():
                self._note("scrapbook", str(name), value)

    def cell_ended(self, execution: Execution) -> None:
        """Look at the variables."""
        self._look()

    def seal(self, timeout: float) -> None:
        """Look once more: a thread may have set one since."""
        self._look()

    def _look(self) -> None:
        names = getattr(self._recording.shell, "user_ns", {})
        for name in self._names:
            if name in names:
                self._note("variable", name, names[name])

    def _note(self, source: str, name: str, value: Any) -> None:
        found = number(value)
        if self._seen.get((source, name)) == found:
            return
        self._seen[source, name] = found
        self._recording.emit("metric", {"source": source, "name": name, **_told(found)})


def _told(found: float | str) -> dict[str, Any]:
    is_number = isinstance(found, float)
    return {"value": found if is_number else None, "problem": None if is_number else found}
