"""The widgets without a browser: what they sync, what stays in a saved notebook, what they do."""

from __future__ import annotations

import base64
import json
import re
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image, rollout
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.faces import magics, widgets
from mlrepro_nb.faces.widgets._containerize import ContainerizeWidget
from mlrepro_nb.lineage import from_json
from mlrepro_nb.model import Distribution, Image, Record, Results, Step, canonical
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.lineage.chain import MANIFEST, REPOSITORY, image_of, put_chain, training

LINEAGE = "application/vnd.mlrepro.lineage+json"
CONTAINERIZE = "application/vnd.mlrepro.containerize+json"
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(magics, "_state", None)


@pytest.fixture
def recorded(repository: Path, store: Store) -> tuple[str, Record]:
    """A record whose notebook, data and commit are in the repository."""
    from blake3 import blake3

    record = training()
    cells = [
        {"cell_type": "code", "id": f"c{c.order}", "source": c.source, "outputs": [],
         "metadata": {}, "execution_count": None}
        for c in record.code.cells
    ]  # fmt: skip
    (repository / "notebooks").mkdir()
    (repository / "notebooks" / "train.ipynb").write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), "utf-8"
    )
    (repository / "data").mkdir()
    (repository / "data" / "wine.parquet").write_bytes(b"wine")
    (repository / ".gitignore").write_text(".mlrepro/\n", "utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    code = msgspec.structs.replace(record.code, commit=git(repository, "rev-parse", "HEAD"))
    data = msgspec.structs.replace(
        record.data[0], digest=f"blake3:{blake3(b'wine').hexdigest()}", size=4
    )
    needed = ("mlrepro-nb", "ipykernel", "papermill")
    packages = (
        *record.environment.distributions,
        *(Distribution(name=name, version=version(name)) for name in needed),
    )
    environment = msgspec.structs.replace(record.environment, distributions=packages)
    record = msgspec.structs.replace(record, code=code, data=(data,), environment=environment)
    return store.put(record), record


def displayed(widget: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the outputs that showing a widget publishes."""
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    widget._ipython_display_()
    return shown


# --- lineage


def test_the_graph_is_synced_with_its_layout_and_the_target_selected(store: Store) -> None:
    chain = put_chain(store)
    widget = widgets.lineage(chain.train)
    assert widget.selected == f"record:{chain.train}"
    assert {node["type"] for node in widget.graph["nodes"]} >= {"commit", "cell", "run", "image"}
    assert all({"x", "y", "label", "detail"} <= node.keys() for node in widget.graph["nodes"])
    drawn = {(edge["source"], edge["target"]) for edge in widget.graph["paths"]}
    assert drawn <= {(edge["source"], edge["target"]) for edge in widget.graph["edges"]}
    json.dumps(widget.get_state(["graph", "key", "selected"]))


def test_a_saved_notebook_keeps_picture_text_and_json(store: Store) -> None:
    chain = put_chain(store)
    data, _ = widgets.lineage(chain.train)._repr_mimebundle_()
    assert data.keys() >= {VIEW, "text/html", "text/plain", LINEAGE}
    assert from_json(json.dumps(data[LINEAGE])).focus == f"record:{chain.train}"
    encoded = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', data["text/html"])
    assert encoded
    assert b"train (cell 3)" in base64.b64decode(encoded[1])
    assert "└─" in data["text/plain"]
    canonical(data[LINEAGE])


def test_every_output_is_known_as_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = put_chain(store)
    for widget, mime in (
        (widgets.lineage(chain.train), LINEAGE),
        (widgets.containerize(chain.train), CONTAINERIZE),
    ):
        live, copy = displayed(widget, monkeypatch)
        assert VIEW in live
        assert VIEW not in copy, "else JupyterLab shows 'model not found' and nothing more"
        assert mime in live
        assert mime in copy
        assert widget.key in copy["text/html"]


def test_hostile_names_are_escaped_in_the_static_copy(store: Store) -> None:
    evil = "<img src=x onerror=alert(1)>"
    record = training()
    code = msgspec.structs.replace(record.code, notebook=evil, remote=evil)
    digest = store.put(msgspec.structs.replace(record, code=code))
    for widget in (widgets.lineage(digest), widgets.containerize(digest)):
        assert evil not in widget._repr_mimebundle_()[0]["text/html"]


def test_the_front_ends_never_put_text_in_as_html() -> None:
    folder = Path(widgets.__file__).parent
    for path in folder.glob("*.js"):
        code = path.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", code)
        assert "http" not in code.replace("http://www.w3.org/2000/svg", "")
    for path in folder.glob("*.css"):
        assert not re.search(r"url\(|@import", path.read_text("utf-8"))


def test_without_a_recorder_the_remedy_is_named(store: Store) -> None:
    with pytest.raises(UsageError, match="load_ext"):
        widgets.lineage()
    with pytest.raises(UsageError, match="load_ext"):
        widgets.containerize()


# --- containerize


def test_the_form_is_filled_from_the_record(recorded: tuple[str, Record]) -> None:
    digest, record = recorded
    widget = widgets.containerize("notebooks/train.ipynb")
    assert widget.facts["record"] == digest[7:19]
    assert widget.facts["models"] == ["wine-forest"]
    assert widget.texts.keys() >= {
        "Containerfile", ".dockerignore", "requirements.txt", "tags", "manifests.yaml",
    }  # fmt: skip
    assert digest in widget.texts["Containerfile"]
    inferred = rollout.resources(record, workload="Job")
    assert widget.placeholders["cpu"] == inferred.cpu
    assert widget.placeholders["memory"] == inferred.memory
    assert widget.placeholders["repository"]
    assert widget.sources["memory"]


def test_an_edit_shows_in_the_previews(recorded: tuple[str, Record]) -> None:
    widget = widgets.containerize(recorded[0])
    widget.fields = {
        **widget.fields, "repository": "registry.example/team/wine", "version": "2.1.0",
        "memory": "3Gi", "namespace": "prod",
    }  # fmt: skip
    widget._asked(None, {"do": "preview"}, [])
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.startswith("Thread-"):
            thread.join(30)
    assert "registry.example/team/wine:2.1.0" in widget.texts["tags"]
    assert "3Gi" in widget.texts["manifests.yaml"]
    assert "namespace: prod" in widget.texts["manifests.yaml"]


@pytest.mark.parametrize(
    "edit",
    [{"memory": "lots"}, {"gpus": "-1"}, {"gpus": "two"}, {"replicas": "0"}, {"version": "..."},
     {"repository": "NOT OK"}, {"namespace": "No!"}, {"kind": "toaster"}, {"version": "latest"}],
)  # fmt: skip
def test_a_bad_value_is_a_problem_not_a_crash(
    recorded: tuple[str, Record], edit: dict[str, str]
) -> None:
    widget = widgets.containerize(recorded[0])
    before = list(widget.problems)
    widget.fields = {**widget.fields, **edit}
    widget.preview()
    assert len(widget.problems) > len(before) or not widget.texts.keys() >= {"Containerfile"}
    assert not any("Traceback" in problem for problem in widget.problems)


def test_without_a_model_there_is_no_service(store: Store) -> None:
    digest = store.put(training(results=Results()))
    assert widgets.containerize(digest).facts["models"] == []


@pytest.mark.parametrize("message", [None, [], {}, {"do": "rm -rf"}, {"do": ["build"]}])
def test_a_message_that_means_nothing_does_nothing(
    recorded: tuple[str, Record], message: Any
) -> None:
    widget = widgets.containerize(recorded[0])
    widget._asked(None, message, [])
    assert (widget.busy, widget.error) == ("", {})


class Engine:
    """A build that waits until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outcome: Image | Exception) -> None:
        self.go_on, self.begun = threading.Event(), threading.Event()
        self.asked: dict[str, Any] = {}
        self.outcome = outcome
        monkeypatch.setattr(image, "build", self.build)

    def build(self, target: str, *, report: Any, **options: Any) -> tuple[str, Image]:
        self.asked = {"target": target, **options}
        report(Step(message="building", done=1, total=3))
        report(Step(message="Step 1 : FROM base", log=True))
        self.begun.set()
        assert self.go_on.wait(30)
        report(Step(message="tagging"))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return "sha256:" + "0" * 64, self.outcome


def finish(widget: ContainerizeWidget) -> None:
    assert widget.worker is not None
    widget.worker.join(30)
    assert not widget.worker.is_alive()


def test_build_and_push_runs_beside_the_kernel_and_tells_the_digest(
    recorded: tuple[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(monkeypatch, image_of(recorded[0]))
    widget = widgets.containerize(recorded[0])
    widget.fields = {**widget.fields, "version": " 1.2.0 ", "base": "python:3.12"}
    widget._asked(None, {"do": "build", "push": True}, [])
    assert engine.begun.wait(30)
    assert widget.busy == "Building and pushing"
    assert widget.progress == {"message": "building", "done": 1, "total": 3}
    widget._asked(None, {"do": "build"}, [])  # a second click changes nothing
    engine.go_on.set()
    finish(widget)
    assert engine.asked["target"] == recorded[0]
    assert engine.asked["push"] is True
    assert (engine.asked["version"], engine.asked["base"]) == ("1.2.0", "python:3.12")
    assert "memory" not in engine.asked
    assert widget.busy == ""
    assert widget.error == {}
    assert widget.result["digest"] == MANIFEST
    assert f"{REPOSITORY}:1.2.0" in widget.result["references"]
    assert "Step 1 : FROM base" in widget.log
    assert MANIFEST in widget.texts["manifests.yaml"], "the manifests name what was pushed"


def test_a_failed_build_says_what_to_do_and_can_be_tried_again(
    recorded: tuple[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = ToolError("No engine answers.", "Start it.", tool="docker", output="dial unix")
    engine = Engine(monkeypatch, failure)
    engine.go_on.set()
    widget = widgets.containerize(recorded[0])
    widget.build()
    finish(widget)
    assert widget.error == {
        "message": "No engine answers.", "remedy": "Start it.", "output": "dial unix",
    }  # fmt: skip
    engine.outcome = image_of(recorded[0], digest=None)
    widget.build()
    finish(widget)
    assert widget.error == {}
    assert widget.result["reference"] == "", "what was not pushed cannot be rolled out"


def test_cancel_stops_at_the_next_step(
    recorded: tuple[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(monkeypatch, image_of(recorded[0]))
    widget = widgets.containerize(recorded[0])
    widget.build()
    assert engine.begun.wait(30)
    widget._asked(None, {"do": "cancel"}, [])
    engine.go_on.set()
    finish(widget)
    assert widget.error["message"] == "Cancelled."
    assert widget.result == {}


def test_a_bug_of_ours_is_shown_and_the_form_lives_on(
    recorded: tuple[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(monkeypatch, ZeroDivisionError("oops"))
    engine.go_on.set()
    widget = widgets.containerize(recorded[0])
    widget.build()
    finish(widget)
    assert "ZeroDivisionError" in widget.error["message"]
    assert widget.busy == ""


def test_only_what_was_pushed_is_rolled_out(
    recorded: tuple[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def roll(reference: str, **options: Any) -> Any:
        from tests.lineage.chain import rollout_of

        asked.append((reference, options))
        return "sha256:" + "0" * 64, rollout_of(recorded[0]), ""

    monkeypatch.setattr(rollout, "rollout", roll)
    widget = widgets.containerize(recorded[0])
    widget.rollout()
    assert widget.error["remedy"] == "Push it first."
    assert asked == []
    widget.result = {"reference": f"{REPOSITORY}@{MANIFEST}", "id": "x"}
    widget.fields = {**widget.fields, "namespace": "prod", "replicas": "2"}
    widget.rollout()
    finish(widget)
    ((reference, options),) = asked
    assert reference == f"{REPOSITORY}@{MANIFEST}"
    assert (options["apply"], options["namespace"], options["replicas"]) == (True, "prod", 2)
    assert widget.result["rollout"]["status"] == "complete"


def test_a_secret_never_reaches_a_trait(repository: Path, store: Store) -> None:
    record = training()
    code = msgspec.structs.replace(
        record.code, remote="https://ada:hunter2secret@git.example/w.git"
    )
    digest = store.put(msgspec.structs.replace(record, code=code))
    widget = widgets.containerize(digest)
    assert "hunter2secret" not in json.dumps(widget.get_state(), default=str)


def test_a_headless_run_keeps_only_the_static_copy(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = put_chain(store)

    class Loaded:
        live = None

        class recorder:  # noqa: N801
            notebook = Path("notebooks/train.ipynb")

    monkeypatch.setattr(magics, "_state", Loaded())
    (copy,) = displayed(widgets.lineage(), monkeypatch)
    assert VIEW not in copy
    assert copy[LINEAGE]["focus"] == f"record:{chain.train}"
