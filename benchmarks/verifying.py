"""What it costs to run notebooks again: verify beside papermill, nbmake and nbval, in one run.

Papermill says whether it ran, nbmake too; nbval compares exactly; verify also attributes
what differs and records the rerun. `ratio` is to the peer of the same task that is named
first: plain papermill for one notebook, `pytest --nbmake -n 2` for several.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
BIN = Path(sys.executable).parent
SEVERAL = 8

_CELLS = (
    "import collections, json, math, statistics\nvalues = [math.sin(n / {k}) for n in range(5000)]",
    "print(round(statistics.fmean(values), 9))",
    "collections.Counter(round(v, 1) for v in values).most_common(3)",
    "sorted({{round(v, 3) for v in values}})[:5]",
    "json.dumps({{'n': len(values), 'k': {k}}}, sort_keys=True)",
)  # fmt: skip


def measure(rounds: int = 3) -> list[dict[str, object]]:
    """Return seconds for each tool, and the ratio to the first peer."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        shutil.copytree(NOTEBOOKS, project, dirs_exist_ok=True)
        several = _several(project / "several")
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "tour"]):
            identity = ["-c", "user.name=b", "-c", "user.email=b@example.com"]
            subprocess.run(["git", *identity, *arguments], cwd=name, check=True)
        environment = {k: v for k, v in os.environ.items() if k != "MLREPRO_STORE"}
        tour = "00-tour.ipynb"
        _run([BIN / "mlrepro", "record", tour], name, environment)
        # What is stored is what a clean run gives, for nbval compares exactly.
        for notebook in several:
            _run([BIN / "papermill", "--no-progress-bar", notebook, notebook], name, environment)
        one = _timed(_one(tour), name, environment, rounds)
        many = _timed(_many(several), name, environment, rounds)
    return [*_rows("one notebook", one), *_rows(f"{SEVERAL} notebooks, 2 cores", many)]


def _one(notebook: str) -> dict[str, list[str | Path]]:
    pytest: list[str | Path] = [BIN / "pytest", "-q", "-p", "no:cacheprovider"]
    return {
        "papermill": [BIN / "papermill", "--no-progress-bar", notebook, os.devnull],
        "nbmake": [*pytest, "--nbmake", notebook],
        "mlrepro verify": [BIN / "mlrepro", "verify", "-q", notebook],
    }


def _many(notebooks: list[str]) -> dict[str, list[str | Path]]:
    pytest: list[str | Path] = [BIN / "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"]
    tools: dict[str, list[str | Path]] = {"nbmake -n 2": [*pytest, "--nbmake", *notebooks]}
    if importlib.util.find_spec("nbval") is not None:
        tools["nbval -n 2"] = [*pytest, "--dist", "loadscope", "--nbval", *notebooks]
    tools["mlrepro verify -j 2"] = [BIN / "mlrepro", "verify", "-q", "-j", "2", *notebooks]
    return tools


def _several(folder: Path) -> list[str]:
    """Write notebooks without outputs and return their names."""
    folder.mkdir()
    names = []
    for k in range(1, SEVERAL + 1):
        cells = [
            {"cell_type": "code", "id": f"c{i}", "source": source.format(k=k), "metadata": {},
             "outputs": [], "execution_count": None}
            for i, source in enumerate(_CELLS)
        ]  # fmt: skip
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}}
        (folder / f"n{k}.ipynb").write_text(json.dumps({**document, "cells": cells}))
        names.append(f"several/n{k}.ipynb")
    return names


def _timed(
    tools: dict[str, list[str | Path]], folder: str, environment: dict[str, str], rounds: int
) -> dict[str, float]:
    times: dict[str, list[float]] = {tool: [] for tool in tools}
    for _ in range(rounds):
        for tool, command in tools.items():
            start = time.perf_counter()
            _run(command, folder, environment)
            times[tool].append(time.perf_counter() - start)
    return {tool: statistics.median(taken) for tool, taken in times.items()}


def _run(command: list[str | Path], folder: str, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).decode()[-2000:]
        raise SystemExit(f"{command[0]} failed:\n{said}")


def _rows(what: str, medians: dict[str, float]) -> list[dict[str, object]]:
    first = next(iter(medians.values()))
    return [
        {"what": what, "tool": tool, "seconds": round(median, 2), "ratio": round(median / first, 2)}
        for tool, median in medians.items()
    ]
