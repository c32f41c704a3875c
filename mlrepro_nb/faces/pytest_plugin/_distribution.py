"""Which of pytest-xdist's workers gets which test."""

from __future__ import annotations

from typing import Any


def scheduling(config: Any, log: Any) -> Any:
    """Return a schedule by which the cells of a notebook stay together, other tests not."""
    from xdist.scheduler import LoadGroupScheduling, LoadScopeScheduling

    grouped = config.getoption("dist") == "loadgroup"
    schedule: Any = LoadGroupScheduling if grouped else LoadScopeScheduling

    class Schedule(schedule):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file.endswith(".ipynb"):
                return file
            return str(super()._split_scope(nodeid)) if grouped else nodeid

    return Schedule(config, log)
