"""``mlrepro build``: what it prints, how it ends, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlrepro_nb.connect import registry as door
from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import Image, Record
from mlrepro_nb.store import Store
from tests.image.conftest import *  # noqa: F403

Recorded = tuple[Path, Store, Record]
BASE = f"example.com/python@sha256:{'e' * 64}"


def mlrepro(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["build", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_dry_run_prints_what_would_be_built(recorded: Recorded) -> None:
    result = mlrepro("train.ipynb", "--dry-run", "--base", BASE)
    assert result.exit_code == 0, result.output
    assert f"FROM {BASE} AS builder" in result.stdout
    assert "--hash=sha256:" in result.stdout
    assert "!requirements.txt" in result.stdout
    assert not recorded[1].entries(Image)


def test_a_dry_run_as_json_is_one_document(recorded: Recorded) -> None:
    result = mlrepro("train.ipynb", "--dry-run", "--base", BASE, "--json")
    texts = json.loads(result.stdout)
    assert {"Containerfile", ".dockerignore", "requirements.txt", "entrypoint"} <= set(texts)


def test_a_dry_run_can_be_kept(recorded: Recorded, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert mlrepro("train.ipynb", "--dry-run", "--base", BASE, "-o", str(out)).exit_code == 0
    assert (out / "Containerfile").read_text().startswith("# A job image of train.ipynb")
    result = mlrepro("train.ipynb", "--dry-run", "--base", BASE, "-o", str(out))
    assert result.exit_code == 2
    assert "not an empty folder" in result.stderr
    result = mlrepro("train.ipynb", "--dry-run", "--base", BASE, "-o", str(out / "tags" / "x"))
    assert (result.exit_code, "cannot be a folder" in result.stderr) == (2, True)
    result = mlrepro("train.ipynb", "--dry-run", "--base", BASE, "-o", "/proc/x")
    assert (result.exit_code, "/proc/x cannot be written" in result.stderr) == (3, True)


def test_a_dry_run_without_a_network_warns_and_goes_on(recorded: Recorded) -> None:
    result = mlrepro("train.ipynb", "--dry-run", "--base", "127.0.0.1:9/python:3.11")
    assert result.exit_code == 0
    assert "127.0.0.1:9 cannot be reached" in result.stderr
    assert "# WARNING: the base image below is not pinned" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["none.ipynb"], 2, "There is no notebook none.ipynb"),
        (["deadbeef"], 2, "has no record 'deadbeef'"),
        (["new.ipynb"], 2, "was never recorded"),
        (["train.ipynb", "--version", "latest", "--dry-run"], 2, "`latest` is no version"),
        (["train.ipynb", "--repository", "A", "--dry-run"], 2, "not an image reference"),
        (["train.ipynb", "--repository", "a:1", "--dry-run"], 2, "has a tag or digest"),
        (["train.ipynb", "--base", "python", "--dry-run"], 2, "means `latest`"),
        (["train.ipynb", "--ca-bundle", "none.pem"], 2, "none.pem cannot be read"),
        (["train.ipynb", "--kind", "service", "--dry-run"], 2, "logged no model"),
        (["train.ipynb", "--dry-run", "--push"], 2, "--dry-run pushes nothing"),
        (["train.ipynb", "--push"], 2, "no repository to push to"),
        (["train.ipynb", "--kind", "spaceship"], 2, "spaceship"),
    ],
)
def test_a_bad_request_is_one_sentence_with_a_remedy(
    recorded: Recorded, arguments: list[str], status: int, says: str
) -> None:
    (recorded[0] / "new.ipynb").write_text("{}")
    result = mlrepro(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not recorded[1].entries(Image)


def test_without_an_engine_it_says_so_and_ends_with_3(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text(
        "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///x.' >&2\nexit 1\n"
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    result = mlrepro("train.ipynb", "--base", BASE, "--builder", "docker")
    assert result.exit_code == 3
    assert "No Docker Engine answers." in result.stderr
    assert "--dry-run needs none" in result.stderr
    result = mlrepro("train.ipynb", "--base", BASE)
    assert result.exit_code == 2
    assert "No Docker Engine answers. Building without one." in result.stderr
    assert "--output FILE.tar" in result.stderr


def test_outside_git_there_is_no_store_to_build_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    (tmp_path / "n.ipynb").write_text("{}")
    result = mlrepro("n.ipynb", "--builder", "oci", "-o", "image.tar")
    assert result.exit_code == 3
    assert "no git repository" in result.stderr


def test_what_a_builder_cannot_do_is_told_before_anything_is_done(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUILDKIT_HOST", raising=False)
    result = mlrepro("train.ipynb", "--base", BASE, "--check", "--push")
    assert (result.exit_code, "--check builds and compares" in result.stderr) == (2, True)
    result = mlrepro("train.ipynb", "--base", BASE, "--check", "--builder", "docker")
    assert (result.exit_code, "cannot give the same digest again" in result.stderr) == (2, True)
    result = mlrepro("train.ipynb", "--base", BASE, "--builder", "docker", "-o", "a.tar")
    assert (result.exit_code, "does not write a.tar" in result.stderr) == (2, True)


@pytest.mark.engine
def test_a_build_prints_names_and_one_json_document(
    recorded: Recorded, base_image: str, registry: str
) -> None:
    name = f"{registry}/test/cli-{uuid.uuid4().hex[:12]}"  # an earlier run's tags are not moved
    result = mlrepro(
        "train.ipynb", "--base", base_image, "-R", name, "--push", "--build-id", "9", "--json"
    )
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert made["tags"][-1] == "build-9"
    assert door.resolve(f"{name}:build-9") == made["digest"]
    assert recorded[1].get(Image, made["image"]).digest == made["digest"]
    assert "pushing" in result.stderr
    result = mlrepro("train.ipynb", "--base", base_image)
    assert result.stdout.startswith("image    ")
