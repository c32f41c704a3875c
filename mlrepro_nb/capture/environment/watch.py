"""Watches what comes into the process: imported modules, and the software around them."""

from __future__ import annotations

import sys

from mlrepro_nb.capture.cells.source import imported_names
from mlrepro_nb.capture.environment.describe import Startup, describe, local_modules
from mlrepro_nb.capture.watch import Execution, Recording, Watch


class EnvironmentWatch(Watch):
    """Reports ``imports`` as they come, ``modules`` and ``environment`` at the end.

    Parameters
    ----------
    recording : Recording
        The recorder.
    sources : dict
        Python files that cells opened themselves (``%run``); filled while it runs.
    fresh : bool
        Whether no code of the user's has run in this process yet.
    """

    title = "the environment"

    def __init__(
        self, recording: Recording, sources: dict[str, int | None], *, fresh: bool
    ) -> None:
        self._emit = recording.emit
        self._sources = sources
        self._startup = Startup(fresh=fresh)
        self._reported = 0

    def cell_begins(self, execution: Execution) -> None:
        """Note which modules the cell names itself."""
        self._startup.named |= imported_names(execution.source)

    def after_cell(self, execution: Execution) -> None:
        """Report the imported modules if there are new ones."""
        count = len(sys.modules)
        if count != self._reported:
            self._reported = count
            self._emit("imports", self._startup.names())

    def describe(self) -> None:
        """Report the installed software."""
        self._emit("environment", describe(self._startup, libraries=False))

    def seal(self, timeout: float) -> None:
        """Report what is in the process now."""
        self._emit("modules", local_modules(self._sources))
        self._emit("environment", describe(self._startup))
