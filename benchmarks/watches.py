"""What each part of the recorder costs a cell that touches no data: microseconds.

Counted in a real kernel, in the CPU time of the thread that runs the cells.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from benchmarks.kernels import Kernel, interpreter

_SPY = """
import time as _time
from mlrepro_nb.capture.watch import Watch as _Watch
from mlrepro_nb.faces import magics as _magics
_recorder, _spent, _depth = _magics._state.recorder, {}, [0]
def _timed(owner, name, label):
    original = getattr(owner, name)
    def timed(*args, **kwargs):
        begun, inner = _time.thread_time_ns(), _depth[0]
        try:
            return original(*args, **kwargs)
        finally:
            # What is emitted within is counted as emitted.
            taken = _time.thread_time_ns() - begun - (_depth[0] - inner)
            _depth[0] = inner + taken + (_depth[0] - inner)
            _spent[label] = _spent.get(label, 0) + taken
    setattr(owner, name, timed)
for _watch in _recorder.watches:
    for _name in ("cell_begins", "cell_ends", "cell_ended", "after_cell"):
        if getattr(type(_watch), _name) is not getattr(_Watch, _name):
            _timed(_watch, _name, f"{type(_watch).__name__}.{_name}")
_timed(_recorder, "emit", "writing the journal")
_timed(_recorder, "_begin", "the recorder, a cell's start")
_timed(_recorder, "_ended", "the recorder, a cell's end")
_timed(_recorder, "_look_back", "the recorder, afterwards")
"""
SETUP = "import numpy, pandas; generator = numpy.random.default_rng(1)"


def measure(rounds: int = 300) -> list[dict[str, object]]:
    """Return microseconds a cell for each watch's methods, and for the recorder's own work."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "init", "-q", name], check=True)
        kernel = Kernel("mlrepro-nb", folder, interpreter())
        try:
            kernel.run(SETUP)
            for source in (_SPY, "x = 1", "_spent.clear()"):
                kernel.run(source)
            for _ in range(rounds):
                kernel.run("x = 1")
            kernel.run("import json; open('spent.json', 'w').write(json.dumps(_spent))")
        finally:
            kernel.stop()
        spent = json.loads((folder / "spent.json").read_text())
    rows: list[dict[str, object]] = [
        {"part": part, "microseconds a cell": f"{taken / 1000 / rounds:.0f}"}
        for part, taken in sorted(spent.items(), key=lambda item: -item[1])
    ]
    total = sum(spent.values()) / 1000 / rounds
    return [*rows, {"part": "in all", "microseconds a cell": f"{total:.0f}"}]
