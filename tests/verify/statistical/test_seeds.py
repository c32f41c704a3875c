"""Seeds are varied wherever a notebook sets them, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro_nb.verify.statistical._seeds import (
    apart_from_seeds,
    parameters_apart_from_seeds,
    varying,
)

CODE = """
import random, numpy as np
SEED = 42
N_SEEDS = 5
random_state: int = 3
random.seed(SEED)
a = random.random()
np.random.seed(0)
b = float(np.random.rand())
c = float(np.random.default_rng(1).random())
def train(x, seed=7, *, rate=1):
    return seed, rate
d = train(1)
e = dict(random_state=11, n_estimators=10)
params = {"seed": 5, "depth": 3}
params["bagging_seed"] = 6
f = [np.random.RandomState(s).randint(10**6) for s in range(3)]
g = train(1, seed=None), train(1, seed=True)
import helper
h = helper.drawn()
"""
SHOW = (
    "import json; print(json.dumps([SEED, N_SEEDS, random_state, a, b, c, d, e, params,"
    " [int(v) for v in f], g, h]))"
)


def run(folder: Path, number: int | None) -> list:
    start = varying(number) if number is not None else ""
    cells = f"for cell in {[CODE, SHOW]!r}: shell.run_cell(cell)"
    shell = "from IPython.core.interactiveshell import InteractiveShell as S\nshell = S.instance()"
    done = subprocess.run(
        [sys.executable, "-c", f"{start}\n{shell}\n{cells}"], cwd=folder, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_each_run_has_other_seeds_and_the_same_run_the_same(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(
        "import random\ndef drawn():\n    return random.Random(3).random()\n"
    )
    plain, one, again, other = (run(tmp_path, n) for n in (None, 1, 1, 2))
    assert one == again
    names = ("SEED", "random_state", "a", "b", "c", "f", "h")
    index = (0, 2, 3, 4, 5, 9, 11)
    for name, i in zip(names, index, strict=True):
        assert len({str(found[i]) for found in (plain, one, other)}) == 3, name
    for found in (plain, one, other):
        assert found[1] == 5, "how many seeds there are is none"
        assert found[6][1] == 1
        assert found[7]["n_estimators"] == 10
        assert found[8]["depth"] == 3
        assert found[10] == [[None, 1], [True, 1]]
    for i, key in ((7, "random_state"), (8, "seed"), (8, "bagging_seed")):
        assert len({found[i][key] for found in (plain, one, other)}) == 3, key
    assert len({found[6][0] for found in (plain, one, other)}) == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("np.random.seed(1)", "np.random.seed(2)", True),
        ("train(x, random_state=1)", "train(x, random_state=99)", True),
        ("SEED = 1  # one", "SEED = 2", True),
        ("%mlrepro seed 1", "%mlrepro seed 2", True),
        ("x = 1\n%mlrepro expect x > 0", "x = 1", True),
        ("x = 1", "x = 2", False),
        ("train(x, depth=1)", "train(x, depth=2)", False),
        ("n_seeds = 1", "n_seeds = 2", False),
        ("this is no python", "this is no python!", False),
    ],
)
def test_two_cells_are_the_same_apart_from_seeds(one: str, other: str, same: bool) -> None:
    assert (apart_from_seeds(one) == apart_from_seeds(other)) is same


def test_a_parameter_that_is_a_seed_is_none_of_the_experiments() -> None:
    assert parameters_apart_from_seeds({"seed": 1, "rng_seed": 2, "depth": 3}) == {"depth": 3}
