"""What is held still in a kernel's process, and that two processes then agree."""

import subprocess
import sys

from mlrepro_nb.verify import differential
from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.differential import hold

_CODE = """
import datetime, os, random, secrets, time, uuid
import numpy as np, pandas as pd
from concurrent.futures import ThreadPoolExecutor
print(random.random(), random.Random().random(), np.random.rand(), np.random.default_rng().random())
print(uuid.uuid4(), uuid.uuid1(), secrets.token_hex(4), os.urandom(4))
print(datetime.datetime.now(), datetime.date.today(), time.time(), time.strftime('%Y-%m-%d'))
print(pd.Timestamp.now(), pd.Timestamp(2020, 1, 1), isinstance(pd.Timestamp(0), datetime.datetime))
print(repr(datetime.datetime(2020, 1, 1)), list({'a', 'b', 'c', 'd', 'e'}))
print(os.listdir(FOLDER), [e.name for e in os.scandir(FOLDER)])
print(ThreadPoolExecutor(4)._max_workers)
print('monotonic', time.monotonic() < time.monotonic())
"""


def case(folder):
    return Case({}, record=None, rerun=None, root=folder, folder=folder, notebook=folder / "a")


def out(folder, held):
    import os

    # As a kernel does it: its configuration is no part of the user's code.
    start = f"exec(compile({held.startup!r}, 'config', 'exec'), {{}})"
    code = f"{start}\nFOLDER = {str(folder)!r}\n{_CODE}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, **held.variables},
    )  # fmt: skip
    return done.stdout


def test_with_all_held_two_processes_give_the_same(tmp_path):
    for name in "cab":
        (tmp_path / name).touch()
    every = ("seeds", "entropy", "clock", "hash-seed", "listing", "one-thread")
    one, other = (out(tmp_path, hold(every, case(tmp_path))) for _ in range(2))
    assert one == other
    assert "2020-01-01 00:00:00" in one, "the clock that nobody knows better stands somewhere"
    assert "['a', 'b', 'c'] ['a', 'b', 'c']\n1\nmonotonic True" in one


def test_what_is_not_held_stays_real(tmp_path):
    one, other = (out(tmp_path, hold(("clock",), case(tmp_path))).splitlines() for _ in range(2))
    assert one[0] != other[0]
    assert one[1] != other[1]
    assert one[2] == other[2]


def test_literals_that_stand_for_the_time_are_replaced(tmp_path):
    held = hold(("clock",), case(tmp_path))
    assert held.source("np.datetime64('now')") == "np.datetime64('2020-01-01T00:00:00')"
    assert held.source('pd.Timestamp("today", tz=1)') == "pd.Timestamp('2020-01-01', tz=1)"
    assert held.source("'now'") == "'now'"
    assert hold((), case(tmp_path)) == differential.Held()
