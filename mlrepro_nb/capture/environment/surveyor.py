"""Runs the survey of what is installed, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mlrepro_nb.capture import orphan
from mlrepro_nb.store import user_cache

# Imported, not run as a file, which would be compiled each time.
_PROGRAM = "import sys; sys.path.append(sys.argv[3]); import survey; survey.main()"
_HERE = str(Path(__file__).parent)


class Surveyor:
    """A survey that is under way.

    Parameters
    ----------
    request : dict
        As `survey` takes it.
    executable : str, optional
        The interpreter; this process's own by default.
    """

    def __init__(self, request: dict[str, Any], executable: str | None = None) -> None:
        self._answers: int | None = None
        self._pid = 0
        program = executable or sys.executable
        if not program:
            return
        # The deep layer's library, or a profiler's, is not for this one.
        variables = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        reading, writing = os.pipe()
        with tempfile.TemporaryFile() as asked:
            # A file, not a pipe: nobody waits for anybody.
            asked.write(json.dumps(request).encode("utf-8", "replace"))
            asked.flush()
            asked.seek(0)
            numbers = (asked.fileno(), writing)
            command = [program, "-I", "-S", "-X", "utf8", "-c", _PROGRAM,
                       *map(str, numbers), _HERE]  # fmt: skip
            try:
                self._pid = orphan.start(command, pass_fds=numbers, variables=variables)
                self._answers = reading
            except orphan.NotStarted:
                os.close(reading)
            finally:
                os.close(writing)

    def answer(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Return what it found; None where it does not end in time, or cannot be done."""
        if self._answers is None:
            return None
        reading, self._answers = self._answers, None
        deadline = None if timeout is None else time.monotonic() + timeout
        said = bytearray()
        poll = select.poll()
        poll.register(reading, select.POLLIN | select.POLLHUP)
        try:
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not poll.poll(None if left is None else left * 1000):
                    self._end()
                    return None
                part = os.read(reading, 1 << 16)
                if not part:
                    break
                said += part
            found = json.loads(said)
        except (OSError, ValueError):
            return None
        finally:
            with contextlib.suppress(OSError):
                os.close(reading)
        return found if isinstance(found, dict) else None

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)


def cache_file() -> str | None:
    """Return where answers to checks are kept: in the user's cache, since installs are shared."""
    try:
        return str(user_cache() / "installed.json")
    except RuntimeError:
        return None
