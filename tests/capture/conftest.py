"""A real kernel that a test types into, and what its record says."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.capture import assemble
from mlrepro_nb.model import DataAccess, Record
from mlrepro_nb.store import Store
from tests.kernels import sockets


class Kernel:
    """A stock ipykernel in a folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        from jupyter_client.manager import KernelManager

        self.folder = folder
        self._kept = contextlib.ExitStack()
        self.manager = KernelManager(**self._kept.enter_context(sockets()))
        variables = {**os.environ, **environment}
        variables.pop("MLREPRO_EVENTS", None)
        self.log = folder.parent / f"kernel-{id(self)}.log"
        with self.log.open("wb") as log:
            self.manager.start_kernel(cwd=str(folder), env=variables, stdout=log, stderr=log)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)
        self.alive = True

    def run(self, code: str, *, cell: str | None = None, timeout: float = 120) -> dict[str, Any]:
        """Run a cell; return its reply's status, and the text that it published."""
        self.client.session.metadata["cellId"] = cell
        request = self.client.execute(code)
        text, errors, bundles, tracebacks = "", [], [], []
        while True:
            message = self.client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                text += content["text"]
            elif message["msg_type"] in ("execute_result", "display_data"):
                bundles.append(content["data"])
                text += content["data"].get("text/plain", "")
            elif message["msg_type"] == "error":
                errors.append((content["ename"], content["evalue"]))
                tracebacks.append(content["traceback"])
            elif content.get("execution_state") == "idle":
                break
        return {"text": text, "errors": errors, "bundles": bundles, "tracebacks": tracebacks}

    def send(self, code: str) -> None:
        """Run a cell without waiting for it."""
        self.client.execute(code)

    def kill(self) -> None:
        """Kill it as the machine's memory guard would."""
        os.kill(self.manager.provisioner.process.pid, signal.SIGKILL)
        self.manager.provisioner.process.wait()

    def close(self) -> None:
        """Shut it down as a front end does."""
        if self.alive:
            self.alive = False
            self.client.stop_channels()
            self.manager.shutdown_kernel()
            self._kept.close()

    def store(self) -> Store:
        """Return the store of its folder."""
        return Store.find(self.folder)

    def record(self) -> Record:
        """Return what its journal amounts to."""
        store = self.store()
        (session,) = store.sessions()
        return assemble(
            store.events(session.id),
            notebook=session.notebook,
            root=self.folder,
            mode="interactive",
            put_blob=store.blobs.put,
        )

    def data(self) -> list[DataAccess]:
        """Seal it and return the files that its record names."""
        self.close()
        return list(self.record().data)


@pytest.fixture
def kernel(repository: Path) -> Iterator[Callable[..., Kernel]]:
    """Start kernels in the repository."""
    started: list[Kernel] = []

    def start(**environment: str) -> Kernel:
        started.append(Kernel(repository, **environment))
        return started[-1]

    yield start
    for one in started:
        one.close()
