"""Our side of the nursery: processes from which kernels are forked, and kernels as seen here."""

from __future__ import annotations

import array
import contextlib
import itertools
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlrepro_nb.errors import KernelError
from mlrepro_nb.execute import limits
from mlrepro_nb.execute.limits import Limits

_HELLO = 120.0
_PATIENCE = 30.0
"""Seconds that a keeper has to bury what its kernel left, before it is killed itself."""
_MODULE = "ipykernel_launcher"
_START = (
    "import sys; sys.path[:1] = [sys.argv[1]]; from nursery.process import main; "
    "del sys.path[0]; sys.path[:] = [p for p in sys.path if p != sys.argv[3]]; "
    "sys.path += sys.argv[4:]; main(int(sys.argv[2]), warm=sys.argv[3] != '-')"
)
_BEFORE_PYTHON = re.compile(
    r"PYTHON(?!STARTUP)|LD_|MALLOC_|GLIBC_|LC_|LANG$|LANGUAGE$|ASAN_|OPENSSL_"
)
"""Variables that count when a process begins: it cannot be told them later."""


class Kept:
    """A kernel's process, as far as its keeper tells of it; looks like a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self.pid = 0
        self.returncode: int | None = None
        self.network: str | None = None
        """``namespace`` or ``guard``: how it is kept off the network, if it is."""
        self.reason: tuple[str, int] | None = None
        """Which limit ended it, and how much it is."""
        self.vanished = False
        """Whether its keeper ended before it told how the kernel did."""
        self._gone = self._buried = False
        self._keeper = 0

    def greeted(self, nursery: subprocess.Popen[bytes]) -> bool:
        """Wait until there is a process; False where its keeper is dead."""
        deadline = time.monotonic() + _HELLO
        while not self.pid and not self._gone and time.monotonic() < deadline:
            if nursery.poll() is not None:
                self._read(1.0)
                break
            self._read(0.25)
        return bool(self.pid)

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        self._read(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it and all that it started are gone."""
        begun = time.monotonic()
        while not self._gone:
            self._read(0.2)
            passed = time.monotonic() - begun
            if passed > _PATIENCE and self._keeper:
                # It does not answer; its kernel dies with it.
                with contextlib.suppress(OSError):
                    os.kill(self._keeper, signal.SIGKILL)
            if timeout is not None and passed > timeout:
                break
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to its process group; SIGKILL to all that it started."""
        if number == signal.SIGKILL and self._keeper and not self._gone:
            # The notebook may have stopped its keeper.
            with contextlib.suppress(OSError):
                os.kill(self._keeper, signal.SIGCONT)
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps({"signal": int(number)}).encode() + b"\n")

    def kill(self) -> None:
        """Kill it, with all that it started."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to go."""
        self.send_signal(signal.SIGTERM)

    def why(self) -> str:
        """Say why it is dead, as far as that is known."""
        self.poll()
        if self.reason is not None:
            return limits.sentence(*self.reason)
        code = self.returncode
        if code is not None and code < 0 and not self.vanished:
            with contextlib.suppress(ValueError):
                return f"The kernel was killed by {signal.Signals(-code).name} in this cell."
        return "The kernel died in this cell."

    def _read(self, seconds: float) -> None:
        if self._gone or not select.select([self._connection], [], [], seconds)[0]:
            return
        try:
            received = self._connection.recv(65536)
        except OSError:
            received = b""
        if not received:
            self._gone = True
            self.vanished = not self._buried
            self.returncode = -9 if self.returncode is None else self.returncode
            self._connection.close()
            return
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "pid" in told:
                self.pid, self.network = told["pid"], told["network"]
                self._keeper = told["keeper"]
            self._buried |= "gone" in told
            if "exit" in told:
                self.returncode = told["exit"]
                self.reason = tuple(told["reason"]) if told["reason"] else None


def _found_last(environment: Mapping[str, str], extra: Sequence[str]) -> dict[str, str]:
    """Return variables with which a Python finds some folders, too, after those that are named."""
    path = [*filter(None, [environment.get("PYTHONPATH")]), *extra]
    return {**environment, **({"PYTHONPATH": os.pathsep.join(path)} if path else {})}


class Nursery:
    """Starts kernels, each a fork of a process that has imported what a kernel imports.

    No kernel is ever used twice. A process is started for each interpreter, with its
    options and what it must find in its environment, when the first kernel of that kind is
    asked for, or before (`warm_up`).
    """

    def __init__(self) -> None:
        self._fresh = itertools.count(1)
        self._kinds: dict[tuple[Any, ...], tuple[subprocess.Popen[bytes], socket.socket]] = {}
        self._lock = threading.Lock()
        self._empty = tempfile.TemporaryDirectory(prefix="mlrepro-nursery-")
        # Found before the user's, which so does not run.
        Path(self._empty.name, "usercustomize.py").write_text("", encoding="ascii")

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm_up(self, environment: Mapping[str, str] | None = None) -> None:
        """Start what the kernel of this interpreter would be forked from, in the background."""
        with contextlib.suppress(OSError), self._lock:
            self._process([sys.executable, "-m", _MODULE], environment or os.environ, Limits())

    def launch(
        self, argv: Sequence[str], *, environment: Mapping[str, str], cwd: str, output: int,
        bounds: Limits, folder: Path | None = None, baseline: int = 0, fresh: bool = False,
        extra: Sequence[str] = (),
    ) -> Kept:  # fmt: skip
        """Start a kernel.

        Parameters
        ----------
        argv, environment, cwd, output
            As of a process; what it prints goes to the descriptor `output`.
        folder, baseline
            The scratch folder that is measured, and the bytes in it at the beginning.
        fresh
            Start its interpreter anew, so that all that is drawn when one starts is, too:
            the secret of strings' hashes.
        extra
            Folders at the end of its ``sys.path``.
        """
        ours = _options(argv)
        order = {
            "argv": list(argv),
            "arguments": None if ours is None else list(ours[1]),
            "env": dict(environment),
            "cwd": cwd,
            "memory": bounds.memory,
            "processes": bounds.processes,
            "scratch": None if bounds.scratch is None else bounds.scratch + baseline,
            "folder": None if folder is None else str(folder),
            "offline": bounds.offline,
        }
        for plain in (False, False, True) if ours is not None else (False, False):
            if plain:
                # An interpreter that is too old to keep its own kernel: ours starts it.
                order |= {"arguments": None, "env": _found_last(environment, extra)}
            with self._lock:
                kind, process, control = self._process(
                    argv, environment, bounds, extra, own=next(self._fresh) if fresh else 0,
                    plain=plain,
                )  # fmt: skip
                kept = _order(control, order, output)
            alive = kept is not None and kept.greeted(process)
            if fresh or not alive:  # it may be that a notebook killed it
                with self._lock:
                    self._forget(kind)
            if kept is not None and alive:
                return kept
        raise KernelError(f"No kernel could be started with {argv[0]}.", "Try it: jupyter console")

    def close(self) -> None:
        """End the processes; kernels that still run do so until they are waited for."""
        with self._lock:
            for kind in list(self._kinds):
                self._forget(kind)
        self._empty.cleanup()

    def _process(
        self, argv: Sequence[str], environment: Mapping[str, str], bounds: Limits,
        extra: Sequence[str] = (), *, own: int = 0, plain: bool = False,
    ) -> tuple[tuple[Any, ...], subprocess.Popen[bytes], socket.socket]:  # fmt: skip
        ours = None if plain else _options(argv)
        start = [argv[0], *ours[0]] if ours is not None else [sys.executable, "-I", "-S"]
        env = dict(environment) if ours is not None else dict(os.environ)
        before = sorted((k, v) for k, v in env.items() if _BEFORE_PYTHON.match(k))
        kind = (*start, *before, *extra, bounds.startup_files, own) if ours else (*start, own)
        there = self._kinds.get(kind)
        if there is not None and there[0].poll() is None:
            return kind, *there
        self._forget(kind)
        hiding = "-"
        if ours is not None:
            hiding = self._empty.name
            if not bounds.startup_files:
                path = env.get("PYTHONPATH")
                env["PYTHONPATH"] = hiding + (os.pathsep + path if path else "")
        near, far = socket.socketpair()
        with far:
            process = subprocess.Popen(
                [*start, "-c", _START, str(Path(__file__).parent), str(far.fileno()), hiding,
                 *(extra if ours is not None else ())],
                env=env, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                cwd="/",
            )  # fmt: skip
        self._kinds[kind] = process, near
        return kind, process, near

    def _forget(self, kind: tuple[Any, ...]) -> None:
        there = self._kinds.pop(kind, None)
        if there is not None:
            process, control = there
            control.close()
            process.kill()
            process.wait()


def _order(control: socket.socket, order: Mapping[str, Any], output: int) -> Kept | None:
    near, far = socket.socketpair()
    with far:
        fds = array.array("i", [far.fileno(), output, output])
        try:
            control.sendmsg([b"k"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            near.sendall(json.dumps(order).encode() + b"\n")
        except OSError:
            near.close()
            return None
    return Kept(near)


def _options(argv: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Return the interpreter's options and the kernel's ``sys.argv``, if it is ipykernel's."""
    try:
        place = argv.index("-m")
    except ValueError:
        return None
    if list(argv[place + 1 : place + 2]) != [_MODULE]:
        return None
    options = list(argv[1:place])
    if any(not option.startswith("-X") for option in options):
        return None
    return options, [_MODULE, *argv[place + 2 :]]


def manager(
    nursery: Nursery, *, output: int, bounds: Limits, sockets: Path, folder: Path | None,
    baseline: int, fresh: bool, interpreter: str | None, extra: Sequence[str],
    started: list[Kept],
) -> type:  # fmt: skip
    """Return the class of kernel manager whose kernels come from a nursery.

    `started` is given each of them; the sockets by which one talks with it are files in
    `sockets`: no two kernels ever meet on a port, and a kernel off the network is still heard.
    """
    from mlrepro_nb.execute._prompt import PromptManager

    class Nursed(PromptManager):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            place = str(sockets / "k")
            if self.ipykernel and len(place) < 90:
                self.transport, self.ip = "ipc", place

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            command = list(kernel_cmd)
            if interpreter is not None and _options(command) is not None:
                command[0] = interpreter
            kept = nursery.launch(
                command, environment=options["env"], cwd=str(options["cwd"]), output=output,
                bounds=bounds, folder=folder, baseline=baseline, fresh=fresh,
                extra=extra,
            )  # fmt: skip
            started.append(kept)
            self.provisioner.process = kept
            self.provisioner.pid, self.provisioner.pgid = kept.pid, None
            self._reconcile_connection_info(self.provisioner.connection_info)

    return Nursed
