"""What recording costs a cell, against a plain kernel.

Kernels with and without the extension are alive at once and run the same cells
in turn, so that noise of the machine falls on both.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

CELLS = {
    "trivial": "x = 1",
    "prints": "print('a line')",
    "reads a file": "_ = open('data.csv').read()",
    "numpy, 5 ms": "_ = numpy.sort(generator.random(400_000))",
    "pandas": "_ = pandas.read_csv('data.csv').describe()",
}
SETUP = "import numpy, pandas; generator = numpy.random.default_rng(1)"


class _Kernel:
    def __init__(self, folder: Path, *setup: str) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3", cwd=str(folder))
        for source in (*setup, SETUP):
            self.run(source)

    def run(self, source: str) -> float:
        start = time.perf_counter()
        reply: dict[str, Any] = self.client.execute_interactive(
            source, timeout=60, output_hook=lambda message: None
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return time.perf_counter() - start

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def measure(rounds: int = 60) -> list[dict[str, object]]:
    """Return, for each kind of cell, milliseconds a cell without and with recording."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "init", "-q", name], check=True)
        (folder / "data.csv").write_text("a,b\n" + "1,2\n" * 1000)
        plain = _Kernel(folder)
        recorded = _Kernel(folder, "%load_ext mlrepro_nb")
        try:
            for cell, source in CELLS.items():
                times: dict[_Kernel, list[float]] = {plain: [], recorded: []}
                for turn in range(rounds):
                    pair = (plain, recorded) if turn % 2 else (recorded, plain)
                    for kernel in pair:
                        times[kernel].append(kernel.run(source) * 1000)
                without, with_ = (statistics.median(t) for t in times.values())
                rows.append(
                    {
                        "cell": cell,
                        "plain kernel, ms": round(without, 2),
                        "recorded, ms": round(with_, 2),
                        "added, ms": round(with_ - without, 2),
                        "ratio": round(with_ / without, 2),
                    }
                )
        finally:
            plain.stop()
            recorded.stop()
    return rows
