"""The arrows point down, and importing the package costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

HEAVY = {
    "IPython", "anywidget", "ipykernel", "ipywidgets", "jupyter_client", "kubernetes", "mlflow",
    "nbclient", "nbformat", "numpy", "pandas", "papermill", "requests", "rich", "sqlite3",
}  # fmt: skip


def test_every_import_points_down() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module", ["mlrepro_nb", "mlrepro_nb.model", "mlrepro_nb.errors", "mlrepro_nb.faces.cli"]
)
def test_importing_loads_no_heavy_library(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert HEAVY.isdisjoint(loaded)
