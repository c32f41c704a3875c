"""An image that opens the notebook in JupyterLab, for who reviews it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from packaging.requirements import Requirement

from mlrepro_nb import image
from mlrepro_nb.image import _lab
from mlrepro_nb.image.notebook import with_outputs
from mlrepro_nb.model import Environment, Image, Record, System
from mlrepro_nb.record import record
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import notebook

CELLS = (
    "import psutil, sys\nprint(psutil.__version__)",
    "import random\nrandom.seed(3)\nprint(random.random())",
    "print(open('../data/a.txt').read())",
)
TOKEN = "a-token-of-the-test"

Recorded = tuple[Path, Store, Record]


# --- planning


@pytest.mark.parametrize("python", ["3.10.14", "3.11.9", "3.12.4", "3.13.1"])
def test_jupyterlab_is_locked_by_hash_for_each_python(python: str) -> None:
    environment = Environment(
        python=python, implementation="CPython", kernelspec="python3",
        system=System(name="Debian", version="12", kernel="6", machine="x86_64"),
    )  # fmt: skip
    # The base image may have another patch release: Debian's 3.11.2, where 3.11.9 was recorded.
    first = msgspec.structs.replace(environment, python=f"{python.rpartition('.')[0]}.0")
    assert _lab.lock(environment) == _lab.lock(first)
    entries = _lab.lock(environment).replace(" \\\n    ", " ").splitlines()
    names = [Requirement(entry.partition(" --hash")[0]).name for entry in entries]
    assert len(set(names)) == len(names) > 70
    assert {"jupyterlab", "jupyter-server", "ipykernel"} <= set(names)
    assert not {"appnope", "pywinpty", "colorama"} & set(names)
    assert ("exceptiongroup" in names) == python.startswith("3.10")
    assert all(re.search(r"==\S+ --hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_jupyterlab_changes_nothing_of_what_was_recorded(recorded: Recorded) -> None:
    options = {"offline": True, "allow_dirty": True}
    job = image.plan("train.ipynb", kind="job", **options)
    made = image.plan("train.ipynb", kind="notebook", **options)
    assert (made.pins, made.local) == (job.pins, job.local)
    assert job.lab is None
    text = image.containerfile(made)
    assert text.index("COPY --from=builder /opt/lab") < text.index("COPY --from=builder /opt/venv")
    assert "EXPOSE 8888" in text
    assert re.search(r"HEALTHCHECK.*\\\n.*8888.*/api", text)
    (spec,) = [
        json.loads(f.content or b"")
        for f in made.layer("record")
        if f.path == "kernels/python3/kernel.json"
    ]
    assert spec["argv"][0] == "/opt/venv/bin/python"
    assert image.labels(made)["io.mlrepro.kind"] == "notebook"


def test_the_recorded_outputs_are_shown_by_cell() -> None:
    executed = notebook(("n = 1", "print(n)"))
    stripped = {
        **executed,
        "cells": [{**c, "outputs": [], "execution_count": None} for c in executed["cells"]],
    }
    assert with_outputs(stripped, executed) == executed
    # A run with parameters has a cell more; an older format has no ids.
    injected = {"cell_type": "code", "source": "n = 2", "outputs": [], "execution_count": 9}
    other = {
        **executed,
        "cells": [
            executed["cells"][0], injected, {**executed["cells"][1], "id": "z", "source": ["print",
            "(n)"]},
        ],
    }  # fmt: skip
    shown = with_outputs(stripped, other)
    assert [c["outputs"] for c in shown["cells"]] == [c["outputs"] for c in executed["cells"]]
    assert [c["id"] for c in shown["cells"]] == ["cell-0", "cell-1"]


# --- with an engine


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small notebook, recorded headless, in a repository."""
    repository = tmp_path_factory.mktemp("notebook") / "project"
    (repository / "nb").mkdir(parents=True)
    (repository / "data").mkdir()
    (repository / "data" / "a.txt").write_text("21")
    made = notebook(CELLS)
    made["cells"][-1]["outputs"] = []
    (repository / "nb" / "train.ipynb").write_text(json.dumps(made))
    (repository / ".gitignore").write_text(".mlrepro/\n")
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Train")
    path = repository / "nb" / "train.ipynb"
    record(path)
    return path


@pytest.fixture(scope="module")
def built(project: Path, base_image: str) -> Image:
    """Its image."""
    return image.build(str(project), kind="notebook", base=base_image, builder="oci", load=True)[1]


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check)


@pytest.fixture(scope="module")
def lab(built: Image) -> Iterator[tuple[str, str]]:
    """A running container, hardened as in a cluster: its address and id."""
    with running(built.id) as found:
        yield found


@contextlib.contextmanager
def running(identity: str) -> Iterator[tuple[str, str]]:
    container = run(
        "run", "--detach", "--publish", "127.0.0.1::8888", "--read-only", "--tmpfs", "/tmp",
        "--tmpfs", "/work:mode=1777", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--env", f"JUPYTER_TOKEN={TOKEN}", identity,
    ).stdout.strip()  # fmt: skip
    try:
        port = run("port", container, "8888").stdout.split(":")[-1].strip()
        address = f"http://127.0.0.1:{port}"
        wait(address, container)
        yield address, container
    finally:
        run("rm", "--force", container)


def wait(address: str, container: str) -> None:
    for _ in range(600):
        try:
            if requests.get(f"{address}/api", timeout=30).ok:
                return
        except OSError:
            time.sleep(0.2)
        if not run("ps", "--quiet", "--filter", f"id={container}").stdout:
            break
    logs = run("logs", container)
    pytest.fail(f"JupyterLab does not answer: {logs.stdout}{logs.stderr}")


def ask(address: str, path: str, **options: Any) -> Any:
    headers = {"Authorization": f"token {TOKEN}"}
    method = "post" if options else "get"
    answer = requests.request(method, f"{address}{path}", headers=headers, timeout=60, **options)
    answer.raise_for_status()
    return answer


async def printed(address: str, kernel: str, source: str) -> str:
    """Run code in a kernel as JupyterLab does; return what it prints."""
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    url = f"{address.replace('http', 'ws')}/api/kernels/{kernel}/channels"
    channel = await websocket_connect(
        HTTPRequest(url, headers={"Authorization": f"token {TOKEN}"}, request_timeout=120)
    )
    header = {
        "msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "version": "5.3",
        "session": uuid.uuid4().hex, "date": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
    message = {
        "header": header, "parent_header": {}, "metadata": {}, "content": content,
        "channel": "shell", "buffers": [],
    }  # fmt: skip
    await channel.write_message(json.dumps(message))
    text = ""
    while True:
        answer = json.loads(await channel.read_message() or "{}")
        if answer.get("parent_header", {}).get("msg_id") != header["msg_id"]:
            continue
        kind, said = answer["header"]["msg_type"], answer["content"]
        if kind == "stream":
            text += said["text"]
        elif kind == "error":
            pytest.fail("\n".join(said["traceback"]))
        elif kind == "status" and said["execution_state"] == "idle":
            return text


@pytest.mark.engine
def test_jupyterlab_opens_the_notebook_with_its_recorded_outputs(lab: tuple[str, str]) -> None:
    address, container = lab
    assert requests.get(f"{address}/api/status", timeout=30).status_code == 403
    assert ask(address, "/api/status").json()["kernels"] >= 0
    assert "jupyter-config-data" in ask(address, "/lab/tree/nb/train.ipynb").text
    shown = ask(address, "/api/contents/nb/train.ipynb").json()["content"]
    assert [bool(cell["outputs"]) for cell in shown["cells"]] == [True, True, True]
    specs = ask(address, "/api/kernelspecs").json()
    assert list(specs["kernelspecs"]) == ["python3"]
    probe = json.loads(
        run("inspect", "--format", "{{json .Config.Healthcheck.Test}}", container).stdout
    )
    run("exec", container, *probe[1:])


@pytest.mark.engine
def test_the_kernel_is_the_recorded_environment(lab: tuple[str, str], built: Image) -> None:
    from importlib import metadata

    address, _ = lab
    body = {"name": "python3", "path": "nb/train.ipynb"}
    kernel = ask(address, "/api/kernels", json=body).json()["id"]
    assert asyncio.run(printed(address, kernel, CELLS[0])).strip() == metadata.version("psutil")
    told = asyncio.run(printed(address, kernel, "print(sys.prefix, 'jupyterlab' in sys.modules)"))
    assert told.split() == ["/opt/venv", "False"]
    assert asyncio.run(printed(address, kernel, CELLS[2])).strip() == "21"
    # The recorder is loaded: a reviewer's run is recorded like any other.
    assert built.record.removeprefix("sha256:")[:12] in asyncio.run(
        printed(address, kernel, "!mlrepro log train.ipynb")
    )


@pytest.mark.engine
def test_buildkit_s_image_opens_it_as_well(
    project: Path, base_image: str, buildkit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    made = image.build(str(project), kind="notebook", base=base_image, builder="docker")[1]
    assert str(made.toolchain).startswith("buildkit ")
    with running(made.id) as (address, _):
        assert requests.get(f"{address}/api/status", timeout=30).status_code == 403
        assert "jupyter-config-data" in ask(address, "/lab/tree/nb/train.ipynb").text
        shown = ask(address, "/api/contents/nb/train.ipynb").json()["content"]
        assert [bool(cell["outputs"]) for cell in shown["cells"]] == [True, True, True]
        body = {"name": "python3", "path": "nb/train.ipynb"}
        kernel = ask(address, "/api/kernels", json=body).json()["id"]
        assert asyncio.run(printed(address, kernel, CELLS[2])).strip() == "21"
        told = asyncio.run(printed(address, kernel, "import sys; print(sys.prefix)"))
        assert told.strip() == "/opt/venv"


@pytest.mark.engine
def test_verify_and_trace_work_in_a_terminal_of_it(lab: tuple[str, str]) -> None:
    _, container = lab
    at = ("exec", "--workdir", "/work/project", container)
    ended = run(*at, "mlrepro", "verify", "nb/train.ipynb", check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "reproduced" in ended.stdout
    ended = run(*at, "mlrepro", "trace", "nb/train.ipynb", check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "data/a.txt" in ended.stdout
    identity = run("exec", container, "id", "-u").stdout.strip()
    assert identity == "10001"


@pytest.mark.engine
def test_without_a_token_there_is_a_random_one_and_sigterm_ends_it(built: Image) -> None:
    container = run(
        "run", "--detach", "--publish", "127.0.0.1::8888", "--read-only", "--tmpfs", "/tmp",
        built.id,
    ).stdout.strip()  # fmt: skip
    try:
        port = run("port", container, "8888").stdout.split(":")[-1].strip()
        wait(f"http://127.0.0.1:{port}", container)
        said = run("logs", container)
        assert re.search(r"/lab/tree/nb/train.ipynb\?token=[0-9a-f]{48}", said.stderr)
        assert "is not writable for user 10001" in said.stderr
        run("stop", "--time", "30", container)
        code = run("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip()
        assert code == "0"
    finally:
        run("rm", "--force", container)


@pytest.mark.engine
def test_without_a_folder_that_can_be_written_it_says_what_to_mount(built: Image) -> None:
    ended = run("run", "--rm", "--network", "none", "--read-only", built.id, check=False)
    assert (ended.returncode, "--tmpfs /tmp" in ended.stderr) == (3, True), ended.stderr
    assert "Traceback" not in ended.stderr
