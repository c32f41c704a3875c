"""Which of pytest-xdist's workers gets which test."""

from __future__ import annotations

from typing import Any


def scheduling(config: Any, log: Any) -> Any:
    """Return a schedule by which the cells of a notebook stay together, other tests not."""
    from xdist.scheduler import LoadScopeScheduling

    class Schedule(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.endswith(".ipynb") else nodeid

    return Schedule(config, log)
