"""The other Pythons that are here: a notebook whose workers are new interpreters is recorded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest

from tests.capture.pools import POOLS

ROOT = Path(__file__).parents[2]
OTHERS = [
    f"3.{minor}" for minor in range(10, 15) if minor != sys.version_info.minor
]  # of which each has its own importlib, multiprocessing and audit events


def python(version: str) -> Path:
    """Return the interpreter of a version, if there is one."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    found = [*sorted(kept.glob(f"{version}.*/bin/python"))]
    if on_path := shutil.which(f"python{version}"):
        found.append(Path(on_path))
    for candidate in found:
        said = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if said.stdout.strip() == version:
            return candidate
    pytest.skip(f"no Python {version} here")


@pytest.mark.parametrize("version", OTHERS)
def test_workers_are_recorded_and_come_to_their_end(version: str, tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    own = tmp_path / "venv"
    subprocess.run([uv, "venv", "-q", "-p", python(version), own], check=True)
    install = [uv, "pip", "install", "-q", "-p", own / "bin" / "python"]
    subprocess.run([*install, "-e", ROOT, "ipykernel", "joblib"], check=True)
    project = tmp_path / "project"
    project.mkdir()
    subprocess.run(["git", "init", "-q", project], check=True)
    (project / "tasks.py").write_text(
        "def task(n):\n    import colorsys\n    return open('a.csv').read()\n"
    )
    (project / "a.csv").write_text("1\n")
    cells = ["import tasks"]
    for name in ("spawn", "forkserver", "loky"):
        cells += [POOLS[name], "run(tasks.task)"]
    path = project / "n.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells]), path)
    command = [own / "bin" / "mlrepro", "record", "n.ipynb", "--json"]
    ended = subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=180, check=False
    )
    assert ended.returncode == 0, ended.stderr
    made = json.loads(ended.stdout)["record"]
    assert made["environment"]["python"].startswith(version)
    assert [a["repo_path"] for a in made["data"] if a["access"] == "read"] == ["a.csv"]
    assert made["lineage"].get("gaps", []) == []
