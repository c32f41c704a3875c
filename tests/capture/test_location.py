"""Whose kernel it is: the record names the notebook, whatever the front end told the kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.capture.cells.location import find_notebook
from mlrepro_nb.connect.jupyter import notebook_of_kernel
from mlrepro_nb.model import Record
from mlrepro_nb.store import Store

NB = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


class Shell:
    def __init__(self, **names: Any) -> None:
        self.user_ns = names


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ("nb.ipynb", "nb.ipynb"),
        ("sub/nb.ipynb", "nb.ipynb"),  # from the server's root; the kernel is in sub
        ("{here}/nb.ipynb", "nb.ipynb"),
        ("/nowhere/else/nb.ipynb", "nb.ipynb"),
        ("console-1-abc", None),
        ("", None),
    ],
)
def test_what_the_server_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: str, expected: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JPY_SESSION_NAME", session.format(here=tmp_path))
    monkeypatch.delenv("MLREPRO_NOTEBOOK", raising=False)
    found = find_notebook(Shell())
    assert found == (tmp_path / expected if expected else None)


def test_vs_code_tells_it_in_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    assert find_notebook(Shell(__vsc_ipynb_file__=str(path))) == path


class Server:
    """A Jupyter Server of its own."""

    def __init__(self, root: Path, runtime: Path) -> None:
        self.runtime = runtime
        self.env = {**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", f"--ServerApp.root_dir={root}", "--no-browser",
             "--ServerApp.port=0", "--allow-root"],
            env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not (found := list(runtime.glob("jpserver-*.json"))):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while not found[0].read_text():
            time.sleep(0.1)
        self.told = json.loads(found[0].read_text())

    def ask(self, method: str, where: str, **body: Any) -> Any:
        request = urllib.request.Request(
            self.told["url"] + "api/" + where, method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"token {self.told['token']}"},
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    data = answer.read()
                    return json.loads(data) if data else None
            except ConnectionError:  # noqa: PERF203 - it is starting
                assert time.monotonic() < deadline
                time.sleep(0.1)


@pytest.fixture
def server(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    one = Server(repository, runtime)
    yield one
    one.process.terminate()
    one.process.wait(timeout=60)


def test_a_notebook_that_is_renamed_keeps_its_record(server: Server, repository: Path) -> None:
    from jupyter_client.blocking import BlockingKernelClient

    (repository / "sub").mkdir()
    (repository / "sub" / "Untitled.ipynb").write_text(json.dumps(NB), encoding="utf-8")
    session = server.ask(
        "POST", "sessions", path="sub/Untitled.ipynb", name="Untitled.ipynb", type="notebook",
        kernel={"name": "python3"},
    )  # fmt: skip
    identity = session["kernel"]["id"]
    client = BlockingKernelClient(connection_file=str(server.runtime / f"kernel-{identity}.json"))
    client.load_connection_file()
    client.start_channels()
    deadline = time.monotonic() + 120
    while True:
        try:
            client.wait_for_ready(timeout=120)
            break
        except RuntimeError:  # a kernel that is not up yet has no heart beat
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def run(code: str) -> None:
        reply = client.execute_interactive(code, timeout=120, output_hook=lambda message: None)
        assert reply["content"]["status"] == "ok"

    def latest() -> str:
        store = Store.find(repository)
        return store.get(Record, store.entries(Record)[0].digest).code.notebook

    run("%load_ext mlrepro_nb\nx = 1\n%mlrepro record")
    assert latest() == "sub/Untitled.ipynb"
    (repository / "sub" / "Untitled.ipynb").rename(repository / "train.ipynb")
    renamed = {"path": "train.ipynb", "name": "train.ipynb", "type": "notebook"}
    server.ask("PATCH", f"sessions/{session['id']}", **renamed)
    assert notebook_of_kernel(identity) == repository / "train.ipynb"
    run("%mlrepro record")
    assert latest() == "train.ipynb"
    client.stop_channels()


def test_servers_that_do_not_answer_cost_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    for number, content in enumerate(
        ["", "[]", "{}", '{"url": 3}', '{"url": "file:///etc/"}', '{"url": "http://127.0.0.1:1/"}']
    ):
        (tmp_path / f"jpserver-{number}.json").write_text(content, encoding="utf-8")
    assert notebook_of_kernel("abc") is None
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "nowhere"))
    assert notebook_of_kernel("abc") is None


def test_without_any_word_it_is_untitled(kernel: Callable) -> None:
    k = kernel()
    k.run("%load_ext mlrepro_nb\nx = 1")
    k.close()
    assert k.record().code.notebook == "untitled.ipynb"
