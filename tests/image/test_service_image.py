"""A service is run before it is pushed: what fails its test gets no name."""

from __future__ import annotations

import platform
import subprocess
import uuid
from pathlib import Path

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import docker
from mlrepro_nb.connect import registry as door
from mlrepro_nb.connect.mlflow import digest_of_files
from mlrepro_nb.errors import GateError, ToolError
from mlrepro_nb.image import _build
from mlrepro_nb.image.builders.docker import EngineImage
from mlrepro_nb.image.service.predictions import decoded
from mlrepro_nb.model import Image, Model, Record, Step
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import installed, put
from tests.image.services import typed_model

pytestmark = pytest.mark.engine

Recorded = tuple[Path, Store, Record]


@pytest.fixture
def modelled(recorded: Recorded) -> Recorded:
    """The recorded project, with a model that was logged with an input example."""
    folder, store, record = recorded
    typed_model(folder / "model")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Model")
    digest = digest_of_files(folder / "model")
    results = msgspec.structs.replace(
        record.results, metrics={"accuracy": 0.95},
        models=(Model(name="m", uri="models:/m-1", path="model", digest=digest),),
    )  # fmt: skip
    environment = msgspec.structs.replace(
        record.environment, python=platform.python_version(),
        distributions=installed("pandas", "mlflow-skinny"),
    )  # fmt: skip
    return folder, store, put(folder, store, environment=environment, results=results)


def test_a_service_is_pushed_once_it_predicts_what_was_recorded_and_ends_in_order(
    modelled: Recorded, base_image: str, registry: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    store = modelled[1]
    name = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    options = {"kind": "service", "base": base_image, "repository": name, "push": True}
    with pytest.raises(GateError, match=r"accuracy >= 0.99 \(it is 0.95\)"):
        image.build("train.ipynb", **options, gates=["accuracy >= 0.99"])
    digest, made = image.build("train.ipynb", **options, gates=["accuracy >= 0.93"])
    assert made.tests == ("ready", "predictions-json", "predictions-csv", "refusal", "drain")
    assert [(g.metric, g.value) for g in made.gates] == [("accuracy", 0.95)]
    assert made.predictions is not None
    recorded = decoded(store.blobs.get(made.predictions))
    assert recorded.output == {"predictions": [{"y": 3.5}, {"y": 4.1}]}
    assert store.get(Image, digest) == made
    assert door.resolve(f"{name}:{made.tags[0]}") == made.digest

    # The same model, said to have predicted something else.
    spoiled = recorded.encoded().replace(b"4.1", b"4.2")
    context = tmp_path / "spoiled"
    context.mkdir()
    (context / "predictions.json").write_bytes(spoiled)
    (context / "Containerfile").write_text(
        f"FROM {name}:{made.tags[0]}\nCOPY predictions.json /app/record/predictions.json\n"
    )
    other = docker.build(context, containerfile=context / "Containerfile", identity=tmp_path / "id")

    class Spoils:
        key = "docker"

        def prepare(self, *_: object) -> None:
            pass

        def build(self, *_: object) -> EngineImage:
            return EngineImage(other, "docker")

    monkeypatch.setattr(_build, "choose", lambda *_: Spoils())
    steps: list[str] = []

    def report(step: Step) -> None:
        steps.append(step.message)

    with pytest.raises(GateError, match=r"instead of 4\.2") as raised:
        image.build("train.ipynb", **options, version="2.0.0", report=report)
    assert raised.value.exit_code == 1
    assert any("not ready: the recorded predictions are not reproduced" in s for s in steps)
    assert door.find(f"{name}:2.0.0") is None
    assert docker.inspect(f"{name}:2.0.0") is None
    running = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"ancestor={other}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert running.stdout == ""


def test_without_an_engine_a_push_says_that_it_was_not_tested(
    modelled: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.image._test import tested
    from mlrepro_nb.image.data import Here

    def gone() -> None:
        raise ToolError("No Docker Engine answers.", "Start it.", tool="docker")

    monkeypatch.setattr(docker, "engine", gone)
    planned = image.plan("train.ipynb", kind="service", offline=True)
    steps: list[str] = []
    passed = tested(
        planned,
        EngineImage("x", "y"),
        asked=False,
        data=Here(),
        report=lambda s: steps.append(s.message),
    )
    assert passed == ()
    assert steps == ["The image was not tested: No Docker Engine answers."]
