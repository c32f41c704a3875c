"""Real services for tests: a logged model, and the process that serves it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.connect.mlflow import digest_of_files

RECORD = f"sha256:{'a' * 64}"
SOURCE = '''\
import os
import time

import mlflow
import pandas as pd


class Model(mlflow.pyfunc.PythonModel):
    """Answers with a number a row; some texts have it do something else."""

    def predict(self, context, model_input, params=None):
        found = []
        for row in model_input.itertuples():
            if row.s == "sleep":
                time.sleep(row.x)
            while row.s.startswith("/") and not os.path.exists(row.s):
                time.sleep(0.01)
            if row.s == "raise":
                raise ValueError(f"cannot compute with {row.x}")
            found.append(row.n * 2 + row.x + (1 if row.ok else 0))
        return pd.DataFrame({"y": found})


mlflow.models.set_model(Model())
'''
ROW = {"n": 1, "x": 0.5, "s": "a", "ok": True}


def typed_model(folder: Path, *, example: bool = True) -> None:
    """Save a model with a column of each usual type."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    table = pd.DataFrame([ROW, {"n": 2, "x": 0.1, "s": "b", "ok": False}])
    source = folder.with_name(f"{folder.name}.py")
    source.write_text(SOURCE, encoding="utf-8")
    mlflow.pyfunc.save_model(
        str(folder), python_model=str(source), pip_requirements=["mlflow", "pandas"],
        signature=infer_signature(table, pd.DataFrame({"y": [1.5, 2.5]})),
        input_example=table if example else None,
    )  # fmt: skip


def varying_model(folder: Path) -> None:
    """Save a model that never says the same twice."""
    import mlflow
    import pandas as pd

    source = folder.with_name(f"{folder.name}.py")
    source.write_text(
        "import mlflow, time\n\n\nclass Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n"
        "        return [time.time_ns() % 10**9] * len(model_input)\n\n\n"
        "mlflow.models.set_model(Model())\n"
    )
    mlflow.pyfunc.save_model(
        str(folder), python_model=str(source), pip_requirements=["mlflow"],
        input_example=pd.DataFrame({"a": [1.0, 2.0]}),
    )  # fmt: skip


def tensor_model(folder: Path) -> None:
    """Save a model that takes an array of two columns."""
    import mlflow
    import numpy as np
    from sklearn.linear_model import LinearRegression

    table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
    model = LinearRegression().fit(table, table.sum(axis=1))
    mlflow.sklearn.save_model(
        model, str(folder), pip_requirements=["mlflow", "scikit-learn", "skops"],
        signature=mlflow.models.infer_signature(table, model.predict(table)),
        input_example=table,
    )  # fmt: skip


def packed(app: Path, predictions: bytes | None = None) -> Path:
    """Put beside a model in ``model`` what an image has beside it; return the folder."""
    facts = {
        "record": RECORD, "name": "m", "uri": "models:/m-1", "notebook": "train.ipynb",
        "digest": digest_of_files(app / "model"),
    }  # fmt: skip
    (app / "record").mkdir(exist_ok=True)
    (app / "record" / "model.json").write_text(json.dumps(facts))
    if predictions is not None:
        (app / "record" / "predictions.json").write_bytes(predictions)
    return app


def record_predictions(app: Path) -> bytes:
    """Return what the recording program writes for a model, run as a build runs it."""
    import platform

    output = app / "recorded.json"
    wanted = {"python": platform.python_version(), "distributions": {}}
    ended = subprocess.run(
        [sys.executable, "-m", "mlrepro_nb.image.service.recording", app / "model", output],
        input=json.dumps(wanted), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return output.read_bytes()


class Running:
    """A service that runs here."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    def ask(
        self, method: str, path: str, body: bytes | str | None = None,
        kind: str | None = "application/json", **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
        """Ask it something; return status, headers and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and kind is not None:
            sent["content-type"] = kind
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, sent)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, told, answer.read()
        finally:
            connection.close()

    def post(self, payload: Any, **headers: str) -> tuple[int, Any]:
        """Have it predict from JSON; return status and the answer's JSON."""
        status, _, body = self.ask("POST", "/invocations", json.dumps(payload), **headers)
        return status, json.loads(body)

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        whole, _, _ = self._log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def line(self, identity: str) -> dict[str, Any]:
        """Return the line of a request, which is written after its answer."""
        while self.process.poll() is None:
            found = [one for one in self.lines() if one.get("request_id") == identity]
            if found:
                assert len(found) == 1
                return found[0]
        pytest.fail("the service ended")

    def takes_connections(self) -> bool:
        """Whether it can be connected to."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=60).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return False
        return True

    def first(self, path: str) -> tuple[int, Any]:
        """Return the first answer of a path, once there is one; its status and JSON."""
        while self.process.poll() is None:
            with contextlib.suppress(OSError):
                status, _, body = self.ask("GET", path)
                return status, json.loads(body)
        pytest.fail(f"it does not listen: {self._log.read_text()}")

    def wait(self, path: str) -> None:
        """Wait until a path answers 200."""
        for _ in range(1200):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self.ask("GET", path)[0] == 200:
                    return
            time.sleep(0.1)
        pytest.fail(f"{path} does not answer: {self._log.read_text()}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(app: Path, *, wait: bool = True, **variables: str) -> Iterator[Running]:
    """Yield our service of a folder."""
    with _started([sys.executable, "-m", "mlrepro_nb.image.service"], app, variables) as found:
        if wait:
            found.wait("/ready")
        yield found


@contextlib.contextmanager
def mlflow_running(app: Path) -> Iterator[Running]:
    """Yield MLflow's own server of the same model, as ``mlflow models serve`` starts it."""
    program = [sys.executable, "-m", "uvicorn", "mlflow.pyfunc.scoring_server.app:app"]
    variables = {"__pyfunc_model_path__": str(app / "model")}
    with _started(program, app, variables, port_option=True) as found:
        found.wait("/ping")
        yield found


@contextlib.contextmanager
def _started(
    program: list[str], app: Path, variables: dict[str, str], *, port_option: bool = False
) -> Iterator[Running]:
    port = free_port()
    log = app / f"log-{port}"
    environment = {
        **os.environ, "MLREPRO_APP": str(app), "HOST": "127.0.0.1", "PORT": str(port), **variables
    }  # fmt: skip
    arguments = [*program, "--port", str(port)] if port_option else program
    with (
        log.open("w") as stdout,
        subprocess.Popen(arguments, env=environment, stdout=stdout, text=True) as process,
    ):
        try:
            yield Running(process, port, log)
        finally:
            process.kill()
