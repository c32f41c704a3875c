"""SQLite: databases that a statement attaches. What is connected to, the audit hook sees."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from mlrepro_nb.capture.data.audit import by_machinery, sqlite_opened, target
from mlrepro_nb.capture.data.readers.wrap import Wrappers

_ATTACH = 24
"""SQLITE_ATTACH, which the sqlite3 module does not name."""


def wrap_sqlite(module: ModuleType, wrappers: Wrappers) -> None:
    """Have each new connection say what it attaches: SQLite asks before it compiles a statement.

    A notebook that sets an authorizer of its own replaces ours.
    """
    original, connection = module.connect, module.Connection

    @functools.wraps(original)
    def connect(*args: Any, **kwargs: Any) -> Any:
        made = original(*args, **kwargs)
        watch = target()
        if watch is not None and watch.execution() is not None and not by_machinery(anywhere=True):
            try:
                # Not as a method: a subclass of the user's may have its own.
                connection.set_authorizer(made, _allow)
            except Exception as error:  # noqa: BLE001 - it must not become the user's exception
                watch.failed(error)
        return made

    wrappers.replace(module, "connect", connect)


def _allow(action: int, name: str | None = None, *_: Any) -> int:
    if action == _ATTACH and name:
        watch = target()
        if watch is not None:
            try:
                sqlite_opened(watch, name, "wrapper:sqlite3")
            except Exception as error:  # noqa: BLE001 - SQLite would refuse the statement
                watch.failed(error)
    return 0
