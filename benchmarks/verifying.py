"""What it costs to run the tour notebook again: verify, plain papermill, nbmake.

Papermill says whether it ran, nbmake too; verify also compares every output
and records the rerun.
"""

from __future__ import annotations

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


def measure(rounds: int = 3) -> list[dict[str, object]]:
    """Return seconds for each tool, and the ratio to plain papermill."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        shutil.copytree(NOTEBOOKS, project, dirs_exist_ok=True)
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "tour"]):
            identity = ["-c", "user.name=b", "-c", "user.email=b@example.com"]
            subprocess.run(["git", *identity, *arguments], cwd=name, check=True)
        environment = {k: v for k, v in os.environ.items() if k != "MLREPRO_STORE"}
        tour = "00-tour.ipynb"
        subprocess.run(
            [BIN / "mlrepro", "record", tour],
            cwd=name, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        tools: dict[str, list[str | Path]] = {
            "papermill": [BIN / "papermill", "--no-progress-bar", tour, "/dev/null"],
            "nbmake": [BIN / "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", tour],
            "mlrepro verify": [BIN / "mlrepro", "verify", tour],
        }  # fmt: skip
        times: dict[str, list[float]] = {tool: [] for tool in tools}
        for _ in range(rounds):
            for tool, command in tools.items():
                start = time.perf_counter()
                done = subprocess.run(
                    command, cwd=name, env=environment, capture_output=True, check=False
                )
                times[tool].append(time.perf_counter() - start)
                if done.returncode:
                    raise SystemExit(f"{tool} failed:\n{done.stderr.decode()[-2000:]}")
    medians = {tool: statistics.median(t) for tool, t in times.items()}
    return [
        {
            "tool": tool,
            "seconds": round(median, 2),
            "ratio to papermill": round(median / medians["papermill"], 2),
        }
        for tool, median in medians.items()
    ]
