"""The nursery's own loop: a keeper for each request."""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence

from nursery import keeper

_IMPORTED = (
    "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "ipykernel.heartbeat",
    "ipykernel.iostream", "ipykernel.debugger", "ipykernel.parentpoller", "ipykernel.connect",
    "mlrepro_nb.faces.magics", "mlrepro_nb.capture.recorder",
)  # fmt: skip
"""Of what a kernel imports before its first cell; nothing that it does not."""


def main(control_fd: int, *, warm: bool) -> None:
    """Fork a keeper for each set of descriptors that comes, until nobody listens any more.

    In the kernel's own process this returns what must be called to be a kernel.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    before = dict(os.environ)
    if warm:
        for name in _IMPORTED:
            # Another version of a library may lack one: the kernel then imports what it needs.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        gc.collect()
        # For good: to look at what was imported here again and again, three times of them when it
        # ends, is a fifth of what a small notebook takes.
        gc.freeze()
    # What the imports have set (PYDEVD_USE_FRAME_EVAL) a kernel is to have, too.
    added = {k: v for k, v in os.environ.items() if before.get(k) != v}
    while True:
        select.select([control], [], [])
        received = _receive(control)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if received is None:
            return
        if os.fork():
            for fd in received:
                os.close(fd)
            continue
        control.close()
        launch = _kept(received, added if warm and _alone() else None)
        if launch is not None:
            launch()
        return


def _kept(fds: Sequence[int], added: dict[str, str] | None) -> Callable[[], None] | None:
    """Be a keeper until its kernel is gone; be the kernel where this returns something."""
    try:
        start: Callable[[], None] | None = keeper.keep(fds, added)
    except BaseException:  # noqa: BLE001 - a keeper's end is told by its descriptor
        os._exit(1)
    return start


def _alone() -> bool:
    """Whether this process can be forked: it has one thread."""
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return threading.active_count() == 1


def _receive(control: socket.socket) -> list[int] | None:
    room = socket.CMSG_SPACE(3 * array.array("i").itemsize)
    try:
        data, ancillary, _, _ = control.recvmsg(1, room)
    except OSError:
        return None
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return list(fds) if data and len(fds) == 3 else None


def forget() -> None:
    """Take this package out of what the kernel's code can see."""
    for name in [name for name in sys.modules if name.split(".")[0] == "nursery"]:
        del sys.modules[name]
