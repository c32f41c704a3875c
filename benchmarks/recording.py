"""What recording costs a cell, against a plain kernel and the peers' kernels.

All kernels are alive at once and run the same cell in turn, so that noise of the
machine falls on each alike. The clock shows a whole round trip, of which the
machine's scheduler is the larger part; the CPU time of the kernel's main thread,
which runs the cells, is what recording takes from them, and hardly noisy.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.kernels import MODULES, Kernel, start

CELLS = {
    "trivial": "x = 1",
    "prints": "print('a line')",
    "reads a file": "_ = open('data.csv').read()",
    "numpy, 5 ms": "_ = numpy.sort(generator.random(400_000))",
    "pandas": "_ = pandas.read_csv('data.csv').describe()",
}
SETUP = "import numpy, pandas; generator = numpy.random.default_rng(1)"


def measure(rounds: int = 100) -> list[dict[str, object]]:
    """Return, for each kind of cell and kernel, milliseconds a cell."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "init", "-q", name], check=True)
        (folder / "data.csv").write_text("a,b\n" + "1,2\n" * 1000)
        kernels, silent = start(list(MODULES), folder)
        try:
            for kernel in kernels.values():
                kernel.run(SETUP)
            for cell, source in CELLS.items():
                rows += _rows(cell, source, list(kernels.values()), rounds)
        finally:
            for kernel in kernels.values():
                kernel.stop()
    rows += [{**dict.fromkeys(rows[0], ""), "cell": why, "kernel": k} for k, why in silent.items()]
    return rows


def _rows(cell: str, source: str, kernels: list[Kernel], rounds: int) -> list[dict[str, object]]:
    for kernel in kernels:
        for _ in range(10):
            kernel.run(source)
    wall: dict[str, list[float]] = {kernel.kind: [] for kernel in kernels}
    cpu = {kernel.kind: 0.0 for kernel in kernels}
    for turn in range(rounds):
        for kernel in kernels[turn % len(kernels) :] + kernels[: turn % len(kernels)]:
            before = kernel.main_thread_cpu()
            wall[kernel.kind].append(kernel.run(source) * 1000)
            cpu[kernel.kind] += (kernel.main_thread_cpu() - before) * 1000 / rounds
    plain, plain_cpu = statistics.median(wall["plain ipykernel"]), cpu["plain ipykernel"]
    return [
        {
            "cell": cell,
            "kernel": kind,
            "round trip, ms": f"{statistics.median(times):.2f}",
            "added, ms": f"{statistics.median(times) - plain:.2f}",
            "ratio": f"{statistics.median(times) / plain:.2f}",
            "main thread, ms": f"{cpu[kind]:.2f}",
            "added CPU, ms": f"{cpu[kind] - plain_cpu:.2f}",
        }
        for kind, times in wall.items()
    ]
