"""How often causes are right: the corpus of planted faults, and harmless notebooks.

No sanitize rules. ``MLREPRO_CORPUS=prefix`` takes the cases whose names begin so.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "verify"))


def measure() -> list[dict[str, object]]:
    """Return a row for each kind of fault, and one for all."""
    from corpus import build
    from reference import ReferenceKernel, plant

    from mlrepro_nb.model import REPRODUCED
    from mlrepro_nb.verify import verify_and_repair

    os.environ.pop("MLREPRO_STORE", None)
    wanted = os.environ.get("MLREPRO_CORPUS", "")
    rows: dict[str, dict[str, float]] = {}
    kernel = ReferenceKernel()
    try:
        for fault in build():
            if not fault.name.startswith(wanted):
                continue
            row = rows.setdefault(fault.name.partition("/")[0], dict.fromkeys(_COUNTED, 0))
            with tempfile.TemporaryDirectory() as folder:
                path = plant(fault, Path(folder), kernel)
                begun = time.monotonic()
                done = verify_and_repair(path)
            found = done.before
            named = {(cause.kind, cause.cell) for cause in found.causes}
            expected = {fault.expect, *fault.also} - {None}
            row["cases"] += 1
            row["found"] += bool(expected) and found.verdict not in REPRODUCED
            row["cause right"] += bool(expected) and expected == named
            row["false alarms"] += not expected and (bool(named) or found.verdict not in REPRODUCED)
            row["repaired"] += done.after is not None and done.after.verdict in REPRODUCED
            row["extra runs"] += len(found.trials)
            row["seconds"] += time.monotonic() - begun
    finally:
        kernel.close()
    rows["all"] = {name: sum(row[name] for row in rows.values()) for name in _COUNTED}
    return [
        {"fault": kind, **{n: int(v) if n != "seconds" else round(v, 1) for n, v in row.items()}}
        for kind, row in rows.items()
    ]


_COUNTED = (
    "cases", "found", "cause right", "false alarms", "repaired", "extra runs", "seconds",
)  # fmt: skip
