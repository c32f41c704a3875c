"""``make bench``: run the benchmarks and print their tables."""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module

BENCHMARKS = {
    "building": "Images of one notebook's model, beside the peers'",
    "comparing": "Comparing outputs: megabytes a second",
    "hashing": "Identities of files",
    "parity": "nbval's and nbmake's own notebooks under our pytest plugin",
    "recording": "Recording: milliseconds a cell, beside the peers' kernels",
    "recording_notebooks": "Recording: whole notebooks, beside the peers' kernels",
    "recording_public": "Recording: real public ML notebooks, beside the peers' kernels",
    "watches": "Recording: where the time of a trivial cell goes",
    "attributing": "Causes: recall, accuracy, false alarms, repairs over the planted faults",
    "verifying": "Running the tour notebook again",
    "public": "Real public notebooks: verdicts, causes and fixes, beside plain papermill",
}

WHEN_NAMED = {"public", "recording_public"}
"""Those that take an hour, or what only some machines have."""


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all; ``--json`` prints the rows instead of tables.

    ``--only A,B`` is for those that measure several tools.
    """
    # What unwinds takes its kernels and its folders with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    as_json = "--json" in names
    only = names[names.index("--only") + 1].split(",") if "--only" in names else []
    # Without bytecode most of what is measured is a compiler's time, on either side.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    chosen = [name for name in names if name in BENCHMARKS]
    chosen = chosen or [name for name in BENCHMARKS if name not in WHEN_NAMED]
    results = {}
    for name in chosen:
        rows = import_module(f"benchmarks.{name}").measure(**({"only": only} if only else {}))
        results[name] = rows
        if not as_json:
            print(f"\n{BENCHMARKS[name]}\n")
            _table(rows)
    if as_json:
        print(json.dumps(results, indent=2))


def _table(rows: list[dict[str, object]]) -> None:
    heads = list(rows[0])
    cells = [[str(row[head]) for head in heads] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, ["-" * width for width in widths], *cells):
        print("| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
