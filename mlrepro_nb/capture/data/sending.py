"""The moments at which a child process must have told: before it sends anything, before it ends.

A pool's workers are ended by a signal: what they did must be told with each result.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from mlrepro_nb.capture.data.readers.wrap import Wrappers
from mlrepro_nb.capture.imports import ImportHook

Tell = Callable[[], None]

CONNECTIONS = ("multiprocessing.connection", "multiprocess.connection")
"""Modules through which pools, executors, queues and loky send what their tasks gave."""

_tells: list[Tell] = []
_wrappers = Wrappers()
_hooks: list[ImportHook] = []


def attach(tell: Tell) -> None:
    """Have something called at each of these moments, in this process and in forked ones."""
    if not _tells:
        _wrappers.replace(os, "_exit", _leaving(os._exit))  # a forked process runs no `atexit`
        _hooks.append(ImportHook(dict.fromkeys(CONNECTIONS, _sending)))
        _hooks[-1].start()
    _tells.append(tell)


def detach(tell: Tell) -> None:
    """Have it called no more."""
    if tell in _tells:
        _tells.remove(tell)
    if not _tells and _hooks:
        _hooks.pop().stop()
        _wrappers.restore()


def tell_all() -> None:
    """Have all told now; whatever fails, what is sent is sent."""
    for tell in _tells:
        try:  # no context manager: a pool of a million tasks comes by
            tell()
        except Exception:  # noqa: BLE001, PERF203
            continue


def _leaving(original: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
    @functools.wraps(original)
    def _exit(status: int) -> NoReturn:
        tell_all()
        original(status)

    return _exit


def _sending(module: ModuleType) -> None:
    original = module.Connection._send_bytes  # noqa: SLF001

    @functools.wraps(original)
    def _send_bytes(self: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        tell_all()
        return original(self, *args, **kwargs)

    _wrappers.replace_method(module.Connection, "_send_bytes", _send_bytes)
