"""Notebooks recorded on a machine with an NVIDIA GPU.

Where there is none, a run of CI (which skips nothing) does not collect these tests, and
everyone else's skips them; MLREPRO_REQUIRE=gpu makes a missing GPU a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mlrepro_nb.model import Record, decode
from mlrepro_nb.store import Store

REQUIRED = os.environ.get("MLREPRO_REQUIRE", "").split(",")
ON_GPU = Path("/dev/nvidiactl").exists()
MLREPRO = "from mlrepro_nb.faces.cli import main; main()"

if not ON_GPU and any(REQUIRED) and "gpu" not in REQUIRED:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def gpu() -> None:
    """An NVIDIA GPU that answers."""
    if not ON_GPU:
        reason = "gpu: there is no NVIDIA GPU (see tests/gpu/README.md)"
        if "gpu" in REQUIRED:
            pytest.fail(f"required but missing: {reason}")
        pytest.skip(reason)


class Run:
    """What came of recording a notebook."""

    def __init__(self, done: subprocess.CompletedProcess[str], folder: Path) -> None:
        self.done, self.folder = done, folder

    @property
    def record(self) -> Record:
        """The record that was kept."""
        store = Store.find(self.folder)
        digest = store.latest_record("n.ipynb")
        assert digest is not None, self.done.stderr
        record = decode(Record, store.blobs.get(digest))
        print(json.dumps(json.loads(store.blobs.get(digest))["hardware"], indent=1))  # for -rP
        print(record.lineage.gaps, record.environment.cuda)
        return record

    def text(self, cell: int) -> str:
        """Return what a cell of the executed notebook printed."""
        nb = nbformat.read(self.folder / "out.ipynb", as_version=4)
        return "".join(output.get("text", "") for output in nb.cells[cell].outputs)


@pytest.fixture
def recorded(repository: Path) -> Callable[..., Run]:
    """Write a notebook of these cells and record it with ``mlrepro record``."""
    folder = repository

    def run(*cells: str, **environment: str) -> Run:
        nb: Any = nbformat.v4.new_notebook()
        nb.metadata["kernelspec"] = {"name": "python3", "display_name": "P", "language": "python"}
        nb.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nb, folder / "n.ipynb")
        done = subprocess.run(
            [sys.executable, "-c", MLREPRO, "record", "n.ipynb", "-o", "out.ipynb"],
            cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        )  # fmt: skip
        print(done.stdout, done.stderr)
        return Run(done, folder)

    return run
