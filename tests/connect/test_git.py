"""What git says of a project, and what of it counts as a change."""

from __future__ import annotations

import json
from pathlib import Path

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
