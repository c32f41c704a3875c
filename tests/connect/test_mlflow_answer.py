"""What MLflow's own trial of a model answered, caught as it logs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlrepro_nb.connect.mlflow import observe_models
from mlrepro_nb.connect.mlflow_answer import LONGEST
from mlrepro_nb.connect.mlflow_serving import ServedModel, saved_signature, serving_example
from mlrepro_nb.image.service.payload import JSON, read
from mlrepro_nb.image.service.signature import signature

Log = Callable[..., tuple[dict[str, Any], Path]]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Logs a model that answers with what a function returns; returns what was noted of it."""
    mlflow = pytest.importorskip("mlflow")
    import mlflow.models.model as module
    from mlflow.models import utils

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    noted: list[dict[str, Any]] = []
    tried = utils._validate_serving_input
    restore = observe_models(module, noted.append)

    def logged(answer: Callable[[Any], Any], example: Any) -> tuple[dict[str, Any], Path]:
        class Model(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                return answer(model_input)

        info = mlflow.pyfunc.log_model(
            name="m", python_model=Model(), input_example=example, pip_requirements=["mlflow"]
        )
        folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
        return noted[-1], folder

    yield logged
    restore()
    assert utils._validate_serving_input is tried
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("kind", ["frame", "series", "array", "list", "texts"])
def test_it_is_the_answer_of_the_served_model(log: Log, kind: str) -> None:
    import pandas as pd

    table = pd.DataFrame({"a": [0.1, float("nan"), 2.0], "b": [1.0, 2.0, 1e300]})
    answers: dict[str, Callable[[Any], Any]] = {
        "frame": lambda t: pd.DataFrame({"y": t.a + t.b, "z": t.a > 1}),
        "series": lambda t: t.a * 3,
        "array": lambda t: t.to_numpy() * 2,
        "list": lambda t: list(t.a),
        "texts": lambda t: ["é\n"] * len(t),
    }
    noted, folder = log(answers[kind], table)
    body = serving_example(folder)
    model = ServedModel(folder)
    told = json.loads(json.dumps([model.inputs, model.outputs]))
    assert list(saved_signature(folder)) == told
    served = model.score(read(json.dumps(body).encode(), JSON, signature(model.inputs)), JSON)
    assert noted["answer"] == served.content


def test_a_language_model_s_answer_is_not_wrapped(log: Log) -> None:
    example = {"messages": [{"role": "user", "content": "hi"}]}
    noted, _ = log(lambda asked: [{"said": "hello"}], example)
    assert json.loads(noted["answer"]) == [{"said": "hello"}]


def test_what_is_long_or_comes_bit_by_bit_is_not_kept(log: Log) -> None:
    import pandas as pd

    def pieces() -> Iterator[str]:
        taken.append(1)
        yield "a"

    taken: list[int] = []
    table = pd.DataFrame({"a": [1.0, 2.0]})
    assert log(lambda _: pieces(), table)[0]["answer"] is None
    assert not taken
    assert log(lambda _: [0.0] * 101, table)[0]["answer"] is None
    assert log(lambda _: ["x" * LONGEST], table)[0]["answer"] is None
    assert log(lambda _: object(), table)[0]["answer"] is None
    assert log(lambda _: [1.0, 2.0], None)[0]["answer"] is None
    noted, _ = log(lambda t: [1.0, 2.0], table)
    assert json.loads(noted["answer"]) == {"predictions": [1.0, 2.0]}


def test_a_model_that_fails_its_trial_is_logged_all_the_same(log: Log) -> None:
    def fails(_: Any) -> Any:
        raise ValueError("not today")

    import pandas as pd

    assert log(fails, pd.DataFrame({"a": [1.0]}))[0]["answer"] is None


def test_an_mlflow_without_a_trial_has_no_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from mlrepro_nb.connect import mlflow_answer

    for name in ("mlflow.models.utils", "mlflow.models"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    mlflow_answer.observe(pytest.fail)()
