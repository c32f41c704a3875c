"""The keeper of one kernel: it starts, measures, limits and buries it, with all that it started.

It speaks with who ordered the kernel over a socket, a line of JSON a message: the order,
then signals, one way; what became of the kernel the other.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from nursery import groups, measure, network

_TICK = 0.1
_WALK_EVERY = 2.0
_RESERVE = 1 << 30
"""Bytes that stay free on the disk, or the twentieth part of what there is, if that is less."""
_NOTICED = 64 << 20
"""Bytes that a kernel must have written before a full disk is laid to its charge."""
_GONE = b""


def keep(fds: Sequence[int], added: dict[str, str] | None) -> Callable[[], None | None]:
    """Keep one kernel until it is gone; in the kernel's process return how to start it.

    Parameters
    ----------
    fds : sequence of int
        The connection, and where the kernel prints to.
    added : mapping, optional
        Variables that importing a kernel's modules has set; None where a kernel cannot be
        forked from this process.
    """
    connection = socket.socket(fileno=fds[0])
    os.setsid()
    order = json.loads(_line(connection))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _adopt()
    group = groups.Group(order.get("memory"), order.get("processes"))
    told, telling = os.pipe()
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waking, False)
    pid = os.fork()
    if not pid:
        for fd in (told, waking, woken):
            os.close(fd)
        connection.close()
        return _born(order, fds[1], fds[2], telling, group, added)
    os.close(telling)
    for fd in fds[1:]:
        os.close(fd)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    with contextlib.suppress(OSError):
        os.nice(-1)  # where it may: to be heard among a thousand processes
    with open(told, "rb") as pipe:
        network_kind = pipe.read().decode("ascii")  # until the kernel's process is ready
    _say(connection, {"pid": pid, "keeper": os.getpid(), "network": network_kind or None})
    _Watch(connection, waking, pid, order, group).run()
    os._exit(0)


def _born(
    order: dict[str, Any], out: int, err: int, telling: int, group: groups.Group,
    added: dict[str, str] | None,
) -> Callable[[], None]:  # fmt: skip
    """Become the kernel's process, up to what starts it."""
    keeper = os.getppid()
    os.setsid()
    group.enter()
    _die_with_parent()
    if os.getppid() != keeper:
        os._exit(1)
    kind = ""
    if order.get("offline"):
        kind = "namespace" if network.leave() else "guard"
    scratch = order.get("scratch")
    # A little less, so that one big file is an error that the notebook sees.
    _limit(resource.RLIMIT_FSIZE, scratch and scratch * 9 // 10)
    _limit(resource.RLIMIT_CORE, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("800")  # before what ordered it
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    for fd in (null, out, err):
        if fd > 2:
            os.close(fd)
    environment = dict(order["env"])
    environment["JPY_PARENT_PID"] = str(keeper)
    if kind:
        environment["MLREPRO_OFFLINE"] = kind
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    argv = list(order["argv"])
    try:
        os.chdir(order["cwd"])
        os.write(telling, kind.encode("ascii"))
        os.close(telling)
        arguments = order.get("arguments")
        if added is None or arguments is None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execvpe(argv[0], argv, environment)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode("utf-8", "replace"))
        os._exit(127)
    os.environ.clear()
    os.environ.update({**environment, **added})
    time.tzset()
    sys.orig_argv = argv
    sys.argv = list(arguments)
    return _launch


def _launch() -> None:
    from nursery.process import forget

    forget()
    with contextlib.suppress(ImportError, AttributeError):
        found = importlib.util.find_spec(sys.argv[0])
        sys.argv[0] = str(found.origin) if found else sys.argv[0]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


class _Watch:
    """What a keeper does while its kernel lives."""

    def __init__(
        self, connection: socket.socket, waking: int, pid: int, order: dict[str, Any],
        group: groups.Group,
    ) -> None:  # fmt: skip
        self.connection, self.waking, self.pid, self.group = connection, waking, pid, group
        self.memory: int | None = order.get("memory")
        self.processes: int | None = order.get("processes")
        self.scratch: int | None = order.get("scratch")
        self.folder: str | None = order.get("folder")
        self.started = measure.free(self.folder) if self.folder else None
        self.walked = time.monotonic()
        self.least = 0
        if self.folder and self.started is not None:
            status = os.statvfs(self.folder)
            self.least = min(_RESERVE, status.f_blocks * status.f_frsize // 20)
        self.buffer = b""
        self.reason: tuple[str, int] | None = None

    def run(self) -> None:
        status = self._status()
        if status is not None:
            ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            if self.reason is None and ended == signal.SIGKILL and self.group.exhausted():
                self.reason = ("memory", self.memory or 0)
            code = -ended if ended else os.WEXITSTATUS(status)
            _say(self.connection, {"exit": code, "reason": self.reason})
        _bury(self.group)
        self.group.remove()
        _say(self.connection, {"gone": True})

    def _status(self) -> int | None:
        """Return how the kernel ended; None where nobody waits for it any more."""
        while True:
            sources: list[Any] = [self.connection, self.waking]
            ready, _, _ = select.select(sources, [], [], _TICK)
            if self.waking in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.waking, 4096)
            status = _reap(self.pid)
            if status is not None:
                return status
            if self.connection in ready and not self._obey():
                return None
            if self.reason is None:
                self.reason = self._over()
                if self.reason is not None:
                    _end(measure.descendants(os.getpid()), self.group)

    def _obey(self) -> bool:
        """Send the signals that were asked for; False where who asked is gone."""
        try:
            received = self.connection.recv(65536)
        except OSError:
            received = _GONE
        if received == _GONE:
            return False
        *lines, self.buffer = (self.buffer + received).split(b"\n")
        for line in lines:
            number = int(json.loads(line)["signal"])
            if number == signal.SIGKILL:
                _end(measure.descendants(os.getpid()), self.group)
            with contextlib.suppress(OSError):
                os.killpg(self.pid, number)
            with contextlib.suppress(OSError):
                os.kill(self.pid, number)
        return True

    def _over(self) -> tuple[str, int] | None:
        """Return which limit is passed."""
        pids = measure.descendants(os.getpid())
        if self.processes is not None and len(pids) > self.processes:
            return "processes", self.processes
        if self.memory is not None and measure.memory(pids) > self.memory:
            return "memory", self.memory
        if self.folder is None or self.started is None:
            return None
        now = measure.free(self.folder)
        if now is None:
            return None
        if now < self.least and measure.written(pids) > _NOTICED:
            return "disk", self.least
        gone, passed = self.started - now, time.monotonic() - self.walked
        if self.scratch is None or not (gone > self.scratch // 2 or passed > _WALK_EVERY * 5):
            return None
        if passed < _WALK_EVERY and gone < self.scratch:
            return None
        taken = measure.size(self.folder, self.scratch) + measure.deleted(pids, self.folder)
        self.walked = time.monotonic()
        return ("scratch", self.scratch) if taken > self.scratch else None


def _reap(pid: int) -> int | None:
    """Bury the dead; return the status of one of them."""
    found = None
    while True:
        try:
            dead, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not dead:
            return found
        if dead == pid:
            found = status


def _bury(group: groups.Group) -> None:
    """End all that is left, also what forks faster than it is killed."""
    while True:
        left = set(measure.descendants(os.getpid())) | set(group.members())
        left.discard(os.getpid())
        _reap(-1)
        if not left:
            return
        _end(sorted(left), group)
        time.sleep(0.002)


def _end(pids: list[int], group: groups.Group) -> None:
    # First nobody moves: what is killed one by one would be replaced.
    seen: set[int] = set()
    while True:
        fresh = [pid for pid in pids if pid not in seen]
        if not fresh or len(seen) > 100_000:
            break
        for pid in fresh:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
        seen.update(fresh)
        pids = [*measure.descendants(os.getpid()), *group.members()]
    seen.discard(os.getpid())
    for pid in seen:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _adopt() -> None:
    """Have all that loses its parent below this process become its child (Linux)."""
    _prctl(36, 1)


def _die_with_parent() -> None:
    _prctl(1, int(signal.SIGKILL))


def _prctl(option: int, value: int) -> None:
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _limit(name: int, value: int | None) -> None:
    if value is None:
        return
    with contextlib.suppress(OSError, ValueError):
        most = resource.getrlimit(name)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(name, (value, value))


def _line(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        part = connection.recv(1 << 20)
        if part == _GONE:
            os._exit(0)
        received += part
    return received


def _say(connection: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")
