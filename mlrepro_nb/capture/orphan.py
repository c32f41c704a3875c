"""Starting a program of ours so that it is nobody's child.

A user's ``os.wait`` does not meet it, ``multiprocessing.active_children`` and psutil
do not list it, and it leaves no zombie: a shell starts it and ends at once. That shell is
the kernel's child for some milliseconds: it comes between two cells where it can.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

_SHELL = "/bin/sh"
# What reads from the terminal or prints to it would be the kernel's rival.
_SCRIPT = '"$0" "$@" </dev/null >/dev/null 2>&1 & echo $!'


_TICK = 0.05
_PATIENCE = 0.5
"""Seconds that a program waits for the running cell to end."""
_starting = threading.Lock()
_between = threading.Event()
_between.set()
_begun = 0
"""How many cells have begun."""


class NotStarted(Exception):  # noqa: N818 - says what happened
    """The program cannot be started so."""


def cell_begins() -> None:
    """Let what is being started become nobody's child first."""
    global _begun
    _begun += 1
    _between.clear()
    with _starting:
        pass


def cell_ends() -> None:
    """Let programs start again."""
    _between.set()


def wait_for_quiet(quiet: float, patience: float, hurry: threading.Event) -> None:
    """Wait until no cell has run for a while: who starts git meanwhile is a parent that it meets.

    Parameters
    ----------
    quiet : float
        Seconds without a cell.
    patience : float
        Seconds after which not to wait any longer.
    hurry : threading.Event
        Set when not to wait at all.
    """
    now = since = time.monotonic()
    deadline, before = now + patience, _begun
    while now < deadline and now - since < quiet and not hurry.wait(_TICK):
        now = time.monotonic()
        if _begun != before or not _between.is_set():
            since, before = now, _begun


def start(
    command: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    variables: Mapping[str, str] | None = None,
) -> int:
    """Start a program in the background, in a session of its own, and return its process number.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    pass_fds : sequence of int
        Descriptors that it inherits under the same numbers; it has no others.
    variables : mapping, optional
        Its environment variables; this process's by default.

    Raises
    ------
    NotStarted
        There is no shell, or this is a container's first process, whose child
        becomes what has no parent.
    """
    if not sys.executable or os.name != "posix":
        raise NotStarted("there is no program to start")
    if os.getpid() == 1:
        raise NotStarted("the kernel is the container's first process")
    deadline = time.monotonic() + _PATIENCE
    # The main thread is the cell's own: it waits for us.
    own = threading.current_thread() is threading.main_thread()
    while True:
        if not own:
            _between.wait(max(0.0, deadline - time.monotonic()))
        with _starting:
            if own or _between.is_set() or time.monotonic() >= deadline:
                return _start(command, pass_fds, variables)


def _start(
    command: Sequence[str], pass_fds: Sequence[int], variables: Mapping[str, str] | None
) -> int:
    try:
        shell = subprocess.Popen(
            [_SHELL, "-c", _SCRIPT, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=tuple(pass_fds),
            env=variables,
            start_new_session=True,
            cwd="/",
        )
        said, _ = shell.communicate()
        return int(said)
    except (OSError, ValueError) as error:
        raise NotStarted(str(error)) from None


def _forked() -> None:
    global _starting
    _starting = threading.Lock()
    _between.set()


os.register_at_fork(after_in_child=_forked)
