"""The time, as the system has it, whatever a cell does to the `time` module."""

from __future__ import annotations

import os
import threading
import time

# Not names of this module: what fakes the time for tests looks for those.
_SYSTEM = (time.time, time.gmtime, time.perf_counter, os.getpid, threading.get_ident)


def now() -> str:
    """Return the time as RFC 3339 in UTC, to the millisecond."""
    seconds = _SYSTEM[0]()
    year, month, day, hour, minute, second, *_ = _SYSTEM[1](seconds)
    return (
        f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"
        f".{int(seconds % 1 * 1000):03d}Z"
    )


def clock() -> float:
    """Return seconds since some moment."""
    return _SYSTEM[2]()


def pid() -> int:
    """Return this process's number."""
    return _SYSTEM[3]()


def thread() -> int:
    """Return this thread's number."""
    return _SYSTEM[4]()
