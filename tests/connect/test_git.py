"""What git says of a project, and what of it counts as a change."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.connect import git as door
from tests.conftest import git


def _notebook(source: str, output: str = "") -> str:
    cell = {"cell_type": "code", "source": source, "metadata": {}, "outputs": [output]}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def _commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x")


def test_a_clean_tree_is_clean(repository: Path) -> None:
    (repository / "a.py").write_text("x = 1\n")
    _commit(repository)
    git(repository, "remote", "add", "origin", "https://me:secret@example.com/x.git")
    state = door.state(repository)
    assert (state.dirty, state.diff, state.branch) == (False, "", "main")
    assert state.commit == git(repository, "rev-parse", "HEAD")
    assert state.remote == "https://example.com/x.git"


def test_new_outputs_are_no_change_but_a_new_source_is(repository: Path) -> None:
    (repository / "n.ipynb").write_text(_notebook("x = 1"))
    _commit(repository)
    (repository / "n.ipynb").write_text(_notebook("x = 1", "1"))
    assert not door.state(repository).dirty
    (repository / "n.ipynb").write_text(_notebook("x = 2", "1"))
    state = door.state(repository)
    assert state.dirty
    assert "-x = 1" in state.diff
    assert "+x = 2" in state.diff


def test_untracked_sources_count_and_data_and_other_notebooks_do_not(repository: Path) -> None:
    (repository / "a.py").write_text("x = 1\n")
    _commit(repository)
    (repository / "data.csv").write_text("a\n")
    (repository / "copy.ipynb").write_text(_notebook("x"))
    assert not door.state(repository, "n.ipynb").dirty
    (repository / "n.ipynb").write_text(_notebook("y"))
    assert "+y" in door.state(repository, "n.ipynb").diff
    (repository / "b.py").write_text("z = 1\n")
    assert "+z = 1" in door.state(repository).diff


def test_no_commit_yet_and_odd_names(repository: Path) -> None:
    (repository / "ü b.py").write_text("x = 1\n")
    state = door.state(repository)
    assert state.commit is None
    assert state.dirty
    assert "+x = 1" in state.diff
    _commit(repository)
    assert door.tracked(repository, ["ü b.py", ":(top)*", "no.py"]) == {"ü b.py"}


def test_a_deleted_file_is_a_change(repository: Path) -> None:
    (repository / "a.py").write_text("x = 1\n")
    _commit(repository)
    (repository / "a.py").unlink()
    assert "-x = 1" in door.state(repository).diff


def test_the_newest_version_tag_is_found(repository: Path) -> None:
    (repository / "a.py").write_text("x = 1\n")
    _commit(repository)
    assert door.latest_tag(repository) is None
    git(repository, "tag", "v1.2.0")
    git(repository, "tag", "unrelated")
    assert door.latest_tag(repository) == "v1.2.0"


def test_a_commit_is_checked_out_elsewhere(repository: Path, tmp_path: Path) -> None:
    (repository / "a.py").write_text("x = 1\n")
    _commit(repository)
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "a.py").write_text("x = 2\n")
    _commit(repository)
    door.checkout(repository.as_uri(), commit, tmp_path / "out")
    assert (tmp_path / "out" / "a.py").read_text() == "x = 1\n"


@given(st.text())
def test_any_text_in_place_of_a_notebook_is_compared_as_text(text: str) -> None:
    assert isinstance(door._cells(text), str)


def test_as_many_processes_for_many_notebooks_as_for_one(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["n.ipynb", "ü b.ipynb", "a blob missing.ipynb", "is missing.ipynb", "x\ny.ipynb"]
    names += [f"n{k}.ipynb" for k in range(5)]
    started = 0

    class Counted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            nonlocal started
            started += 1
            super().__init__(*args, **kwargs)

    for name in names:
        (repository / name).write_text(_notebook("x = 1\r\ny = 2"))
    _commit(repository)
    monkeypatch.setattr(subprocess, "Popen", Counted)

    def changed(written: list[str]) -> int:
        nonlocal started
        for name in written:
            (repository / name).write_text(_notebook(f"x = {written.index(name) + 2}"))
        (repository / "new.ipynb").write_text(_notebook("new = 1"))
        git(repository, "add", "new.ipynb")
        started = 0
        state = door.state(repository)
        for k, name in enumerate(written):
            assert f"--- a/{name}\n+++ b/{name}\n" in state.diff
            assert f"+x = {k + 2}\n" in state.diff
        assert state.diff.count("-x = 1") == len(written)
        assert "+new = 1" in state.diff
        git(repository, "reset", "-q", "--hard")
        return started

    one = changed(["n.ipynb"])
    assert changed([name for name in names if "\n" not in name]) == one
    assert changed(names) == one + 1  # of a name with a line end git is asked apart
