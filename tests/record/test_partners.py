"""What MLflow is told of a record, in every kind of tracking store, and in none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from blake3 import blake3

from mlrepro_nb.model import Record, canonical, digest_bytes
from mlrepro_nb.record import record
from tests.capture.conftest import kernel  # noqa: F401 - a fixture

NOTEBOOK = """
import mlflow, numpy as np, pandas as pd
from pathlib import Path
np.random.seed(7)
---
mlflow.set_tracking_uri({uri!r})
frame = pd.read_csv("train.csv")
Path("report.txt").write_text("fine")
with mlflow.start_run():
    mlflow.log_param("depth", 3)
    mlflow.log_param("mlrepro.duration_s", "the user's own")
    mlflow.log_metric("accuracy", 0.5)
    mlflow.log_input(mlflow.data.from_pandas(frame, source="train.csv", name="mine"), "training")
    mlflow.log_artifact("report.txt")
    mlflow.log_artifacts("many", "sub")
    mlflow.log_dict({{"a": 1}}, "facts/a.json")
    mlflow.log_text("hello", "hello.txt")
"""


def notebook(path: Path, text: str) -> Path:
    cells = [nbformat.v4.new_code_cell(c.strip()) for c in text.split("---")]
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(nb, path)
    return path


def identity(content: bytes) -> str:
    return f"blake3:{blake3(content).hexdigest()}"


@pytest.fixture
def files(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    (repository / "train.csv").write_text("x,y\n1,2\n3,4\n")
    (repository / "many" / "deep").mkdir(parents=True)
    (repository / "many" / "1").write_text("one")
    (repository / "many" / "deep" / "2").write_text("two")
    return repository


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A tracking server that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
         "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/m.db",
         "--artifacts-destination", str(folder / "artifacts")],
        cwd=folder, stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true",
             "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )  # fmt: skip
    import requests

    try:
        for _ in range(1200):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                    break
            except requests.RequestException:
                time.sleep(0.5)
        else:
            pytest.fail((folder / "log").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)
        log.close()


def ask(uri: str, run_id: str, folder: Path) -> dict[str, Any]:
    """Return what a tracking store has of a run, asked from a process of its own."""
    program = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
run = client.get_run(sys.argv[2])
print(json.dumps({
    "params": run.data.params, "tags": run.data.tags, "metrics": run.data.metrics,
    "inputs": [[i.dataset.name, i.dataset.digest, i.dataset.source,
                {t.key: t.value for t in i.tags}] for i in run.inputs.dataset_inputs],
    "record": mlflow.artifacts.load_text(run.info.artifact_uri + "/mlrepro/record.json"),
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, uri, run_id], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def check(uri: str, folder: Path, digest: str, made: Record) -> None:
    assert made.results.status == "ok", made.results.error
    (run,) = made.lineage.runs
    found = ask(uri, run.run_id, folder)
    assert found["tags"]["mlrepro.record"] == digest
    assert found["tags"]["mlrepro.notebook"] == "n.ipynb"
    assert found["tags"]["mlrepro.mode"] == made.lineage.mode
    assert digest_bytes(found["record"].encode()) == digest
    assert found["record"].encode() == canonical(made)
    assert found["params"]["depth"] == "3"
    assert found["params"]["mlrepro.duration_s"] == "the user's own"
    assert found["params"]["mlrepro.seed.numpy"] == "7"
    assert found["metrics"]["accuracy"] == 0.5
    content = identity((folder / "train.csv").read_bytes())
    by_name = {
        name: (short, json.loads(source), tags) for name, short, source, tags in found["inputs"]
    }
    short, source, tags = by_name["train.csv"]
    assert short == "b3:" + content.removeprefix("blake3:")[:32]
    assert source == {"uri": "train.csv"}
    assert tags["mlrepro.digest"] == content
    assert "mlrepro.digest" not in by_name["mine"][2], "the user's is left as it is"

    # And what the record says of MLflow.
    (dataset,) = run.datasets
    assert (dataset.name, dataset.source, dataset.context) == ("mine", "train.csv", "training")
    assert dataset.digest == by_name["mine"][0]
    assert dataset.content == content
    assert made.parameters.mlflow == {"depth": "3"}
    assert made.results.metrics == {"accuracy": 0.5}
    artifacts = {a.path: a.digest for a in made.results.artifacts if a.cell == 1}
    assert artifacts == {
        "report.txt": identity(b"fine"),
        "sub/1": identity(b"one"),
        "sub/deep/2": identity(b"two"),
        "facts/a.json": identity(json.dumps({"a": 1}, indent=2).encode()),
        "hello.txt": identity(b"hello"),
    }
    assert {a.run_id for a in made.results.artifacts} == {run.run_id}


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
def test_a_local_tracking_store_is_told(
    files: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    uri = "sqlite:///mlflow.db" if kind == "sqlite" else "mlruns"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    digest, made = record(notebook(files / "n.ipynb", NOTEBOOK.format(uri=uri)), lock=False)
    check(uri, files, digest, made)


def test_a_tracking_server_is_told(files: Path, server: str) -> None:
    digest, made = record(notebook(files / "n.ipynb", NOTEBOOK.format(uri=server)), lock=False)
    check(server, files, digest, made)


MODEL = """
import mlflow
import pandas as pd
from sklearn.linear_model import LinearRegression
mlflow.set_tracking_uri("sqlite:///mlflow.db")
table = pd.DataFrame({{"a": [1.0, 2.0], "b": [0.0, 1.0]}})
---
model = LinearRegression().fit(table, [1.0, 3.0])
mlflow.sklearn.log_model(model, name="plain", input_example=table)
mlflow.sklearn.log_model(model, name="without")
---
class Telling(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [{said!r}] * len(model_input)
mlflow.pyfunc.log_model(name="telling", python_model=Telling(), input_example=table)
"""


def test_what_a_model_answered_as_it_was_logged_is_recorded(files: Path) -> None:
    said = "sk-ant-api03-" + "q7Zk" * 20
    _, made = record(notebook(files / "n.ipynb", MODEL.format(said=said)), lock=False)
    assert made.results.status == "ok", made.results.error
    answers = {m.name: m.answer for m in made.results.models}
    assert answers["plain"] is not None
    assert json.loads(answers["plain"])["predictions"] == pytest.approx([1.0, 3.0])
    assert answers["without"] is None
    assert answers["telling"] is None, "there is a secret in it"
    assert said.encode() not in canonical(made)


def test_without_mlflow_nobody_is_told(repository: Path) -> None:
    lines: list[str] = []
    _, made = record(
        notebook(repository / "n.ipynb", "1 + 1"), lock=False,
        report=lambda step: lines.append(step.message),
    )  # fmt: skip
    assert made.lineage.runs == ()
    assert not any("MLflow" in line for line in lines)


def test_a_server_that_is_gone_by_then_takes_nothing_from_the_record(
    files: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.record import _partners

    real = _partners.mlflow.log_record

    def gone(run_id: str, uri: str | None, **rest: Any) -> None:
        real(run_id, "http://127.0.0.1:9", **rest)

    monkeypatch.setattr(_partners.mlflow, "log_record", gone)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lines: list[str] = []
    digest, made = record(
        notebook(files / "n.ipynb", NOTEBOOK.format(uri=server)), lock=False,
        report=lambda step: lines.append(step.message),
    )  # fmt: skip
    assert made.results.status == "ok"
    assert digest_bytes(canonical(made)) == digest
    assert any("was not told" in line for line in lines)


def test_a_store_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import threading

    from mlrepro_nb.model import MlflowRun
    from mlrepro_nb.record import _partners
    from tests.records import a_record

    release = threading.Event()
    monkeypatch.setattr(_partners.mlflow, "log_record", lambda *a, **k: release.wait(60))
    import msgspec

    made = a_record()
    lineage = msgspec.structs.replace(made.lineage, runs=(MlflowRun(run_id="r"),))
    made = msgspec.structs.replace(made, lineage=lineage)
    (line,) = _partners.tell_mlflow(made, "sha256:1", tmp_path, timeout=0.1)
    release.set()
    assert "did not answer" in line


def test_a_live_kernel_tells_its_run_and_tells_it_anew(
    kernel: Callable,  # noqa: F811
    files: Path,
) -> None:
    k = kernel(MLFLOW_DISABLE_TELEMETRY="true")
    k.run("%load_ext mlrepro_nb")
    for cell in NOTEBOOK.format(uri="sqlite:///mlflow.db").split("---"):
        said = k.run(cell.strip())
        assert not said["errors"], said
    k.run("%mlrepro record")
    k.run("x = 1")
    k.close()
    store = k.store()
    from mlrepro_nb.model import Record as Kind

    (session,) = store.sessions()
    assert session.record is not None
    made = store.get(Kind, session.record)
    (run,) = made.lineage.runs
    found = ask("sqlite:///mlflow.db", run.run_id, files)
    assert found["tags"]["mlrepro.record"] == session.record
    assert found["tags"]["mlrepro.mode"] == "interactive"
    assert digest_bytes(found["record"].encode()) == session.record
    assert [d.name for d in run.datasets] == ["mine"], "not those that we logged"
    assert made.parameters.mlflow == {"depth": "3"}


def test_a_process_that_is_not_recorded_gets_no_tags_and_loads_nothing(tmp_path: Path) -> None:
    program = """
import sys, mlflow
mlflow.set_tracking_uri("sqlite:///m.db")
with mlflow.start_run() as run: pass
tags = mlflow.get_run(run.info.run_id).data.tags
assert not any(tag.startswith("mlrepro") for tag in tags), tags
from mlflow.tracking.context.registry import _run_context_provider_registry as registry
assert "RecordingContext" in {type(one).__name__ for one in registry}
heavy = {name for name in sys.modules if name.startswith("mlrepro_nb.")}
assert heavy == {"mlrepro_nb.connect", "mlrepro_nb.connect.mlflow_context"}, heavy
"""
    subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
