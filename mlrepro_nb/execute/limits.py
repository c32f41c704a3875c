"""What a notebook may take while it is run again, and how it is kept apart."""

from __future__ import annotations

import msgspec

PROCESSES = 1024
SCRATCH = 20 << 30

OUTPUT_CAP = 50_000_000
"""Characters of output that are kept of a cell; a human reads none of what is beyond."""

NOTEBOOK_CAP = 200_000_000
"""Characters of output that are kept of all cells together."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a kernel and all that it starts may take; None is no limit."""

    memory: int | None = None
    """Bytes of memory together."""
    processes: int | None = PROCESSES
    """At a time, the kernel among them."""
    scratch: int | None = SCRATCH
    """Bytes on disk in the scratch copy, what was copied not counted, and of any one file."""
    offline: bool = False
    """Without a network: in a namespace of its own, or where that is not allowed by a guard in
    Python, which native code gets around."""
    interrupt: bool = False
    """Whether a cell over its time is interrupted, and the next runs; else the run ends."""
    startup_files: bool = False
    """Whether the user's startup files (IPython's, PYTHONSTARTUP, usercustomize) run."""


def sentence(reason: str, limit: int) -> str:
    """Say which limit ended a kernel."""
    if reason == "memory":
        return f"The notebook took more than {size(limit)} of memory."
    if reason == "processes":
        return f"The notebook had more than {limit} processes at a time."
    if reason == "scratch":
        return f"The notebook wrote more than {size(limit)} to the scratch disk."
    return f"The notebook wrote until less than {size(limit)} of the scratch disk were free."


def size(count: int) -> str:
    """Return a number of bytes as people write it."""
    value, units = float(count), ["B", "KB", "MB", "GB", "TB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.4g} {units[0]}"
