"""What keeps the recorder's own work and the user's apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

_SOON = 0.02
"""Seconds after which an interrupt that came too early reaches the cell."""

try:
    # `signal.signal` makes enums of all that it handles, which costs more than all the rest.
    from _signal import signal as _set  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # another implementation of Python
    from signal import signal as _set
_INTERRUPT, _DEFAULT = int(signal.SIGINT), signal.default_int_handler


class Guard:
    """Hands on what is raised within, and ends it there.

    Parameters
    ----------
    what : str
        What was being done.
    failed : callable
        Gets `what` and the exception.
    """

    __slots__ = ("_failed", "_what")

    def __init__(self, what: str, failed: Callable[[str, BaseException], None]) -> None:
        self._what = what
        self._failed = failed

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _traceback: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        self._failed(self._what, error)
        return True


class Uninterrupted:
    """Keeps Ctrl-C, which is meant for the cell, from cutting our own work in half.

    It reaches the cell a moment later; a handler of the user's own stays in place.
    """

    __slots__ = ("_came", "_handler")

    def __enter__(self) -> None:
        self._came = False
        self._handler: Any = None
        try:
            handler = _set(_INTERRUPT, self._note)
        except ValueError:  # not in the main thread, where interrupts come
            return
        if handler is _DEFAULT:
            self._handler = handler
        else:
            _set(_INTERRUPT, handler)

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            _set(_INTERRUPT, self._handler)
            if self._came:
                main = threading.main_thread().ident
                timer = threading.Timer(_SOON, signal.pthread_kill, (main, _INTERRUPT))
                timer.daemon = True
                timer.start()

    def _note(self, *_: object) -> None:
        self._came = True
