"""What ran before the first cell, what started the kernel, and in what kind of environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.capture.environment import system, variables
from mlrepro_nb.capture.environment.startup import kernelspec


def environment(live: Any) -> Any:
    live.close()
    return live.record().environment


def test_startup_files_and_lines_are_in_the_record_with_what_they_define(
    kernel: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "00-mine.py").write_text("threshold = 0.5\n_private = 1\n")
    (profile / "startup" / "notes.txt").write_text("no code\n")
    (profile / "ipython_kernel_config.py").write_text(
        "c = get_config()\nc.InteractiveShellApp.exec_lines = ['limit = 3']\n"
        "c.InteractiveShellApp.extensions = ['autoreload']\n"
    )
    python_startup = tmp_path / "startup.py"
    python_startup.write_text("from_python = 1\n")
    live = kernel(IPYTHONDIR=str(profile.parent), PYTHONSTARTUP=str(python_startup))
    live.run("%load_ext mlrepro_nb\nassert threshold and limit and from_python")
    found = environment(live)
    told = {entry.kind: entry for entry in found.startup if entry.kind != "pth"}
    assert set(told) == {"ipython", "exec-lines", "extension", "config", "PYTHONSTARTUP"}
    assert told["ipython"].name.endswith("startup/00-mine.py")
    assert told["ipython"].defines == ("threshold",)
    assert told["ipython"].digest.startswith("blake3:")
    assert told["exec-lines"].defines == ("limit",)
    assert told["PYTHONSTARTUP"].defines == ("from_python",)


def test_what_store_brought_back_is_told(
    kernel: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ipython"
    first = kernel(IPYTHONDIR=str(folder))
    first.run("kept = 41")
    first.run("%store kept")
    first.close()
    config = folder / "profile_default" / "ipython_kernel_config.py"
    live = kernel(IPYTHONDIR=str(folder))
    live.run("%load_ext mlrepro_nb")
    assert live.run("%store -r kept\nprint(kept)")["text"].endswith("41\n")
    (told,) = (entry for entry in environment(live).startup if entry.kind == "store")
    assert (told.name, told.defines) == ("%store -r kept", ("kept",))
    config.write_text("c = get_config()\nc.StoreMagics.autorestore = True\n")
    other = kernel(IPYTHONDIR=str(folder))
    other.run("%load_ext mlrepro_nb\nassert kept == 41")
    other.close()
    events = [
        data for session in other.store().sessions()
        for kind, data in other.store().events(session.id) if kind == "environment"
    ]  # fmt: skip
    assert any(
        entry["name"] == "StoreMagics.autorestore" and entry["defines"] == ["kept"]
        for data in events for entry in data["startup"]
    )  # fmt: skip


def test_sitecustomize_is_told(
    kernel: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import random\n")
    live = kernel(PYTHONPATH=str(tmp_path))
    live.run("%load_ext mlrepro_nb")
    found = environment(live)
    assert [e.name for e in found.startup if e.kind == "sitecustomize"]
    assert found.variables["PYTHONPATH"] == str(tmp_path)


def test_the_kernelspec_is_told_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels" / "mine"
    folder.mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Mine",
        "language": "python",
        "env": {"OMP_NUM_THREADS": "1", "DB_PASSWORD": "hunter2", "OTHER": "thing"},
    }
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    found = kernelspec("mine")
    assert found is not None
    assert found["argv"][:2] == ["{python}", "-m"]
    assert found["variables"] == {"DB_PASSWORD": "", "OMP_NUM_THREADS": "1", "OTHER": ""}
    assert found["digest"].startswith("blake3:")
    assert kernelspec("no-such-kernel") is None


def test_variables_are_by_allow_list_and_never_a_secret() -> None:
    found = variables.variables(
        {"OMP_NUM_THREADS": "2", "HOME": "/home/me", "HF_TOKEN": "hf_x", "HF_HUB_OFFLINE": "1",
         "TF_SECRET_KEY": "x", "DASK_SCHEDULER__TOKEN": "x", "KERAS_BACKEND": "jax", "PATH": "/bin",
         "JAX_COMPILATION_CACHE_DIR": "https://u:pw@host/x", "PYTHONHASHSEED": "0"}
    )  # fmt: skip
    assert found == {
        "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "KERAS_BACKEND": "jax",
        "JAX_COMPILATION_CACHE_DIR": "https://***@host/x", "PYTHONHASHSEED": "0",
    }  # fmt: skip


def test_what_made_the_environment_is_told(tmp_path: Path) -> None:
    assert system.manager("/usr", "/usr") == "system"
    assert system.manager("/opt/python3.11", "/opt/python3.11") == "python"
    venv = tmp_path / "venv"
    venv.mkdir()
    assert system.manager(str(venv), "/usr") == "venv"
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9.1\n")
    assert system.manager(str(venv), "/usr") == "uv"
    conda = tmp_path / "envs" / "x"
    (conda / "conda-meta").mkdir(parents=True)
    assert system.manager(str(conda), str(conda)) == "conda"
    pixi = tmp_path / ".pixi" / "envs" / "default"
    (pixi / "conda-meta").mkdir(parents=True)
    assert system.manager(str(pixi), str(pixi)) == "pixi"
