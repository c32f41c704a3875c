"""What it takes to hold one kind of chance still, or to put back what was recorded."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import msgspec

from mlrepro_nb.model import moment
from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.attribute.environment import recorded_versions

Condition = Literal[
    "seeds",
    "entropy",
    "clock",
    "hash-seed",
    "listing",
    "one-thread",
    "replay",
    "data",
    "environment",
]

_SEED = 20011
_KERNEL = Path(__file__).with_name("_kernel.py")
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS",
)  # fmt: skip
_NOW = re.compile(r"(\b(?:datetime64|Timestamp|to_datetime)\(\s*)(['\"])(now|today)\2(?=\s*[,)])")


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a rerun is given so that conditions hold in it."""

    conditions: tuple[Condition, ...] = ()
    variables: Mapping[str, str] = {}
    startup: str = ""
    now: str | None = None
    """What the literals ``'now'`` and ``'today'`` of pandas and NumPy stand for."""

    order: tuple[int, ...] = ()
    """Cells to run instead of all from the top, by their index in the file, perhaps repeatedly."""

    versions: Mapping[str, str] = {}
    """Distributions that are put in place of those that are installed, with their versions."""

    def source(self, text: str) -> str:
        """Return a cell's source as it is to run."""
        if self.now is None:
            return text
        return _NOW.sub(
            lambda m: f"{m[1]}'{(self.now or '')[: 10 if m[3] == 'today' else None]}'", text
        )


def hold(conditions: Collection[Condition], case: Case) -> Held:
    """Return what makes some conditions hold in a rerun of a case."""
    told: dict[str, object] = {}
    variables: dict[str, str] = {}
    now = None
    for name in conditions:
        if name in ("seeds", "entropy"):
            told[name] = _SEED
        elif name == "clock":
            moments = moments_of(case)
            at = min(moments.values()) if moments else _written(case)
            told[name] = {"moments": {str(n): t for n, t in moments.items()}, "at": at}
            now = datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        elif name == "listing":
            told[name] = "sorted"
        elif name == "one-thread":
            told[name] = True
            variables |= dict.fromkeys(_THREADS, "1")
        elif name == "hash-seed":
            variables["PYTHONHASHSEED"] = _hash_seed(case)
    versions = recorded_versions(case) if "environment" in conditions else {}
    startup = f"\n{_KERNEL.read_text(encoding='utf-8')}\nhold({told!r})\n" if told else ""
    return Held(
        conditions=tuple(sorted(conditions)), variables=variables, startup=startup, now=now,
        versions=versions,
    )  # fmt: skip


def moments_of(case: Case) -> dict[int, float]:
    """Return when each cell ran for the reference, by its execution count in a clean run."""
    found: dict[int, float] = {}
    for count, index in enumerate(sorted(i for i, c in case.cells.items() if c.source.strip()), 1):
        last = case.last_execution(index)
        started = last.started if last is not None else case.cells[index].started
        if started:
            try:
                found[count] = moment(started).timestamp()
            except ValueError:
                continue
    return found


def _written(case: Case) -> float:
    """Return when the notebook was saved: not long after it ran, if nothing better is known."""
    try:
        return float(int((case.folder / case.notebook.name).stat().st_mtime))
    except OSError:
        return 1577836800.0


def _hash_seed(case: Case) -> str:
    recorded = case.record.environment.variables.get("PYTHONHASHSEED") if case.record else None
    return recorded if recorded is not None and recorded.isdecimal() else "0"
