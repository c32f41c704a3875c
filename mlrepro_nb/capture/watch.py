"""What the recorder drives: a watch for each part of what a kernel tells."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import msgspec


class Execution(msgspec.Struct):
    """One execution of a cell, while it is being recorded."""

    order: int
    request: str
    """Id of the message that asked for it."""
    source: str
    clock: float = 0.0
    """`time.perf_counter` when it began."""
    status: str = "ok"
    error: str | None = None
    count: int | None = None
    duration: float = 0.0
    done: bool = False


class Recording(Protocol):
    """What a watch may ask of the recorder, from any thread."""

    @property
    def shell(self) -> Any:
        """The kernel's shell."""

    @property
    def mode(self) -> str:
        """``interactive``, ``headless`` or ``verify``."""

    def emit(self, kind: str, data: Any) -> None:
        """Report an event."""

    def gap(self, text: str) -> None:
        """Report, once, something that could not be recorded."""

    def current(self) -> int | None:
        """Return the order of the execution that is running, or None."""


class Watch:
    """Watches one part from the recording's start to its end; every method may do nothing.

    The recorder guards each call: what a watch raises becomes a gap, and never
    reaches the user's code.
    """

    title: ClassVar[str] = "something"
    """What a gap says could not be recorded."""
    part: ClassVar[str | None] = None
    """Key of a cell's ``did`` event that holds what `cell_ended` returns."""

    def start(self) -> None:
        """Begin to watch."""

    def stop(self) -> None:
        """Watch no more, and leave the process as it was found."""

    def cell_begins(self, execution: Execution) -> None:
        """Do what must be done before a cell: it waits for this."""

    def cell_ends(self, execution: Execution) -> None:
        """Do what must be done the moment a cell ends: its result waits for this."""

    def cell_ended(self, execution: Execution) -> Any:
        """Return what the cell did as JSON-able data, or None.

        The front end has been told of the cell's end by now, if it has one; the
        next cell waits for this.
        """

    def after_cell(self, execution: Execution) -> None:
        """Report what need not be in the ``did`` event, which is out by now."""

    def describe(self) -> None:
        """Report, from a thread, what is known from the start on, in case the end never comes."""

    def seal(self, timeout: float) -> None:
        """Report, within `timeout` seconds, all that is left open as of now."""
