"""Which names of the notebook a cell bound and unbound, whatever did it."""

from __future__ import annotations

import re
from itertools import compress
from operator import is_not, ne
from typing import Any

from mlrepro_nb.capture.watch import Execution, Recording, Watch

_OWN = re.compile(r"_(?:|_|__|i{1,3}|i?\d+|[iod]h|exit_code)$|__\w+__$")
"""Names that IPython and Python bind for themselves."""
_PROVIDED = frozenset({"In", "Out", "get_ipython", "exit", "quit", "open"})

_MOST = 2000
"""Names up to which a namespace is looked at after each cell (0.1 ms for 1,000)."""


class NameWatch(Watch):
    """Compares the objects' identities before and after a cell.

    This sees what no reading of the source can: ``%run``, ``%store -r``,
    ``from x import *``, ``exec``, ``globals()[…]``; and that a cell which raised
    got only half way. No object is kept alive while a cell runs.

    Parameters
    ----------
    recording : Recording
        The recorder. It gets ``outside`` events.
    """

    title = "the names that cells bind"
    part = "names"

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._keys: list[str] = []
        self._identities: list[int] | None = None
        self._idle: dict[str, Any] | None = None
        """The namespace, between two cells only."""
        self._last: int | None = None
        self.requests = 0
        """Requests to run code, and what else IPython announces as such, since the last cell."""
        self.widgets = 0
        """Messages that widgets got since the last cell."""

    def start(self) -> None:
        """Begin to watch."""
        self._look()
        self._recording.shell.events.register("pre_execute", self._requested)

    def stop(self) -> None:
        """Watch no more."""
        self._recording.shell.events.unregister("pre_execute", self._requested)
        self._idle = None

    def cell_begins(self, execution: Execution) -> None:
        """Report what changed while no cell ran."""
        self._report_outside(execution.order)
        self._idle = None

    def cell_ended(self, execution: Execution) -> dict[str, list[str]] | None:
        """Return the names that the cell bound and unbound; None where they are too many."""
        keys, identities = self._keys, self._identities
        self._look()
        self._last = execution.order
        if identities is None or self._identities is None:
            return None
        if self._keys[: len(keys)] == keys:
            changed = list(compress(keys, map(ne, identities, self._identities)))
            changed += self._keys[len(keys) :]
            gone: list[str] = []
        else:
            before = dict(zip(keys, identities, strict=True))
            now = dict(zip(self._keys, self._identities, strict=True))
            changed = [name for name, value in now.items() if before.get(name) != value]
            gone = [name for name in before if name not in now]
        return {"bound": _of_the_user(changed), "unbound": _of_the_user(gone)}

    def seal(self, timeout: float) -> None:
        """Report what changed since the last cell."""
        if self._recording.current() is None:
            self._report_outside(None)

    def _look(self) -> None:
        namespace = self._recording.shell.user_ns
        self._idle = None
        self.requests = self.widgets = 0
        if len(namespace) > _MOST:
            self._identities = None
            return
        self._keys, self._identities = list(namespace), list(map(id, namespace.values()))
        # Held while nothing runs: comparing with it costs a third of asking for identities.
        self._idle = namespace.copy()

    def _report_outside(self, order: int | None) -> None:
        before, now = self._idle, self._recording.shell.user_ns
        if before is None:
            return
        if len(before) == len(now) and not any(map(is_not, before.values(), now.values())):
            return
        gone = [name for name in before if name not in now]
        # A debugger's and an inspector's own names are no state of the notebook.
        bound = [
            name
            for name, value in now.items()
            if (name not in before or before[name] is not value) and not name.startswith("_")
        ]
        bound, gone = _of_the_user(bound), _of_the_user(gone)
        by = self._suspects(order)
        self._look()
        if bound or gone:
            self._recording.emit(
                "outside",
                {"bound": bound, "unbound": gone, "after": self._last, "before": order, "by": by},
            )

    def _suspects(self, order: int | None) -> list[str]:
        debugger = getattr(getattr(self._recording.shell, "kernel", None), "debugger", None)
        own = 0 if order is None else 1
        seen = {
            "widget": self.widgets > 0,
            "debugger": bool(getattr(debugger, "is_started", False)),
            "tool": self.requests > own,
        }
        return [name for name, true in seen.items() if true] or ["background"]

    def _requested(self) -> None:
        self.requests += 1


def _of_the_user(names: list[str]) -> list[str]:
    return [
        name
        for name in names
        if isinstance(name, str) and name not in _PROVIDED and not _OWN.match(name)
    ]
