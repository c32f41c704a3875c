"""The program that runs the benchmarks."""

import signal
import subprocess
import sys
from pathlib import Path

STAYS = """
import sys, tempfile, time, types
from pathlib import Path
from benchmarks import run
def measure():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "big").write_text("x")
        print(folder, flush=True)
        time.sleep(60)
sys.modules["benchmarks.hashing"] = types.SimpleNamespace(measure=measure)
run.main(["hashing"])
"""


def test_one_that_is_told_to_end_takes_its_folders_with_it():
    root = Path(__file__).parents[1]
    program = subprocess.Popen(
        [sys.executable, "-c", STAYS], cwd=root, stdout=subprocess.PIPE, text=True
    )
    lines = iter(program.stdout.readline, "")
    folder = Path(next(line for line in lines if line.startswith("/")).strip())
    assert (folder / "big").exists()
    program.send_signal(signal.SIGTERM)
    assert program.wait(timeout=20) == 128 + signal.SIGTERM
    assert not folder.exists()
