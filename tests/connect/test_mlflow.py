"""Runs, models and tags, against real tracking stores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlrepro_nb.connect import mlflow as door


def _run_python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_database_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    door.log_record("0" * 32, f"sqlite:///{tmp_path}/gone.db", digest="sha256:1", record=b"{}")
    assert list(tmp_path.iterdir()) == []


def test_uris_mean_the_same_from_anywhere(tmp_path: Path) -> None:
    assert door.absolute_uri("sqlite:///a.db", tmp_path) == f"sqlite:///{tmp_path}/a.db"
    assert door.absolute_uri("mlruns", tmp_path) == f"{tmp_path}/mlruns"
    for fixed in ("http://h:5000", "sqlite:////a/b.db", "databricks", "file:///x"):
        assert door.absolute_uri(fixed, tmp_path) == fixed


def test_a_models_digest_is_over_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_text("1")
    first = door.digest_of_files(tmp_path / "m")
    (tmp_path / "m" / "a").write_text("2")
    second = door.digest_of_files(tmp_path / "m")
    (tmp_path / "m" / "a").rename(tmp_path / "m" / "b")
    third = door.digest_of_files(tmp_path / "m")
    assert len({first, second, third}) == 3
    (tmp_path / "m" / "registered_model_meta").write_text("model_name: m\n")
    (tmp_path / "m" / "__pycache__").mkdir()
    (tmp_path / "m" / "__pycache__" / "a.pyc").write_text("")
    assert door.digest_of_files(tmp_path / "m") == third, "whoever loads it leaves these"


def test_without_mlflow_there_are_no_runs() -> None:
    assert door.active_run_ids() == []
