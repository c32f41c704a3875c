"""Images of one notebook's model: both of our builders, MLflow, BentoML, repo2docker.

The notebook trains a small scikit-learn model and logs it. Every tool starts from the
same base image, has a warm cache of wheels, and builds four times: cold (nothing else is
there), after a change of the code that trains the same model, after one that trains another,
and with one distribution more. Timed is the whole command, from its start: until the image is
built, and until it is in a registry. The peers' Dockerfiles are built by the BuildKit that
ours are built by. Tools take turns in each state, so that a busy machine slows all of them.
One that does not run here says why.

``python -m benchmarks.run building --only oci-job,mlflow`` measures some of them;
MLREPRO_ROUNDS=5 takes the median of five rounds, MLREPRO_STATES=cold builds in that state
alone. Needs ``tests/cluster/up`` (engine,
registry, base, buildkit).
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.building._ours import TOOLS as OURS
from benchmarks.building._peers import TOOLS as PEERS
from benchmarks.building._tool import Built, State, Tool, prepared
from mlrepro_nb.errors import MlreproError

ROUNDS = int(os.environ.get("MLREPRO_ROUNDS", "2"))
Row = dict[str, object]
_ALL = {"cold": "cold", "code": "code changed", "model": "another model",
        "more": "one more dependency"}  # fmt: skip
_HEADS = {
    state: _ALL[state] for state in os.environ.get("MLREPRO_STATES", ",".join(_ALL)).split(",")
}
_TARGETS = "targets: cold 3x; code changed 1 s without an engine and 3 s with one"


def measure(only: Sequence[str] = ()) -> list[Row]:
    """Return seconds, compressed size and number of files for each tool, and the ratios."""
    known: dict[str, Callable[[Path, str], Tool]] = {**OURS, **PEERS}
    if unknown := set(only) - known.keys():
        raise SystemExit(f"No tool is called {', '.join(unknown)}; there are {', '.join(known)}.")
    refused: dict[str, str] = {}
    tools: dict[str, Tool] = {}
    found: dict[str, dict[str, list[Built]]] = {}
    with tempfile.TemporaryDirectory(prefix="building-") as name:
        scratch = Path(name)
        base = prepared(scratch)
        for name, make in known.items():
            if only and name not in only:
                continue
            try:
                tools[name] = make(scratch, base)
                tools[name].warm()
                found[name] = {state: [] for state in _HEADS}
            except _FAILURES as error:
                refused[name] = _why(error)
            print(f"{name}: {refused.get(name, 'is ready')}", file=sys.stderr, flush=True)
        for number in range(ROUNDS):
            for state in _HEADS:
                for name in [n for n in found if n not in refused]:
                    try:
                        built = tools[name].build(State(name=state, round=number))
                    except _FAILURES as error:
                        refused[name] = _why(error)
                        print(f"{name}: {refused[name]}", file=sys.stderr, flush=True)
                        continue
                    found[name][state].append(built)
                    print(f"{name} {state}: {built}", file=sys.stderr, flush=True)
        rows = {n: _row(tools[n], builds) for n, builds in found.items() if n not in refused}
    peers = [rows[name] for name in PEERS if name in rows]
    ratios = [_ratios(rows[name], peers) for name in OURS if name in rows and peers]
    heads = list(next(iter(rows.values()), {"tool": ""}))
    whys: list[Row] = [{"tool": f"{n} does not run here: {why}"} for n, why in refused.items()]
    told: list[Row] = [*rows.values(), *ratios, *whys, {"tool": _TARGETS}]
    return [{head: row.get(head, "") for head in heads} for row in told]


_UNREACHABLE = r"(?i)not resolve|failure in name|failure resolving|no such host"
_FAILURES = (subprocess.CalledProcessError, OSError, RuntimeError, MlreproError)


def _why(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    said = said.decode(errors="replace") if isinstance(said, bytes) else said
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["?"]
    # A host that has no address here is the cause of whatever is said after it.
    unreachable = [line for line in lines if re.search(_UNREACHABLE, line)]
    named = [line for line in lines if "rror" in line]
    return (unreachable[:1] or named[-1:] or lines[-1:])[0][:160]


def _row(tool: Tool, builds: dict[str, list[Built]]) -> Row:
    row: Row = {"tool": tool.title, "kind": tool.kind}
    for state, head in _HEADS.items():
        row[f"{head}, s"] = round(statistics.median(b.built for b in builds[state]), 2)
        row[f"{head}, in the registry, s"] = round(
            statistics.median(b.pushed for b in builds[state]), 2
        )
    last = next(iter(builds.values()))[-1]
    return {**row, "MB compressed": round(last.size / 1e6), "files": last.files}


def _ratios(ours: Row, peers: list[Row]) -> Row:
    """Return how many times as much the best peer takes, column by column."""
    row: Row = {"tool": f"best peer / {ours['tool']}", "kind": ours["kind"]}
    for head, value in ours.items():
        if isinstance(value, int | float):
            best = min(float(str(peer[head])) for peer in peers)
            row[head] = f"{best / max(value, 0.01):.1f}x"
    return row
