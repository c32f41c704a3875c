"""The sampler as a process of its own, which no lock of the kernel's Python can hold up.

It is nobody's child, so that a user's ``os.wait`` does not meet it, nor does it count as
the run's. It ends with the kernel.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time

from . import gpus
from .board import Board, shared
from .processes import Tree, started

NAME = "mlrepro-sampler"
RECORDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep  # noqa: PTH100, PTH120
"""The folder of the recorder's programs."""
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from sampling.process import main; main(sys.argv[3:])"
)


class Started:
    """A sampler that was started for this process.

    Attributes
    ----------
    board : Board
        What it says.
    """

    def __init__(self) -> None:
        from mlrepro_nb.capture.orphan import NotStarted, start

        if not sys.platform.startswith("linux"):
            raise NotStarted("this system has no /proc")
        if started(os.getpid()) is None:
            raise NotStarted("/proc is hidden")
        try:
            self.board, memory = shared()
            end, self._stop = os.pipe()
        except (OSError, AttributeError) as error:  # an old system has no memory without a name
            raise NotStarted(str(error)) from None
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
        command = [
            sys.executable, "-I", "-S", "-c", _PROGRAM, here, NAME,
            str(os.getpid()), str(started(os.getpid())), str(memory), str(end), _library(),
        ]  # fmt: skip
        try:
            start(command, pass_fds=(memory, end))
        except NotStarted:
            os.close(self._stop)
            raise
        finally:
            os.close(memory)
            os.close(end)

    def stop(self) -> None:
        """Let it end; does not wait for it."""
        with contextlib.suppress(OSError):
            os.write(self._stop, b"x")  # closing would not do: a forked child may hold it open
        with contextlib.suppress(OSError):
            os.close(self._stop)


def _library() -> str:
    """Return the folder of ``pynvml``, if this machine may have a GPU."""
    from importlib.util import find_spec

    if not gpus.present():
        return ""
    try:
        spec = find_spec("pynvml")
    except (ImportError, ValueError):
        return ""
    if spec is None or not spec.origin:
        return ""
    folder = os.path.dirname(spec.origin)  # noqa: PTH120
    return os.path.dirname(folder) if spec.submodule_search_locations else folder  # noqa: PTH120


def main(arguments: list[str]) -> None:
    """Sample a process's tree until it ends or says so."""
    root, since, memory, stop, library = (*map(str, arguments),)
    pid = int(root)
    board = Board(int(memory))
    os.close(int(memory))
    tree = Tree(pid, leave_out=RECORDER)
    if started(pid) != since:
        return
    if library:
        sys.path.append(library)
    devices, why = gpus.opened()
    watched = [int(stop)]
    with contextlib.suppress(AttributeError, OSError):
        watched.append(os.pidfd_open(pid))  # readable once the process ends
    poll = select.poll()
    for file in watched:
        poll.register(file, select.POLLIN | select.POLLHUP)

    def wait(seconds: float) -> bool:
        return bool(poll.poll(seconds * 1000))

    from .loop import sample  # only in the process that samples

    sample(board, tree, devices, root=pid, wait=wait, clock=time.process_time, why_no_gpus=why)
