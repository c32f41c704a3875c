"""The recorded data, commit and environment can be had again; what cannot is named."""

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import nbformat
import nbformat.v4 as v4
import pytest

import mlrepro_nb
from mlrepro_nb.errors import UsageError
from mlrepro_nb.execute import environments
from mlrepro_nb.model import REPRODUCED
from mlrepro_nb.record import record
from mlrepro_nb.store import Store
from mlrepro_nb.verify import verify
from tests.conftest import git
from tests.records import a_record

CELLS = (
    "print(open('kept.csv').read())",
    "import helper\nprint(helper.value)",
    "print(open('cached.csv').read())",
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recorded notebook, whose data and module have changed since."""
    folder = tmp_path_factory.mktemp("recorded") / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    nb = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": ""}})
    nb.cells = [v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nb, folder / "a.ipynb")
    (folder / "kept.csv").write_text("a\n1\n")
    (folder / "helper.py").write_text("value = 1\n")
    content = b"b\n2\n"
    (folder / "cached.csv").write_bytes(content)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    (folder / "cached.csv.dvc").write_text(f"outs:\n- md5: {md5}\n  path: cached.csv\n")
    cache = folder / ".dvc" / "cache" / "files" / "md5" / md5[:2]
    cache.mkdir(parents=True)
    (cache / md5[2:]).write_bytes(content)
    (folder / ".gitignore").write_text(".mlrepro/\ncached.csv\n.dvc/cache\n__pycache__/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "All")
    record(folder / "a.ipynb", inplace=True, lock=False)
    (folder / "kept.csv").write_text("a\nother\n")
    (folder / "cached.csv").write_text("b\nother\n")
    return folder


def test_recorded_data_come_from_git_and_from_dvcs_cache(recorded):
    path = recorded / "a.ipynb"
    assert [c.verdict for c in verify(path).cells][::2] == ["different", "different"]
    found = verify(path, data="recorded")
    assert found.verdict in REPRODUCED
    assert found.notes == ()
    assert (recorded / "kept.csv").read_text() == "a\nother\n"


def test_what_cannot_be_restored_is_named_and_left_as_it_is(recorded):
    (md5,) = (recorded / ".dvc" / "cache" / "files" / "md5").glob("*/*")
    content = md5.read_bytes()
    md5.unlink()
    try:
        found = verify(recorded / "a.ipynb", data="recorded")
    finally:
        md5.write_bytes(content)
    assert [c.verdict in REPRODUCED for c in found.cells] == [True, True, False]
    assert any("cached.csv could not be restored" in note for note in found.notes)


def test_the_recorded_commit_is_a_working_copy_of_its_own(recorded):
    (recorded / "helper.py").write_text("value = 2\n")
    try:
        assert verify(recorded / "a.ipynb", data="recorded").verdict == "different"
        found = verify(recorded / "a.ipynb", data="recorded", commit="recorded")
    finally:
        (recorded / "helper.py").write_text("value = 1\n")
    assert found.verdict in REPRODUCED
    assert git(recorded, "status", "--porcelain", "helper.py") == ""


def test_a_file_that_is_there_and_in_no_commit_is_named(recorded):
    nb = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": ""}})
    nb.cells = [v4.new_code_cell("print(open('mine.csv').read())")]
    nbformat.write(nb, recorded / "b.ipynb")
    git(recorded, "add", "b.ipynb")
    git(recorded, "commit", "-qm", "Another")
    (recorded / "mine.csv").write_text("a\n1\n")
    record(recorded / "b.ipynb", inplace=True, lock=False)
    assert verify(recorded / "b.ipynb").verdict in REPRODUCED
    found = verify(recorded / "b.ipynb", commit="recorded")
    assert [(c.kind, c.cell, c.subject) for c in found.causes] == [
        ("untracked-file", 0, "mine.csv")
    ]


def test_without_a_record_there_is_nothing_to_go_back_to(tmp_path):
    nb = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": ""}})
    nbformat.write(nb, tmp_path / "a.ipynb")
    for asked in ("environment", "data", "commit"):
        with pytest.raises(UsageError, match="has no record"):
            verify(tmp_path / "a.ipynb", **{asked: "recorded"})


def test_a_recorded_environment_is_built_once_and_gets_the_recorder_apart(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    store = Store.find(tmp_path)
    made = a_record()
    version = ".".join(map(str, sys.version_info[:3]))
    made = msgspec.structs.replace(made, environment=msgspec.structs.replace(
        made.environment, python=version, lock=store.blobs.put(b"# nothing\n")))  # fmt: skip
    said = []
    built = environments.build(made, store, said.append, root=tmp_path / "cache")
    probe = (
        "import sys; sys.path += sys.argv[1:]; import ipykernel, mlrepro_nb.capture; "
        "print(sys.prefix)"
    )
    ended = subprocess.run(
        [built.python, "-I", "-c", probe, *built.extra], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == str(next((tmp_path / "cache").rglob("env")))
    again = []
    assert environments.build(made, store, again.append, root=tmp_path / "cache") == built
    assert said
    assert again == []

    # Another installation of this package, which the one that built it is no longer beside.
    other = tmp_path / "elsewhere" / "mlrepro_nb"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    monkeypatch.setattr(mlrepro_nb, "__file__", str(other / "__init__.py"))
    elsewhere = environments.build(made, store, again.append, root=tmp_path / "cache")
    assert again == [], "the environment itself is the same"
    where = "import sys; sys.path += sys.argv[1:]; import mlrepro_nb; print(mlrepro_nb.__file__)"
    ended = subprocess.run(
        [built.python, "-I", "-c", where, *elsewhere.extra],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(ended.stdout.strip()).resolve() == other / "__init__.py"

    # A Python that was upgraded away leaves links to nothing.
    python = Path(built.python)
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert environments.build(made, store, again.append, root=tmp_path / "cache") == elsewhere
    assert again
    assert python.exists()
