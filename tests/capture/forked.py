"""Kernels by the hundred: a process that forks recorded shells and ends them.

``python -m tests.capture.forked STORE KILLS SEED`` forks a shell that runs cells in a
tight loop and seals now and then, kills it at a random moment, and so on. It prints, a
line each, the session and how many of its cells had ended when the next one ran.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlrepro_nb.record import LiveSession
from mlrepro_nb.store import Store


class Session:
    """Sends nowhere."""

    def send(
        self, _stream: Any, kind: str, content: Any = None, parent: Any = None, **_: Any
    ) -> Any:
        return {"msg_type": kind, "content": content}


class Events:
    """IPython's, without IPython."""

    def __init__(self) -> None:
        self.callbacks: dict[str, list[Callable[..., None]]] = {}

    def register(self, event: str, callback: Callable[..., None]) -> None:
        self.callbacks.setdefault(event, []).append(callback)

    def unregister(self, event: str, callback: Callable[..., None]) -> None:
        self.callbacks[event].remove(callback)

    def trigger(self, event: str, argument: Any) -> None:
        for callback in list(self.callbacks.get(event, ())):
            callback(argument)


class Shell:
    """What the recorder needs of a kernel's shell."""

    def __init__(self) -> None:
        self.events = Events()
        self.user_ns: dict[str, Any] = {"__name__": "__main__"}
        self.user_ns_hidden: dict[str, Any] = {}
        self.parent: dict[str, Any] = {}
        self.count = 0
        self.kernel = SimpleNamespace(session=Session(), get_parent=lambda *_: self.parent)

    def get_parent(self) -> dict[str, Any]:
        return self.parent

    def run_cell(self, source: str) -> BaseException | None:
        self.count += 1
        header = {"msg_id": f"{os.getpid()}-{self.count}", "msg_type": "execute_request"}
        content = {"code": source, "silent": False, "store_history": True}
        self.parent = {"header": header, "content": content, "metadata": {}}
        info = SimpleNamespace(
            raw_cell=source, cell_id=f"c{self.count}", store_history=True, silent=False
        )
        self.events.trigger("pre_run_cell", info)
        error = None
        try:
            exec(compile(source, "<cell>", "exec"), self.user_ns)
        except BaseException as raised:
            error = raised
        text = {"name": "stdout", "text": f"{self.count}\n"}
        self.kernel.session.send(None, "stream", text, self.parent)
        result = SimpleNamespace(
            execution_count=self.count, error_before_exec=None, error_in_exec=error,
            info=info, result=None, success=error is None,
        )  # fmt: skip
        self.events.trigger("post_run_cell", result)
        self.kernel.session.send(None, "status", {"execution_state": "idle"}, self.parent)
        return error


def recorded(root: Path, *, light: bool = True) -> tuple[Shell, LiveSession]:
    """Return a shell that is being recorded; a light one does not survey the machine."""
    shell = Shell()
    live = LiveSession(shell, Store(root))
    if light:
        heavy = ("HardwareWatch", "EnvironmentWatch")
        live.recorder.watches = tuple(
            watch for watch in live.recorder.watches if type(watch).__name__ not in heavy
        )
    live.start()
    return shell, live


def session_of(live: LiveSession) -> str:
    assert live._session is not None
    return live._session


def main(root: str, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    board = mmap.mmap(-1, 64)
    Path("data.csv").write_text("a\n1\n", encoding="utf-8")
    for _ in range(kills):
        board[:64] = bytes(64)
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                _loop(Path(root), board)
            os._exit(1)
        while board[:32] == bytes(32):  # the session is open
            if os.waitpid(child, os.WNOHANG)[0]:
                sys.exit("the shell ended by itself")
            time.sleep(0.001)
        time.sleep(dice.random() ** 2 * 0.15)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print(board[:32].decode(), struct.unpack("q", board[32:40])[0], flush=True)


def _loop(root: Path, board: mmap.mmap) -> None:
    shell, live = recorded(root)
    shell.user_ns["board"] = board
    board[:32] = session_of(live).encode()
    number, name = 0, session_of(live)
    while True:
        # Cell n runs: the n cells before it have ended.
        shell.run_cell(
            f"board[32:40] = ({number}).to_bytes(8, 'little')\nopen('data.csv').read()  # {name}"
        )
        number += 1
        if number % 7 == 0:
            live.seal()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
