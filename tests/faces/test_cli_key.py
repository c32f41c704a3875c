"""`mlrepro key new`: two files, one of them secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlrepro_nb.connect import signature
from mlrepro_nb.faces.cli import main


def test_a_pair_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signature.PASSWORD, "pass word")
    done = CliRunner().invoke(main, ["key", "new", str(tmp_path / "team"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["hint"] == signature.private(Path(told["private"])).public.hint
    assert "pass word" not in done.output
    assert CliRunner().invoke(main, ["key", "new", str(tmp_path / "team")]).exit_code == 2


def test_without_a_password_or_a_person_it_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(signature.PASSWORD, raising=False)
    done = CliRunner().invoke(main, ["key", "new", str(tmp_path / "team")])
    assert done.exit_code == 2
    assert signature.PASSWORD in done.stderr
    assert list(tmp_path.iterdir()) == []
