"""A plan takes from the record and the tree what the run used, and refuses what has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import docker, registry, uv
from mlrepro_nb.errors import MlreproError, NotFoundError, ToolError, UsageError
from mlrepro_nb.image._context import context, fill
from mlrepro_nb.image.data import SMALL
from mlrepro_nb.model import DataAccess, LocalModule, Model, Record
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import blake, notebook, put

Recorded = tuple[Path, Store, Record]
BASE = f"example.com/python@sha256:{'e' * 64}"


def plan(**options: Any) -> image.Plan:
    return image.plan("train.ipynb", **{"base": BASE, "offline": True, **options})


def test_the_plan_has_what_the_run_used_and_nothing_else(recorded: Recorded) -> None:
    made = plan()
    assert {(f.layer, f.path) for f in made.files} == {
        ("code", "train.ipynb"), ("code", "helpers/scale.py"), ("data", "data.csv"),
        ("record", "record.json"), ("record", "reference.ipynb"),
    }  # fmt: skip
    names = {pin.partition("==")[0] for pin in made.pins}
    assert {"pandas", "numpy", "ipykernel", "papermill", "msgspec"} <= names
    assert not {"pytest", "jupyterlab", "hypothesis", "scikit-learn"} & names
    assert [d.name for d in made.local] == ["mlrepro-nb"]
    assert not [p for p in made.problems if "lock" not in p.message.lower()]


def test_only_variables_that_results_depend_on_go_in(recorded: Recorded) -> None:
    assert plan().variables == {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}


def test_the_notebook_goes_in_without_its_outputs_and_the_reference_with_them(
    recorded: Recorded, tmp_path: Path
) -> None:
    folder = tmp_path / "context"
    folder.mkdir()
    fill(msgspec.structs.replace(plan(), local=()), folder)
    inside = json.loads((folder / "code" / "train.ipynb").read_text())
    assert [c["outputs"] for c in inside["cells"]] == [[], []]
    assert inside["cells"][0]["metadata"] == {"tags": ["x"]}
    assert [c["source"] for c in inside["cells"]] == [c["source"] for c in notebook()["cells"]]
    reference = json.loads((folder / "record" / "reference.ipynb").read_text())
    assert reference["cells"][1]["outputs"][0]["text"] == "12\n"
    assert int((folder / "record" / "record.json").stat().st_mtime) == 315532800


def test_the_same_tree_gives_the_same_context(recorded: Recorded, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        fill(msgspec.structs.replace(plan(), local=()), tmp_path / name)
        contents.append(
            {
                p.relative_to(tmp_path / name): (p.stat().st_mode, p.read_bytes())
                for p in (tmp_path / name).rglob("*")
                if p.is_file()
            }
        )
    assert contents[0] == contents[1]


def test_an_edited_cell_is_refused_by_number(recorded: Recorded) -> None:
    changed = notebook(("import pandas\nimport helpers.scale", "print(1)"))
    (recorded[0] / "train.ipynb").write_text(json.dumps(changed))
    with pytest.raises(UsageError, match=r"Cell 1 of train\.ipynb was edited"):
        plan()


@pytest.mark.parametrize(
    ("name", "says"),
    [("data.csv", "data.csv is not what the run read"), ("helpers/scale.py", "scale.py, which")],
)
def test_a_changed_byte_is_refused_by_name(recorded: Recorded, name: str, says: str) -> None:
    path = recorded[0] / name
    path.write_bytes(path.read_bytes().replace(b"2", b"3"))
    with pytest.raises(UsageError, match=says):
        plan()
    path.unlink()
    with pytest.raises(UsageError, match="is gone"):
        plan()


def test_a_dirty_tree_is_refused_unless_told_and_then_marked(recorded: Recorded) -> None:
    (recorded[0] / "helpers" / "other.py").write_text("x = 1\n")
    made = plan()
    assert any("changes that are in no commit" in p.message for p in made.problems)
    assert plan(allow_dirty=True).problems == tuple(
        p for p in made.problems if "commit" not in p.message
    )
    assert all(tag.endswith("-dirty") for tag in image.tags(made))
    assert image.labels(made)["io.mlrepro.dirty"] == "true"


def big(folder: Path, store: Store, *, tracked: bool) -> Record:
    content = b"0" * (SMALL + 1)
    (folder / "big.bin").write_bytes(content)
    if tracked:
        git(folder, "add", "-f", "big.bin")
        git(folder, "commit", "-qm", "Big")
    record = put(folder, store)
    access = DataAccess(
        path="big.bin", repo_path="big.bin", digest=blake(content), size=len(content),
        access="read", cell=1, execution=1,
    )  # fmt: skip
    return put(folder, store, data=(*record.data, access))


def test_big_data_is_mounted_unless_git_tracks_it_or_it_is_asked_for(recorded: Recorded) -> None:
    folder, store, _ = recorded
    big(folder, store, tracked=False)
    made = plan()
    assert [(m.path, m.where) for m in made.mounts] == [("big.bin", "/data/big.bin")]
    assert any("--bake-data" in note for note in made.notes)
    assert "big.bin" in {f.path for f in plan(bake_data=True).layer("bulk")}
    big(folder, store, tracked=True)
    assert "big.bin" in {f.path for f in plan().layer("data")}


def test_what_the_run_made_itself_is_not_its_input(recorded: Recorded) -> None:
    folder, store, record = recorded
    made = [
        DataAccess(path="out.csv", repo_path="out.csv", digest=blake(b"x"), size=1,
                   access=access, cell=cell, execution=cell)
        for access, cell in (("write", 0), ("read", 1))
    ]  # fmt: skip
    put(folder, store, data=(*record.data, *made))
    assert "out.csv" not in {f.path for f in plan().files}


def test_data_outside_the_project_is_mounted_never_copied(recorded: Recorded) -> None:
    folder, store, _ = recorded
    outside = [
        DataAccess(path="/etc/passwd", access="read", digest=blake(b""), size=1),
        DataAccess(path="../x.csv", repo_path="../x.csv", access="read", digest=blake(b"")),
        DataAccess(path="https://example.com/x.csv", access="read"),
    ]
    put(folder, store, data=tuple(outside))
    made = plan(bake_data=True)
    assert [m.where for m in made.mounts] == ["/etc/passwd", None]
    assert any("move it into the project" in note for note in made.notes)
    assert not made.layer("data")


def test_a_file_of_secrets_is_mounted_never_copied(recorded: Recorded) -> None:
    folder, store, _ = recorded
    (folder / ".env").write_text("TOKEN=hunter2\n")
    put(folder, store, data=(DataAccess(path=".env", repo_path=".env", access="read", size=14),))
    made = plan(bake_data=True)
    assert [m.where for m in made.mounts] == ["/data/.env"]
    assert not made.layer("data")
    assert not {"io.mlrepro.fetches", "io.mlrepro.mounts"} & image.labels(made).keys()


def test_a_module_from_outside_the_project_is_told_never_copied(recorded: Recorded) -> None:
    folder, store, record = recorded
    modules = (
        LocalModule(name="helper", path="/elsewhere/helper.py", digest=blake(b"")),
        LocalModule(name="numpy.extra", path="/src/numpy/extra.py", digest=blake(b"")),  # editable
    )
    code = msgspec.structs.replace(record.code, modules=(*record.code.modules, *modules))
    numpy, *others = sorted(record.environment.distributions, key=lambda d: d.name != "numpy")
    distributions = (msgspec.structs.replace(numpy, modules=("numpy",)), *others)
    environment = msgspec.structs.replace(record.environment, distributions=distributions)
    put(folder, store, code=code, environment=environment)
    made = plan()
    (note,) = [note for note in made.notes if "outside of the project" in note]
    assert note.startswith("/elsewhere/helper.py: ")
    assert {f.path for f in made.layer("code")} == {"train.ipynb", "helpers/scale.py"}


def test_a_record_that_names_a_path_outside_is_refused(recorded: Recorded) -> None:
    folder, store, record = recorded
    put(folder, store, code=msgspec.structs.replace(record.code, notebook="../../train.ipynb"))
    digest = store.entries(Record)[0].digest
    with pytest.raises(UsageError):
        image.plan(digest, base=BASE, offline=True)


def test_a_notebook_that_was_never_recorded_is_told_to_be(recorded: Recorded) -> None:
    (recorded[0] / "new.ipynb").write_text(json.dumps(notebook()))
    with pytest.raises(NotFoundError) as raised:
        image.plan("new.ipynb", offline=True)
    assert "mlrepro record new.ipynb" in raised.value.remedy
    with pytest.raises(NotFoundError, match="There is no notebook"):
        image.plan("none.ipynb", offline=True)


def test_a_version_comes_from_the_option_the_project_or_the_tag(recorded: Recorded) -> None:
    folder = recorded[0]
    assert plan().version == "0.0.0"
    git(folder, "tag", "v0.3.0")
    assert plan().version == "0.3.0"
    (folder / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "0.4.0+local"\n')
    assert image.tags(plan())[0] == "0.4.0-local-dirty"
    assert plan(version="1.0.0").version == "1.0.0"
    with pytest.raises(UsageError, match="latest"):
        plan(version="latest")
    with pytest.raises(UsageError, match=r"--version '1\.0' is no semantic") as raised:
        plan(version="1.0")
    assert raised.value.remedy.startswith("Say 1.0.0")


def test_a_version_that_is_no_semantic_one_is_converted_and_told_or_refused(
    recorded: Recorded,
) -> None:
    folder = recorded[0]
    git(folder, "tag", "v0.3")
    assert plan().version == "0.3.0"
    git(folder, "commit", "--allow-empty", "-qm", "More")
    git(folder, "tag", "v2024-q3")
    made = plan()
    assert made.version == "0.0.0"
    assert any("git tag v2024-q3 is no semantic version" in note for note in made.notes)
    (folder / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1.0rc1"\n')
    made = plan()
    assert made.version == "1.0.0-rc.1"
    assert any("1.0rc1 ([project] in pyproject.toml) is 1.0.0-rc.1" in n for n in made.notes)
    (folder / "pyproject.toml").write_text('[tool.mlrepro]\nversion = "1.0"\n')
    with pytest.raises(UsageError, match=r"\[tool\.mlrepro\] in pyproject\.toml: version '1\.0'"):
        plan()


def test_the_project_s_settings_are_used(recorded: Recorded) -> None:
    (recorded[0] / "pyproject.toml").write_text(
        '[tool.mlrepro]\nrepository = "example.com/team/x"\nbase = "example.com/py:3.11"\n'
    )
    made = image.plan("train.ipynb", offline=True)
    assert (made.repository, made.base) == ("example.com/team/x", "example.com/py:3.11")
    (recorded[0] / "pyproject.toml").write_text("[tool.mlrepro\n")
    with pytest.raises(UsageError, match="is not TOML"):
        plan()
    (recorded[0] / "pyproject.toml").write_text("[tool.mlrepro]\nbase = 3\n")
    with pytest.raises(UsageError, match="base is no text"):
        plan()


def test_the_base_is_resolved_or_the_problem_told(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = f"sha256:{'d' * 64}"
    monkeypatch.setattr(uv, "lock", lambda *a, **k: "")
    monkeypatch.setattr(registry, "resolve", lambda reference: digest)
    made = image.plan("train.ipynb")
    assert made.base_reference == f"docker.io/library/python:3.11.7-slim-bookworm@{digest}"

    def unreachable(reference: str) -> str:
        raise ToolError("The registry docker.io cannot be reached.", "x", tool="registry")

    monkeypatch.setattr(registry, "resolve", unreachable)
    monkeypatch.setattr(docker, "inspect", lambda name: None)
    made = image.plan("train.ipynb")
    assert "The registry docker.io cannot be reached." in made.problems[0].message
    assert "--base NAME@sha256:" in made.problems[0].remedy
    pulled = docker.LocalImage(id="x", repo_digests=(f"python@{digest}",))
    monkeypatch.setattr(docker, "inspect", lambda name: pulled)
    assert image.plan("train.ipynb").base_digest == digest


def test_a_lock_is_made_once(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def lock(pins: Any, **options: Any) -> str:
        asked.append(pins)
        return "locked\n"

    monkeypatch.setattr(uv, "lock", lock)
    assert image.requirements(plan()).startswith("# Not locked yet")
    assert image.requirements(plan(offline=False)) == "locked\n"
    assert image.requirements(plan(offline=False)) == "locked\n"
    assert image.requirements(plan()) == "locked\n"
    assert len(asked) == 1


def test_a_preview_asks_nobody_and_tells_what_is_open(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("asked")

    for door, name in ((registry, "resolve"), (docker, "inspect"), (uv, "lock")):
        monkeypatch.setattr(door, name, nobody)
    texts = image.preview("train.ipynb", kind="job")
    assert "WARNING: the base image below is not pinned" in texts["Containerfile"]
    assert "base image" in texts["problems"]
    assert texts["tags"].startswith("mlrepro/train:0.0.0\n")


def test_distributions_that_are_not_installed_here_bring_all_that_was_recorded(
    recorded: Recorded,
) -> None:
    folder, store, record = recorded
    other = tuple(
        msgspec.structs.replace(d, version="0.0.1") if d.name == "pandas" else d
        for d in record.environment.distributions
    )
    put(
        folder, store,
        environment=msgspec.structs.replace(record.environment, distributions=other),
    )  # fmt: skip
    made = plan()
    assert "pandas==0.0.1" in made.pins
    assert any(pin.startswith("jupyterlab==") for pin in made.pins)
    assert any("pandas: not installed here" in note for note in made.notes)


def test_an_environment_without_us_is_told(recorded: Recorded) -> None:
    folder, store, record = recorded
    without = tuple(d for d in record.environment.distributions if d.name != "mlrepro-nb")
    environment = msgspec.structs.replace(record.environment, distributions=without)
    put(folder, store, environment=environment)
    with pytest.raises(UsageError, match="lacks mlrepro-nb"):
        plan()


def test_a_service_without_a_model_is_told_what_to_do(recorded: Recorded) -> None:
    folder, store, record = recorded
    with pytest.raises(UsageError, match="logged no model") as raised:
        plan(kind="service")
    assert "log_model" in raised.value.remedy
    models = tuple(Model(name=n, uri=f"models:/{n}", path=n) for n in ("a", "b"))
    put(folder, store, results=msgspec.structs.replace(record.results, models=models))
    with pytest.raises(UsageError, match="several models: a, b"):
        plan(kind="service")
    with pytest.raises(UsageError, match="files of model 'a' are not on this machine at a"):
        plan(kind="service", model="a")
    with pytest.raises(UsageError, match="no model 'c'"):
        plan(kind="service", model="c")


def test_a_model_whose_files_changed_is_refused(recorded: Recorded) -> None:
    folder, store, record = recorded
    (folder / "m").mkdir()
    (folder / "m" / "MLmodel").write_text("x: 1\n")
    models = (Model(name="m", uri="models:/m", path="m", digest=f"sha256:{'0' * 64}"),)
    put(folder, store, results=msgspec.structs.replace(record.results, models=models))
    with pytest.raises(MlreproError, match="not those that the run logged"):
        plan(kind="service")


def test_the_context_is_gone_afterwards_unless_kept(recorded: Recorded, tmp_path: Path) -> None:
    made = msgspec.structs.replace(plan(), local=())
    with context(made) as folder:
        assert (folder / "Containerfile").is_file()
    assert not folder.exists()
    with pytest.raises(RuntimeError), context(made) as folder:
        raise RuntimeError
    assert not folder.exists()
    keep = tmp_path / "keep"
    with context(made, keep):
        pass
    assert (keep / "code" / "train.ipynb").is_file()
    with pytest.raises(UsageError, match="not an empty folder"), context(made, keep):
        pass


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (
            "error", "cell 1: NameError: name 'x' is not defined\nmore",
            "ended with an error in cell 1 (NameError: name 'x' is not defined)",
        ),
        ("error", "ValueError: no", "ended with an error in cell 1 (ValueError: no)"),
        ("interrupted", None, "was interrupted in cell 1:"),
    ],
)  # fmt: skip
def test_a_run_that_did_not_get_to_its_end_is_noted(
    recorded: Recorded, status: Any, error: str | None, told: str
) -> None:
    folder, store, record = recorded
    assert not [note for note in plan().notes if "recorded run" in note]
    cells = tuple(
        msgspec.structs.replace(cell, status="ok" if cell.order == 0 else status)
        for cell in record.code.cells[:2]
    )
    put(
        folder, store, code=msgspec.structs.replace(record.code, cells=cells),
        results=msgspec.structs.replace(record.results, status=status, error=error),
    )  # fmt: skip
    (note,) = [note for note in plan().notes if note.startswith("The recorded run")]
    assert told in note
    assert "exit code 0" in note
    (note,) = [n for n in plan(kind="notebook").notes if n.startswith("The recorded run")]
    assert "exit code" not in note
