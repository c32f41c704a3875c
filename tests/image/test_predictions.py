"""Recorded predictions: made in the recorded environment, the same from two machines."""

from __future__ import annotations

import json
import math
import platform
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb import image
from mlrepro_nb.connect.mlflow import digest_of_files
from mlrepro_nb.image import Plan
from mlrepro_nb.image._predictions import with_predictions
from mlrepro_nb.image.service.predictions import (
    RTOL,
    Predictions,
    as_csv,
    decoded,
    difference,
    of,
    shortened,
)
from mlrepro_nb.image.service.signature import signature
from mlrepro_nb.model import Environment, Model, Record, Step
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import installed, put
from tests.image.services import typed_model

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)
ANSWERS = st.recursive(
    NUMBERS | st.integers(-(2**53), 2**53) | st.booleans() | st.text(max_size=5) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


def recorded_of(answer: object) -> Predictions:
    return of({}, json.dumps(answer), [])


@given(ANSWERS)
def test_an_answer_agrees_with_its_own_record(answer: object) -> None:
    recorded = recorded_of(answer)
    assert difference(recorded.output, json.loads(json.dumps(answer)), recorded.rtol) is None
    again = decoded(recorded.encoded())
    assert (again, again.encoded()) == (recorded, recorded.encoded())


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.floats(0.01, 100))
def test_a_number_off_by_more_than_the_tolerance_is_found(
    answer: list[float], factor: float
) -> None:
    recorded = recorded_of(answer)
    scale = max(map(abs, answer))
    moved = [answer[0] + factor * RTOL * scale, *answer[1:]]
    same = difference(recorded.output, moved, recorded.rtol) is None
    if scale and abs(factor - 1) > 0.05:
        assert same is (factor < 1)


def test_last_digits_do_not_change_the_document() -> None:
    values = [0.1 + 0.2, 1e-17, 123456.789012345, 1.0]
    noisy = [math.nextafter(v, math.inf) for v in values]
    assert recorded_of(values).encoded() == recorded_of(noisy).encoded()


@pytest.mark.parametrize(
    ("expected", "found", "told"),
    [
        ({"p": [1, 2]}, {"p": [1]}, "answer.p has 1 elements instead of 2"),
        ({"p": 1}, {"q": 1}, "answer has no 'p'"),
        ({"p": 1}, {"p": 1, "q": 1}, "answer has besides 'q'"),
        ([{"p": "a"}], [{"p": "b"}], "answer[0].p is 'b' instead of 'a'"),
        ([True], [1], "answer[0] is 1 instead of True"),
        ([1], [2], "answer[0] is 2 instead of 1"),
        ([1.0], [None], "answer[0] is None instead of 1.0"),
        ([float("nan")], [1.0], "answer[0] is 1.0 instead of nan"),
    ],
)
def test_the_first_difference_is_told(expected: object, found: object, told: str) -> None:
    assert difference(expected, found, RTOL) == told


def test_one_that_answers_in_32_bits_has_a_wider_tolerance() -> None:
    single = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}]
    assert of({}, "[1.0]", single).rtol == 1e-4
    assert of({}, "[1.0]", [{"type": "double"}]).rtol == RTOL


def test_an_example_as_csv_tells_the_same_or_is_left_out() -> None:
    wanted = signature([{"name": "a", "type": "double"}, {"name": "s", "type": "string"}])
    split = {"dataframe_split": {"columns": ["a", "s"], "data": [[1.5, 'x,"y'], [None, "é"]]}}
    assert as_csv(split, wanted) == 'a,s\n1.5,"x,""y"\n,é\n'
    for value in ("", " x"):  # pandas would read another
        table = {"columns": ["a", "s"], "data": [[1.5, value]]}
        assert as_csv({"dataframe_split": table}, wanted) is None
    assert as_csv({"inputs": [[1.0]]}, wanted) is None
    dated = signature([{"name": "a", "type": "datetime"}])
    assert as_csv({"dataframe_records": [{"a": "2026-01-01"}]}, dated) is None


def test_of_a_long_example_the_first_rows_are_kept() -> None:
    rows = [[float(i)] for i in range(1000)]
    body = {"dataframe_split": {"columns": ["a"], "index": list(range(1000)), "data": rows}}
    kept = shortened(body)["dataframe_split"]
    assert (len(kept["data"]), len(kept["index"]), kept["columns"]) == (100, 100, ["a"])
    assert len(shortened({"inputs": rows})["inputs"]) == 100


# --- in a build


@pytest.fixture
def served(recorded: tuple[Path, Store, Record]) -> tuple[Path, Store, Record]:
    """The recorded project, whose run logged a model with an input example."""
    folder, store, record = recorded
    typed_model(folder / "model")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Model")
    digest = digest_of_files(folder / "model")
    results = msgspec.structs.replace(
        record.results, models=(Model(name="m", uri="models:/m-1", path="model", digest=digest),)
    )
    environment = msgspec.structs.replace(
        record.environment, python=platform.python_version(), kernelspec="nobody-has-this",
        distributions=installed("pandas", "mlflow-skinny"),
    )  # fmt: skip
    return folder, store, put(folder, store, environment=environment, results=results)


def planned(folder: Path, store: Store, steps: list[str]) -> Plan:
    found = image.plan("train.ipynb", kind="service", offline=True)

    def report(step: Step) -> None:
        steps.append(step.message)

    return with_predictions(found, folder, store, report)


def drifted(record: Record) -> Environment:
    """Return the record's environment with another pandas than the one that is here."""
    distributions = tuple(
        msgspec.structs.replace(d, version="0.0.1") if d.name == "pandas" else d
        for d in record.environment.distributions
    )
    return msgspec.structs.replace(record.environment, distributions=distributions)


def test_a_service_gets_what_its_model_predicted(
    served: tuple[Path, Store, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, store, record = served
    found = planned(folder, store, [])
    (file,) = [f for f in found.files if f.path == "predictions.json"]
    assert file.content is not None
    assert decoded(file.content).output == {"predictions": [{"y": 3.5}, {"y": 4.1}]}
    assert found.predictions is not None
    assert store.blobs.get(found.predictions) == file.content
    steps: list[str] = []
    assert planned(folder, store, steps).predictions == found.predictions
    assert not steps  # nothing was run again
    # Nor is it for the same model, logged by another run.
    written = (folder / "model" / "MLmodel").read_text()
    (folder / "model" / "MLmodel").write_text(f"run_id: {'0' * 32}\n{written}")
    git(folder, "commit", "-qam", "Logged again")
    model = Model(name="m", uri="models:/m-2", path="model",
                  digest=digest_of_files(folder / "model"))  # fmt: skip
    results = msgspec.structs.replace(record.results, models=(model,))
    record = put(folder, store, environment=record.environment, results=results)
    assert planned(folder, store, steps).predictions == found.predictions
    assert not steps

    # Another environment would record another model's answers.
    put(folder, store, environment=drifted(record), results=record.results)
    assert planned(folder, store, steps).predictions is None
    assert "is not here any more" in steps[-1]
    assert "it has pandas" in steps[-1]
    assert "not 0.0.1" in steps[-1]


ANSWER = json.dumps({"predictions": [{"y": 3.5000000000000004}, {"y": 4.1}]})


def with_answer(folder: Path, store: Store, record: Record, answer: str) -> None:
    """Record anew that the model answered this when it was logged, where nothing can be asked."""
    model = msgspec.structs.replace(
        record.results.models[0], digest=digest_of_files(folder / "model"), answer=answer
    )
    results = msgspec.structs.replace(record.results, models=(model,))
    put(folder, store, environment=drifted(record), results=results)


def test_what_the_run_itself_recorded_needs_no_environment(
    served: tuple[Path, Store, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, store, record = served
    asked = planned(folder, store, [])
    (other,) = [f for f in asked.files if f.path == "predictions.json"]
    with_answer(folder, store, record, ANSWER)
    steps: list[str] = []
    found = planned(folder, store, steps)
    (file,) = [f for f in found.files if f.path == "predictions.json"]
    assert not steps
    assert file.content == other.content, "the very bytes that the environment gives"


@pytest.mark.parametrize("answer", ['{"predictions": [{"y": "***"}]}', "no JSON"])
def test_an_answer_that_is_not_whole_is_not_relied_on(
    served: tuple[Path, Store, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, store, record = served
    with_answer(folder, store, record, answer)
    steps: list[str] = []
    assert planned(folder, store, steps).predictions is None
    assert "is not here any more" in steps[-1]


def test_an_answer_to_more_rows_than_are_kept_is_not_relied_on(
    served: tuple[Path, Store, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, store, record = served
    path = folder / "model" / "serving_input_example.json"
    body = json.loads(path.read_bytes())
    (key,) = body
    body[key]["data"] *= 51
    path.write_text(json.dumps(body))
    with_answer(folder, store, record, json.dumps({"predictions": [{"y": 3.5}] * 102}))
    assert planned(folder, store, []).predictions is None


def test_without_an_input_example_it_is_told_how_to_get_the_check(
    served: tuple[Path, Store, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, store, record = served
    (folder / "model" / "serving_input_example.json").unlink()
    model = msgspec.structs.replace(
        record.results.models[0], digest=digest_of_files(folder / "model")
    )
    results = msgspec.structs.replace(record.results, models=(model,))
    put(folder, store, environment=record.environment, results=results)
    steps: list[str] = []
    assert planned(folder, store, steps).predictions is None
    assert "input_example=" in steps[-1]


def test_a_model_that_was_loaded_is_still_the_model_that_was_logged(tmp_path: Path) -> None:
    typed_model(tmp_path / "model")
    before = digest_of_files(tmp_path / "model")
    cache = tmp_path / "model" / "code" / "__pycache__"
    cache.mkdir(parents=True)
    (cache / "typed.cpython-311.pyc").write_bytes(b"x")
    assert digest_of_files(tmp_path / "model") == before
    (tmp_path / "model" / "code" / "typed.py").write_text("x = 1\n")
    assert digest_of_files(tmp_path / "model") != before
