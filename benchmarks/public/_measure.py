"""Measure the listed notebooks, and count."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from benchmarks.public._listed import Listed, listed, packages
from benchmarks.public._obtain import ROOT, Checkouts, environment

RESULTS = ROOT / "artifacts" / "public"
VERDICTS = ("reproduced", "different", "failed", "inconclusive")
LONGEST = 1500.0
"""Seconds after which a notebook's process counts as hung: far beyond what its limits add up to."""


def measure(only: Sequence[str] = ()) -> list[dict[str, object]]:
    """Return a row for each judged verdict, and one for all; of `only` what patterns find."""
    options = _options()
    chosen = [
        one for one in listed() if not only or any(re.search(part, one.name) for part in only)
    ]
    found = _results(chosen, options)
    for line in _table(chosen, found):
        print(line)
    for line in _confusion(chosen, found):
        print(line)
    rows = [_row(name, chosen, found) for name in (*VERDICTS, "all")]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(
        {"rows": rows, "notebooks": [{"notebook": one.name, **_judged(one, found[one.name])}
                                     for one in chosen]}, indent=1
    ))  # fmt: skip
    return rows


def _options() -> argparse.Namespace:
    default = Path(tempfile.gettempdir()) / f"mlrepro-public-{os.getuid()}"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run public")
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    parser.add_argument("--kept", action="store_true", help="count what was measured, run nothing")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--mirrors", default=os.environ.get("MLREPRO_PUBLIC_MIRRORS"))
    parser.add_argument("--scratch", type=Path, default=default)
    return parser.parse_known_args(sys.argv[1:])[0]


# --- measuring


def _results(chosen: list[Listed], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    kept = RESULTS / "notebooks"
    kept.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Any]] = {}
    missing = []
    for one in chosen:
        path = kept / f"{_slug(one)}.json"
        if path.exists() and not options.again:
            found[one.name] = json.loads(path.read_text())
        elif options.kept:
            found[one.name] = {"missing": "not measured"}
        else:
            missing.append(one)
    if not missing:
        return found
    python = environment(options.scratch, packages())
    mirrors = Path(options.mirrors) if options.mirrors else None
    checkouts = Checkouts(options.scratch, mirrors)
    free: SimpleQueue[int] = SimpleQueue()
    for use in range(options.jobs):
        free.put(use)
    lock = threading.Lock()

    def work(one: Listed) -> None:
        with _taken(free) as use:
            result = _measured(one, checkouts, use, python)
        with lock:
            found[one.name] = result
            if "missing" not in result:
                (kept / f"{_slug(one)}.json").write_text(json.dumps(result))
            done = _judged(one, result)
            print(f"{done['mark']:8} {one.name}: {done['verdict']}, {done['causes']}",
                  file=sys.stderr, flush=True)  # fmt: skip

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, missing))
    return found


@contextlib.contextmanager
def _taken(free: SimpleQueue[int]) -> Iterator[int]:
    use = free.get()
    try:
        yield use
    finally:
        free.put(use)


def _measured(one: Listed, checkouts: Checkouts, use: int, python: Path) -> dict[str, Any]:
    place = checkouts.get(one.repository, one.commit, use)
    if place is None or not (place / one.path).is_file():
        return {"missing": "the repository or the file cannot be had"}
    variables = {k: v for k, v in os.environ.items() if not k.startswith("MLREPRO_")}
    variables["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen(
        [str(python), "-m", "benchmarks.public._one", str(place), one.path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables,
        start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    try:
        said, wrong = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        _end(process)
        return {"hung": True}
    if process.returncode:
        return {"crashed": wrong[-2000:]}
    return json.loads(said.splitlines()[-1])


def _end(process: subprocess.Popen[str]) -> None:
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.kill()
    process.wait()


def _slug(one: Listed) -> str:
    return re.sub(r"[^\w.+-]+", "_", f"{one.repository}_{one.commit[:8]}_{one.path}")


# --- judging


def _judged(one: Listed, result: dict[str, Any]) -> dict[str, Any]:
    """Return what the tools said of a notebook, and whether it is right."""
    from mlrepro_nb.model import REPRODUCED

    done = result.get("verification")
    if done is None:
        verdict = next((k for k in ("missing", "hung", "crashed") if k in result), "none")
    else:
        verdict = "reproduced" if done["verdict"] in REPRODUCED else done["verdict"]
    kinds = list(dict.fromkeys(cause["kind"] for cause in (done or {}).get("causes", ())))
    cells = {cause["cell"] for cause in (done or {}).get("causes", ())
             if one.causes and cause["kind"] == one.causes[0]}  # fmt: skip
    broken = bool(one.causes)
    main = not broken or (one.causes[0] in kinds and (one.cell is None or one.cell in cells))
    allowed = {*one.causes, *one.also}
    # Of what agrees, a cause says only what has changed all the same.
    wrong = [kind for kind in kinds if kind not in allowed] if verdict != "reproduced" else []
    missed = [kind for kind in one.causes if kind not in kinds]
    right = verdict == one.verdict
    after = (result.get("repair") or {}).get("after")
    return {
        "expected": one.verdict, "verdict": verdict, "right": right,
        "expected causes": list(one.causes), "causes": kinds, "main": right and main,
        "exact": right and main and not wrong and not missed, "wrong causes": wrong,
        "missed causes": missed, "after": after, "missing": verdict == "missing",
        "runs after": after is not None and after != "failed",
        "holds after": after in REPRODUCED,
        "papermill": (result.get("papermill") or {}).get("said"),
        "mark": "-" if verdict == "missing" else "ok" if right and main and not wrong
        else "CAUSE" if right else "VERDICT",
    }  # fmt: skip


def _row(name: str, chosen: list[Listed], found: dict[str, dict[str, Any]]) -> dict[str, object]:
    some = [one for one in chosen if name in ("all", one.verdict)]
    judged = [_judged(one, found[one.name]) for one in some]
    had = [j for j in judged if not j["missing"]]
    broken = [j for j in had if j["expected causes"]]
    return {
        "judged": name,
        "notebooks": len(had),
        "not had": len(judged) - len(had),
        "verdict right": sum(j["right"] for j in had),
        "main cause right": f"{sum(j['main'] for j in broken)}/{len(broken)}",
        "all causes right": f"{sum(j['exact'] for j in broken)}/{len(broken)}",
        "false alarms": sum(j["expected"] == "reproduced" and not j["right"] for j in had),
        "misses": sum(j["verdict"] == "reproduced" and not j["right"] for j in had),
        "crashes, hangs": sum(j["verdict"] in ("crashed", "hung") for j in had),
        "no verdict": sum(j["verdict"] == "none" for j in had),
        "run after fix": f"{sum(j['runs after'] for j in broken)}/{len(broken)}",
        "hold after fix": f"{sum(j['holds after'] for j in broken)}/{len(broken)}",
        "papermill ran": sum(j["papermill"] == "ran" for j in had),
    }


def _table(chosen: list[Listed], found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Say what is not as it was judged."""
    yield "\nNot as judged\n"
    for one in chosen:
        j = _judged(one, found[one.name])
        if j["mark"] in ("CAUSE", "VERDICT"):
            yield (f"{j['mark']:8}{one.name}\n        {j['expected']} {j['expected causes']}, "
                   f"found {j['verdict']} {j['causes']}")  # fmt: skip


def _confusion(chosen: list[Listed], found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Say how often each main cause was found, and what was named instead."""
    yield "\nMain causes: judged, found, named instead\n"
    of: dict[str, list[dict[str, Any]]] = {}
    for one in chosen:
        j = _judged(one, found[one.name])
        if one.causes and not j["missing"]:
            of.setdefault(one.causes[0], []).append(j)
    for kind, some in sorted(of.items()):
        instead = Counter(w for j in some if not j["main"] for w in j["causes"] or [j["verdict"]])
        yield (f"{kind:22}{len(some):4}{sum(j['main'] for j in some):4}  "
               + ", ".join(f"{k} {n}" for k, n in instead.most_common()))  # fmt: skip
