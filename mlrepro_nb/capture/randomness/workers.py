"""What child processes draw: compared whenever they send something, and told before it arrives.

A pool's workers are ended by a signal: what they drew must be told with each result.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn, Protocol

from mlrepro_nb.capture.data.children import Reporter
from mlrepro_nb.capture.randomness.taps import Patches

CONNECTIONS = ("multiprocessing.connection", "multiprocess.connection")
"""Modules through which pools, executors, queues and loky send what their tasks gave."""


class Children(Protocol):
    """Who hears child processes, in the kernel (`data.children`)."""

    def drawn(self) -> list[tuple[str, bool | None]]:
        """Return what they drew from since the last time."""


class _Worker:
    """Stands for the recorder in a process that has no cells."""

    shell, mode = None, "interactive"

    def emit(self, kind: str, data: Any) -> None:
        """Do nothing."""

    def gap(self, text: str) -> None:
        """Do nothing."""

    def current(self) -> int | None:
        """Return None: no cell runs here."""
        return None


def begin(reporter: Reporter) -> None:
    """In a new interpreter: tell from now on what is drawn."""
    from mlrepro_nb.capture.randomness.watch import RandomnessWatch

    watch = RandomnessWatch(_Worker())
    watch.start()
    watch.tell(reporter)
    atexit.register(watch.tell_draws)


def before_leaving(patches: Patches, tell: Callable[[], None]) -> None:
    """Have something called before a process ends that was forked: such run no `atexit`."""

    def make(original: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
        @functools.wraps(original)
        def _exit(status: int) -> NoReturn:
            tell()
            original(status)

        return _exit

    patches.replace(os, "_exit", make)


def before_sending(patches: Patches, tell: Callable[[], None], module: ModuleType) -> None:
    """Have something called before a process sends anything through a module's connections."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def _send_bytes(self: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            tell()
            return original(self, *args, **kwargs)

        return _send_bytes

    patches.replace(module.Connection, "_send_bytes", make)


def uses(drawn: list[tuple[str, bool | None]]) -> list[dict[str, Any]]:
    """Return what workers drew from as uses of generators, one each."""
    seeded: dict[str, bool] = {}
    for name, sown in drawn:
        if sown is not None:
            seeded[name] = seeded.get(name, True) and sown
    return [
        {"generator": name, "before": "", "after": "", "seeded": sown, "worker": True}
        for name, sown in seeded.items()
    ]


def entropy(drawn: list[tuple[str, bool | None]]) -> list[dict[str, Any]]:
    """Return what workers drew of the system's entropy."""
    return [
        {"source": source, "replayable": False, "worker": True}
        for source, sown in drawn
        if sown is None
    ]
