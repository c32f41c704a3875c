"""One notebook, in a process of its own: papermill, `verify_many`, and the proposed fix.

Started as ``python -m benchmarks.public._one CHECKOUT PATH``; prints JSON. No notebook that runs
here has a network; what a fix requires is installed from the package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CELL, TOTAL = 60.0, 150.0
RERUNS = 2
"""More runs of a notebook to tell its causes: there are many notebooks."""
MEMORY, SCRATCH, PROCESSES = 4 << 30, 2 << 30, 200


def main(checkout: str, path: str) -> None:
    """Measure one notebook and print what came of it."""
    notebook = Path(checkout) / path
    with tempfile.TemporaryDirectory(prefix="mlrepro-public-") as folder:
        found = _verified(notebook, Path(folder))
        found |= _repaired(notebook, found)
        # Last, for it runs where the notebook lies.
        found |= _papermill(notebook, Path(folder))
    print(json.dumps(found))


def _verified(notebook: Path, folder: Path) -> dict[str, Any]:
    import msgspec

    from mlrepro_nb.execute import Limits
    from mlrepro_nb.verify import Task, verify_many

    limits = Limits(memory=MEMORY, scratch=SCRATCH, processes=PROCESSES, offline=True)
    task = Task(
        target=str(notebook), output=str(folder / "executed.ipynb"), timeout=CELL,
        total_timeout=TOTAL, limits=limits, evidence=True, reruns=RERUNS,
    )  # fmt: skip
    begun = time.monotonic()
    (outcome,) = verify_many([task], jobs=1)
    told: dict[str, Any] = {
        "seconds": round(time.monotonic() - begun, 1),
        "problem": msgspec.to_builtins(outcome.problem),
    }
    if outcome.verification is not None:
        told["verification"] = msgspec.to_builtins(outcome.verification)
        told["evidence"] = msgspec.to_builtins(outcome.evidence)
    return told


def _repaired(notebook: Path, found: dict[str, Any]) -> dict[str, Any]:
    from mlrepro_nb.errors import MlreproError
    from mlrepro_nb.execute import Limits
    from mlrepro_nb.verify import verify_and_repair

    # What ran and gave something else runs already.
    if found.get("verification", {}).get("verdict") != "failed":
        return {}
    limits = Limits(memory=MEMORY, scratch=SCRATCH, processes=PROCESSES, offline=True)
    fixed = notebook.with_name(f"{notebook.stem}.fixed.ipynb")  # where its files are
    try:
        done = verify_and_repair(
            notebook,
            output=fixed,
            timeout=CELL,
            total_timeout=TOTAL,
            limits=limits,
            reruns=0,  # an exception is told from one run
            index=True,
        )
    except MlreproError as error:
        return {"repair": {"problem": error.message}}
    finally:
        fixed.unlink(missing_ok=True)
    return {"repair": {
        "edits": [f"{edit.cause}: {edit.action}" for edit in done.edits],
        "refused": [refusal.cause for refusal in done.refused],
        "after": done.after.verdict if done.after is not None else None,
    }}  # fmt: skip


def _papermill(notebook: Path, folder: Path) -> dict[str, Any]:
    # `leave` needs a process with one thread, and holds for what that becomes.
    offline = (
        "import os, sys; from mlrepro_nb.execute.nursery.network import leave;"
        "leave(); os.execv(sys.executable, [sys.executable, '-m', 'papermill', *sys.argv[1:]])"
    )
    command = [
        sys.executable, "-c", offline, "--no-progress-bar", "--execution-timeout", str(int(CELL)),
        str(notebook), str(folder / "papermill.ipynb"),
    ]  # fmt: skip
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=notebook.parent, capture_output=True, text=True, check=False,
            timeout=TOTAL * 2,
        )  # fmt: skip
        said = "ran" if done.returncode == 0 else "failed"
        why = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except subprocess.TimeoutExpired:
        said, why = "hung", []
    return {"papermill": {
        "said": said, "why": "".join(why)[:300], "seconds": round(time.monotonic() - begun, 1),
    }}  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
