"""The other Pythons that are here: a notebook is recorded there, its workers too, and verified."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import nbformat.v4 as v4
import pytest

from tests.capture.pools import POOLS
from tests.conftest import needed

ROOT = Path(__file__).parents[2]
OTHERS = [
    f"3.{minor}" for minor in range(10, 14) if minor != sys.version_info.minor
]  # of which each has its own importlib, multiprocessing and audit events


def python(version: str) -> Path | None:
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
    return None


@pytest.mark.parametrize("version", OTHERS)
def test_a_notebook_with_workers_is_recorded_and_verified(version: str, tmp_path: Path) -> None:
    interpreter = python(version)
    needed("pythons", interpreter)
    uv = Path(sys.executable).with_name("uv")
    own = tmp_path / "venv"
    subprocess.run([uv, "venv", "-q", "-p", str(interpreter), own], check=True)
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
    cells.append("print(6 * 7)")
    path = project / "n.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells]), path)
    made = told(own, project, "record", "n.ipynb", "--inplace")["record"]
    assert made["environment"]["python"].startswith(version)
    assert [a["repo_path"] for a in made["data"] if a["access"] == "read"] == ["a.csv"]
    assert made["lineage"].get("gaps", []) == []
    # Nothing else explains this: all that could is asked.
    path.write_text(path.read_text().replace("42", "43"))
    found = told(own, project, "verify", "n.ipynb", ends=1)
    assert [(c["kind"], c["cell"]) for c in found["causes"]] == [("edited-output", 7)]


def told(venv: Path, project: Path, *command: str, ends: int = 0) -> dict[str, Any]:
    """Return what a verb prints as JSON."""
    ended = subprocess.run(
        [venv / "bin" / "mlrepro", *command, "--json"],
        cwd=project, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert ended.returncode == ends, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found
