"""Runs the survey of what is installed, in a process of its own, or knows its last answer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlrepro_nb.capture import orphan
from mlrepro_nb.capture.secrets import scrub
from mlrepro_nb.store import user_cache, write_atomically

# Imported, not run as a file, which would be compiled each time.
_PROGRAM = "import sys; sys.path.append(sys.argv[3]); import survey; survey.main()"
_HERE = str(Path(__file__).parent)

_FORMAT = 2
_SITES = ("site-packages", "dist-packages")
_METADATA = (".dist-info", ".egg-info", ".egg-link", ".egg")
_SETTLED = 2_000_000_000
"""Nanoseconds after which a folder's time of change tells all changes apart."""
_MOST_KEPT = 32


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


def installed(
    path: Sequence[str],
    prefix: str,
    *,
    executable: str | None = None,
    timeout: float | None = None,
) -> dict[str, Any] | None:
    """Return what is installed, as `survey` tells it; None where it cannot be found out in time.

    An installer makes and removes folders where distributions lie. Where none came or left since
    it was last asked, nobody is: of twenty notebooks that are verified one waits for the survey.

    Parameters
    ----------
    path, prefix : str
        ``sys.path`` and ``sys.prefix`` of the interpreter.
    executable : str, optional
        The interpreter; this process's own by default.
    timeout : float, optional
        Seconds to wait.
    """
    kept = _kept_at(path, prefix, executable or sys.executable)
    if kept is not None:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(kept.read_bytes())
            if isinstance(found, dict) and isinstance(found.get("distributions"), list):
                return found
    told = Surveyor({"path": list(path), "prefix": prefix}, executable).answer(timeout)
    if kept is not None and told is not None:
        _keep(kept, told)
    return told


def _kept_at(path: Sequence[str], prefix: str, executable: str) -> Path | None:
    """Return where the answer is kept; None where it could change without being noticed."""
    conda = os.path.join(prefix, "conda-meta")  # noqa: PTH118 - a kernel starts with this
    about: list[Any] = [_FORMAT, executable, prefix]
    try:
        for entry in (*(entry or os.getcwd() for entry in path), conda):  # noqa: PTH109
            if os.path.basename(entry) in _SITES or entry == conda:  # noqa: PTH119
                with contextlib.suppress(FileNotFoundError):
                    changed = os.stat(entry).st_mtime_ns  # noqa: PTH116
                    if abs(time.time_ns() - changed) < _SETTLED:
                        return None
                    about.append([entry, changed])
            elif os.path.isdir(entry):  # noqa: PTH112
                if any(name.endswith(_METADATA) for name in os.listdir(entry)):  # noqa: PTH208
                    return None  # a checkout's own metadata, which change in place
            elif os.path.exists(entry):  # noqa: PTH110
                return None  # an archive
        name = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        return user_cache() / "installed" / f"{name[:32]}.json"
    except (OSError, RuntimeError, ValueError):
        return None


def _keep(place: Path, told: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, ValueError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, json.dumps(scrub(told)).encode(), mode=0o600)
        kept = sorted(place.parent.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for old in kept[:-_MOST_KEPT]:
            old.unlink(missing_ok=True)


def cache_file() -> str | None:
    """Return where answers to checks are kept: in the user's cache, since installs are shared."""
    try:
        return str(user_cache() / "installed.json")
    except RuntimeError:
        return None
