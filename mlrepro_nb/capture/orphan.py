"""Starting a program of ours so that it is nobody's child.

A user's ``os.wait`` does not meet it, ``multiprocessing.active_children`` and psutil
do not list it, and it leaves no zombie: a shell starts it and ends at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

_SHELL = "/bin/sh"
# What reads from the terminal or prints to it would be the kernel's rival.
_SCRIPT = '"$0" "$@" </dev/null >/dev/null 2>&1 & echo $!'


class NotStarted(Exception):  # noqa: N818 - says what happened
    """The program cannot be started so."""


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
