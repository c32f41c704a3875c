"""Who drew from what, and was it seeded: asked of real kernels and real libraries."""

# ruff: noqa: E501
from __future__ import annotations

import random
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture.randomness.callers import (
    _library_folders,
    from_clock,
    is_users_file,
)
from mlrepro_nb.model import Entropy, GeneratorUse, Record, Seed
from tests.capture.pools import POOLS
from tests.conftest import framework

LOAD = "%load_ext mlrepro_nb"


def test_whose_file_it_is_is_told_in_the_midst_of_an_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Python 3.13 imports a module for this, and until that is there cannot say.
    monkeypatch.setattr(sysconfig, "get_paths", lambda *_: 1 / 0)
    _library_folders.cache_clear()
    assert not is_users_file(random.__file__)
    assert not is_users_file(subprocess.__file__)
    assert not is_users_file(pytest.__file__)
    assert is_users_file(str(tmp_path / "helpers.py"))


class Told:
    """What a record says of each of some cells."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._what = record.randomness

    def verdict(self, order: int) -> str:
        return self._what.cells[str(order)]

    def uses(self, order: int) -> list[GeneratorUse]:
        return [u for u in self._what.uses if u.execution == order and not u.outside]

    def used(self, order: int) -> dict[str, bool]:
        """Which generators the cell itself drew from, and whether they were seeded."""
        return {u.generator: u.seeded for u in self.uses(order) if u.by is None}

    def seeds(self, order: int) -> list[tuple[str, str, str]]:
        found: list[Seed] = [s for s in self._what.seeds if s.execution == order]
        return [(s.generator, s.value, s.source) for s in found]

    def entropy(self, order: int) -> dict[str, Entropy]:
        return {e.source: e for e in self._what.entropy if e.execution == order and not e.outside}


@pytest.fixture
def told(kernel: Callable) -> Callable[..., Told]:
    """Run cells after the recorder was loaded; the first of them is execution 1."""

    def run(*cells: str, **environment: str) -> Told:
        k = kernel(**environment)
        k.run(LOAD)
        for cell in cells:
            done = k.run(cell)
            assert not done["errors"], (cell, done["errors"])
        k.close()
        return Told(k.record())

    return run


def test_use_is_not_unseeded_use(told: Callable) -> None:
    t = told(
        "import random\nimport numpy as np",
        "random.random(), np.random.rand()",
        "random.seed(3)\nnp.random.seed(4)",
        "random.random(), np.random.rand()",
        "x = 1",
    )
    assert [t.verdict(order) for order in (1, 2, 3, 4, 5)] == [
        "none", "unseeded", "none", "seeded", "none",
    ]  # fmt: skip
    assert t.used(2) == {"random": False, "numpy": False}
    assert t.seeds(3) == [("random", "3", "value"), ("numpy", "4", "value")]
    assert t.uses(3) == [], "to be seeded is no draw"
    assert t.used(4) == {"random": True, "numpy": True}
    first, second = t.uses(2), t.uses(4)
    assert all(u.before != u.after for u in (*first, *second))
    assert t.record.lineage.capture == "complete", t.record.lineage.gaps


def test_a_cell_that_draws_before_it_seeds_is_unseeded(told: Callable) -> None:
    t = told(
        "import random\nrandom.random()\nrandom.seed(1)\nrandom.random()",
        "random.random()\nrandom.seed(1)",
    )
    assert t.used(1) == {"random": False}
    assert t.used(2) == {"random": True}


def test_a_gaussian_from_the_cache_is_a_draw(told: Callable) -> None:
    t = told(
        "import random\nimport numpy as np\nnp.random.seed(0)\nrandom.seed(0)",
        "a = np.random.randn(), random.gauss(0, 1)",
        "b = np.random.randn(), random.gauss(0, 1)",
        "c = 1",
    )
    assert t.used(3) == {"numpy": True, "random": True}
    assert t.uses(4) == []


def test_generators_with_names_are_known_one_by_one(told: Callable) -> None:
    t = told(
        "import random\nimport numpy as np",
        "a = np.random.default_rng(7)\nb = np.random.default_rng()\nc = np.random.RandomState(42)\n"
        "d = np.random.RandomState()\ne = random.Random(5)\nf = random.Random()",
        "a.random(), c.rand(), e.random()",
        "b.random()",
        "d.rand(), f.random()",
        "e.seed(6)\ne.random()",
        "f.seed(1)",
        "f.random()",
        "del a, b, c, d, e, f",
    )
    assert t.uses(2) == [], "to make a generator is no draw"
    assert set(t.entropy(2)) == {"numpy.random", "random.Random()"}
    assert t.entropy(2)["numpy.random"].count == 2, "RandomState(42) is not one of them"
    assert ("numpy.Generator:a", "7", "value") in t.seeds(2)
    assert ("random.Random:e", "5", "value") in t.seeds(2)
    assert t.used(3) == {
        "numpy.Generator:a": True, "numpy.RandomState:c": True, "random.Random:e": True,
    }  # fmt: skip
    assert t.verdict(3) == "seeded"
    assert t.used(4) == {"numpy.Generator:b": False}
    assert t.used(5) == {"numpy.RandomState:d": False, "random.Random:f": False}
    assert t.seeds(6) == [("random.Random:e", "6", "value")]
    assert t.used(8) == {"random.Random:f": True}


def test_generators_inside_of_things(told: Callable, repository: Path) -> None:
    (repository / "settings.py").write_text("import random\nrng = random.Random(8)\n", "utf-8")
    t = told(
        "import random\nimport numpy as np\nimport settings\n"
        "class Model:\n  def __init__(self): self.rng = np.random.default_rng(1)\n"
        "m = Model()\nd = {'rng': np.random.default_rng(2)}\nl = [0, random.Random(3)]",
        "m.rng.random(), d['rng'].random(), l[1].random(), settings.rng.random()",
        "class Sly:\n  def __getattr__(self, name): raise SystemExit\n"
        "  __dict__ = property(lambda self: 1 / 0)\ns = Sly()",
    )
    assert t.used(2) == {
        "numpy.Generator:m.rng": True, "numpy.Generator:d['rng']": True,
        "random.Random:l[1]": True, "random.Random:settings.rng": True,
    }  # fmt: skip
    assert t.record.lineage.gaps == ()


def test_copies_spawned_and_unpickled_generators_are_as_seeded_as_their_originals(
    told: Callable,
) -> None:
    t = told(
        "import copy, pickle, random\nimport numpy as np\n"
        "g = np.random.default_rng(1)\nr = np.random.RandomState(2)\np = random.Random(3)\n"
        "g.random(), r.rand(), p.random()",
        "copies = [copy.deepcopy(x) for x in (g, r, p)]\n"
        "more = [pickle.loads(pickle.dumps(x)) for x in (g, r, p)]\nchild, = g.spawn(1)",
        "[x.random() for x in copies], child.random()",
    )
    assert t.verdict(2) == "none"
    assert t.entropy(2) == {}
    assert all(t.used(3).values())
    assert len(t.used(3)) == 4


def test_entropy_that_the_code_asks_for_is_told_but_never_kept(
    told: Callable, repository: Path
) -> None:
    t = told(
        "import os, random, secrets, uuid",
        "key, identity = secrets.token_hex(16), uuid.uuid4()\nraw = os.urandom(24).hex()\n"
        "sys_ = random.SystemRandom().getrandbits(128)\nopen('out.txt', 'w').write(\n"
        "  '\\n'.join([key, identity.hex, raw, str(sys_), format(sys_, 'x')]))",
    )
    assert set(t.entropy(2)) == {"secrets", "uuid", "os.urandom", "random.SystemRandom"}
    assert not any(e.replayable for e in t.entropy(2).values())
    drawn = (repository / "out.txt").read_text("utf-8").split()
    for path in (repository / ".mlrepro").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in drawn:
            assert secret.encode() not in content, path
    assert t.record.randomness.replay is None


SOURCES = {
    "time": "random.seed(int(time.time()))",
    "time, a float": "random.seed(time.time())",
    "nanoseconds": "random.seed(time.time_ns())",
    "modulo": "np.random.seed(int(time.time() * 1000) % 2**32)",
}


@pytest.mark.parametrize("cell", SOURCES.values(), ids=SOURCES.keys())
def test_a_seed_from_the_clock_is_none(told: Callable, cell: str) -> None:
    t = told("import random, time\nimport numpy as np", cell, "random.random(), np.random.rand()")
    assert [source for _, _, source in t.seeds(2)] == ["clock"]
    assert t.verdict(2) == t.verdict(3) == "unseeded"
    assert not any(t.used(3).values())


def test_a_seed_made_of_entropy_is_none(told: Callable) -> None:
    t = told(
        "import os\nimport numpy as np",
        "np.random.seed(int.from_bytes(os.urandom(4), 'little'))",
        "np.random.rand()",
        "seed = np.random.SeedSequence().entropy\ng = np.random.default_rng(seed)",
        "g.random()",
    )
    assert [source for _, _, source in t.seeds(2)] == ["entropy"]
    assert t.used(3) == {"numpy": False}
    assert t.used(5) == {"numpy.Generator:g": False}


@given(st.integers(0, 10_000_000))
def test_ordinary_seeds_are_not_taken_for_the_clock(seed: int) -> None:
    now = 1_795_420_000.5
    assert not from_clock(seed, now - 3600, now, "")


@given(st.floats(1.6e9, 2.2e9), st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]))
def test_the_time_is_known_in_every_unit(now: float, scale: int) -> None:
    value = int(now * scale)
    assert from_clock(value, now - 1, now, "seed(int(time.time()))")
    assert not from_clock(value, now - 1, now, f"seed({value})"), "spelled out, it is a constant"


def test_states_that_are_put_back(told: Callable) -> None:
    t = told(
        "import random\nimport numpy as np",
        "s = random.getstate()\nrandom.random()\nrandom.setstate(s)",
        "random.random()",
        "np.random.seed(0)\ns = np.random.get_state()",
        "np.random.rand()\nnp.random.set_state(s)",
        "random.setstate((3, tuple(range(624)) + (624,), None))\nrandom.random()",
    )
    assert t.used(2) == {"random": False}, "a draw that was undone is a draw"
    assert t.used(3) == {"random": False}, "putting an unseeded state back seeds nothing"
    assert t.used(5) == {"numpy": True}
    assert [(g, source) for g, _, source in t.seeds(6)] == [("random", "state")]
    assert t.used(6) == {"random": True}


# --- no false alarm


def test_what_libraries_draw_for_themselves_is_no_cells_doing(
    told: Callable, repository: Path
) -> None:
    t = told(
        "import numpy as np\nnp.random.seed(0)\nX, y = np.arange(40).reshape(20, 2), [0, 1] * 10",
        "from sklearn.ensemble import RandomForestClassifier\n"
        "f = RandomForestClassifier(10, random_state=0, n_jobs=2).fit(X, y)",
        "from sklearn.ensemble import GradientBoostingClassifier as G\n"
        "g = G(n_estimators=3, random_state=1, subsample=.5).fit(X, y)",
        "from sklearn.model_selection import cross_val_score, KFold\n"
        "cross_val_score(f, X, y, cv=KFold(3, shuffle=True, random_state=2))",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('p.svg')",
        "import tempfile\ntempfile.mkdtemp()\nwith tempfile.NamedTemporaryFile(): pass",
        "from IPython.display import display, HTML\nh = display(HTML('x'), display_id=True)",
        "import pandas as pd\ndisplay(pd.DataFrame({'a': [1]}).style)",
        "import mlflow\nmlflow.set_tracking_uri('sqlite:///m.db')\n"
        "with mlflow.start_run(): mlflow.log_param('a', 1)",
        "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass",
        "from joblib import Parallel, delayed\nParallel(2)(delayed(abs)(i) for i in range(4))",
        "import subprocess\nsubprocess.run(['true'])",
        "from rich.console import Console\nConsole().print('[red]x')",
    )
    record = t.record
    assert {order: how for order, how in record.randomness.cells.items() if how == "unseeded"} == {}
    names = {u.by for u in record.randomness.uses if u.by}
    assert "mlflow" in names, "its run's name moves the stream all the same"


def test_sklearn_without_a_random_state_draws_from_numpy(told: Callable) -> None:
    t = told(
        "import numpy as np\nfrom sklearn.ensemble import RandomForestClassifier\n"
        "X, y = np.arange(40).reshape(20, 2), [0, 1] * 10",
        "RandomForestClassifier(3).fit(X, y)",
        "np.random.seed(0)\nRandomForestClassifier(3).fit(X, y)",
    )
    assert t.used(2) == {"numpy": False}
    assert t.used(3) == {"numpy": True}


def test_boosters_that_take_no_seed_always_draw_the_same(told: Callable) -> None:
    framework("xgboost")
    framework("lightgbm")
    t = told(
        "import numpy as np\nX, y = np.arange(40).reshape(20, 2), np.array([0, 1] * 10)",
        "import xgboost\nxgboost.XGBClassifier(n_estimators=2).fit(X, y)",
        "import lightgbm\nlightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, y)",
    )
    assert t.verdict(2) == t.verdict(3) == "none"


# --- threads, forks, what runs between cells


def test_draws_in_threads_and_forked_children(told: Callable) -> None:
    t = told(
        "import multiprocessing, threading\nimport numpy as np\n"
        "def draw(_=None): return np.random.default_rng().random()\n"
        "def seeded(n): return np.random.default_rng(n).random()",
        "t = threading.Thread(target=draw)\nt.start()\nt.join()",
        "with multiprocessing.get_context('fork').Pool(2) as pool: pool.map(draw, range(2))",
        "with multiprocessing.get_context('fork').Pool(2) as pool: pool.map(seeded, range(2))",
    )
    assert t.entropy(2)["numpy.random"].replayable
    assert t.entropy(3)["numpy.random"].worker
    assert not t.entropy(3)["numpy.random"].replayable
    assert t.verdict(4) == "none"


DRAWS = """
import os, random
import numpy as np
def python(n): return random.random()
def array(n): return np.random.rand()
def fresh(n): return np.random.default_rng().random()
def system(n): return os.urandom(4)
def seeded(n): random.seed(n); np.random.seed(n); return random.random() + np.random.rand()
def none(n): random.seed(n); return n + 1
"""


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())
def test_what_workers_draw_is_their_cells_doing(
    told: Callable, repository: Path, pool: str
) -> None:
    (repository / "draws.py").write_text(DRAWS)
    names = ("python", "array", "fresh", "system", "seeded", "none")
    t = told(f"import draws\n{pool}", *(f"run(draws.{name})" for name in names))
    assert [t.verdict(order) for order in range(2, 8)] == [
        "unseeded", "unseeded", "unseeded", "unseeded", "seeded", "none"
    ]  # fmt: skip
    used = [{(u.generator, u.seeded, u.worker) for u in t.uses(order)} for order in range(2, 8)]
    assert used == [
        {("random", False, True)}, {("numpy", False, True)}, set(), set(),
        {("random", True, True), ("numpy", True, True)}, set(),
    ]  # fmt: skip
    assert t.entropy(4)["numpy.random"].worker
    assert t.entropy(5)["os.urandom"].worker
    assert (t.record.lineage.capture, t.record.lineage.gaps) == ("complete", ())


def test_a_forked_worker_goes_on_with_numpys_state_and_begins_pythons_anew(
    told: Callable, repository: Path
) -> None:
    (repository / "draws.py").write_text(DRAWS)
    t = told(
        f"import draws, random, numpy as np\n{POOLS['fork']}\nrandom.seed(1); np.random.seed(1)",
        "run(draws.array)",
        "run(draws.python)",
    )
    assert (t.used(2), t.used(3)) == ({"numpy": True}, {"random": False})


def test_workers_that_stay_tell_each_cell_what_it_had_them_draw(
    told: Callable, repository: Path
) -> None:
    (repository / "draws.py").write_text(DRAWS)
    t = told(
        "import draws\nfrom joblib import Parallel, delayed\n"
        "def run(f): Parallel(2)(delayed(f)(n) for n in range(50))",
        *["run(draws.python)", "run(abs)"] * 3,
    )
    assert [t.verdict(order) for order in range(2, 8)] == ["unseeded", "none"] * 3


def test_a_worker_that_cannot_tell_what_it_draws_says_so(told: Callable) -> None:
    t = told(
        "import multiprocessing as m, os, sys\nopen('python', 'w').write(\n"
        "  f'#!/bin/sh\\nPYTHONPATH=$PWD/without exec {sys.executable} \"$@\"\\n')\n"
        "os.chmod('python', 0o755); os.makedirs('without/mlrepro_nb')\n"
        "_ = open('without/mlrepro_nb/__init__.py', 'w').write('raise ImportError')",
        "spawn = m.get_context('spawn'); spawn.set_executable('./python')\n"
        "with spawn.Pool(1) as pool: pool.map(abs, [1])",
    )
    assert t.record.lineage.capture == "partial"
    assert any("worker process" in gap for gap in t.record.lineage.gaps), t.record.lineage.gaps


def test_what_is_drawn_between_two_cells_is_not_the_next_cells(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run(
        "import random, threading, time\nrandom.seed(1)\ngo = threading.Event()\n"
        "def later():\n  go.wait()\n  time.sleep(1)\n  random.random()\n"
        "t = threading.Thread(target=later)\nt.start()"
    )
    k.run("go.set()")
    import time

    time.sleep(2)
    k.run("x = 1")
    k.close()
    record = k.record()
    (outside,) = [u for u in record.randomness.uses if u.outside]
    assert (outside.generator, outside.execution, outside.by) == ("random", 3, None)
    assert record.randomness.cells["3"] == "none"


# --- frameworks


def test_torch(told: Callable) -> None:
    framework("torch")
    t = told(
        "import torch",
        "torch.rand(2)",
        "torch.manual_seed(5)",
        "a = torch.rand(2)",
        "torch.manual_seed(5)",
        "torch.seed()\ntorch.rand(1)",
        "g = torch.Generator()\nh = torch.Generator().manual_seed(3)\nk = torch.Generator()\nk.seed()",
        "torch.rand(1, generator=g), torch.rand(1, generator=h)",
        "torch.rand(1, generator=k)",
        "torch.manual_seed(0)\nlist(torch.utils.data.DataLoader(range(4), shuffle=True))",
        "f = torch.compile(lambda x: x * torch.rand(1), backend='eager')\nf(torch.ones(2))",
    )
    assert t.used(2) == {"torch": False}
    assert t.seeds(3) == [("torch", "5", "value")]
    assert t.uses(3) == []
    assert t.used(4) == {"torch": True}
    assert t.seeds(5) == [("torch", "5", "value")], "the same number again"
    assert t.used(6) == {"torch": False}
    assert t.entropy(6)["torch.seed()"].replayable
    assert t.used(8) == {"torch.Generator:g": True, "torch.Generator:h": True}
    assert t.used(9) == {"torch.Generator:k": False}
    assert t.used(10) == {"torch": True}
    assert t.seeds(11) == [], "the compiler's saving and restoring is no seeding"
    assert t.used(11) == {"torch": True}


def test_where_jax_keys_come_from(told: Callable) -> None:
    framework("jax")
    t = told(
        "import jax, os, time",
        "k = jax.random.key(3)\njax.random.normal(jax.random.split(k)[0])",
        "jax.random.PRNGKey(int(time.time()))",
        "jax.random.key(int.from_bytes(os.urandom(4), 'big'))",
        "jax.jit(lambda s: jax.random.normal(jax.random.key(s)))(4)",
        "jax.random.key(seed=9)",
    )
    assert t.seeds(2) == [("jax", "3", "value")]
    assert t.verdict(2) == "none"
    assert [s[2] for s in t.seeds(3)] == ["clock"]
    assert [s[2] for s in t.seeds(4)] == ["entropy"]
    assert t.verdict(3) == t.verdict(4) == "unseeded"
    assert t.seeds(5) == []
    assert t.seeds(6) == [("jax", "9", "value")]


def test_polars_draws_from_the_system(told: Callable) -> None:
    t = told(
        "import polars as pl\nf, s = pl.DataFrame({'a': [1, 2, 3]}), pl.Series([1, 2, 3])",
        "f.sample(1)",
        "f.sample(1, seed=3), s.shuffle(4), s.sample(1, seed=1)",
        "f.select(pl.col('a').shuffle())",
        "pl.set_random_seed(2)",
        "f.sample(1), s.shuffle()",
    )
    assert set(t.entropy(2)) == set(t.entropy(4)) == {"polars"}
    assert t.entropy(3) == t.entropy(6) == {}
    assert t.seeds(5) == [("polars", "2", "value")]


# --- what cells may do to it

HOSTILE = {
    "replaces random.seed": "import random\nrandom.seed = lambda *a: None\nrandom.seed(1)",
    "deletes random.seed": "import random\ndel random.seed",
    "replaces the generator": "import numpy as np\nnp.random.set_bit_generator(np.random.PCG64(1))\nnp.random.rand()",
    "seeds with nonsense": "import random\nimport numpy as np\nfor f in (random.seed, np.random.seed):\n  try: f({})\n  except Exception: pass",
    "a subclass": "import random\nclass R(random.Random):\n  def random(self): return 0.5\n  def getstate(self): raise RuntimeError\nr = R(1)\nr.random()",
    "breaks types": "class T(type):\n  def __hash__(cls): raise RuntimeError\nclass C(metaclass=T): pass\nc = C()",
    "odd keys": "class K:\n  def __repr__(self): raise RuntimeError\nimport random\nd = {K(): random.Random(1)}",
    "forks": "import os, random\np = os.fork()\nif not p:\n  random.random(); random.Random(); os._exit(0)\nos.waitpid(p, 0)",
    "breaks urandom": "import os\nos.urandom = None",
}  # fmt: skip


@pytest.mark.parametrize("cell", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_cells_run_as_without_us_and_the_recording_goes_on(
    kernel: Callable, cell: str
) -> None:
    k = kernel()
    k.run(LOAD)
    assert k.run(cell)["errors"] == []
    assert k.run("np_ = __import__('numpy').random.default_rng(1).random()\n2 + 2")["text"] == "4"
    k.kill()
    assert [c.source for c in k.record().code.cells][1] == cell


def test_all_is_put_back_when_the_recording_stops(kernel: Callable) -> None:
    k = kernel()
    k.run(
        "import os, random, sys\nimport numpy.random as nr\nimport numpy.random.mtrand as m\n"
        "def now(): return [random.seed, random.getstate, random.Random.seed, random._urandom,\n"
        "  random.Random.setstate, os.urandom, nr.seed, nr.bit_generator.randbits, m._MT19937]\n"
        "before, finders = now(), list(sys.meta_path)"
    )
    k.run(LOAD)
    k.run("x = random.Random(3).random()")
    k.run("%unload_ext mlrepro_nb")
    assert k.run("[a is b for a, b in zip(before, now())].count(False)")["text"] == "0"
    assert k.run("finders == sys.meta_path")["text"] == "True"


def test_the_tapped_functions_give_what_the_plain_ones_give(kernel: Callable) -> None:
    code = (
        "import random, pickle\nimport numpy as np\nout = []\n"
        "random.seed(1); out.append(random.random())\nnp.random.seed(2); out.append(np.random.rand())\n"
        "out.append(np.random.RandomState(3).rand()); out.append(random.Random(4).random())\n"
        "s = random.getstate(); random.random(); random.setstate(s); out.append(random.random())\n"
        "s = np.random.get_state(); np.random.rand(); np.random.set_state(s); out.append(np.random.rand())\n"
        "r = np.random.RandomState(5); r.seed(6); out.append(r.rand())\n"
        "out.append(isinstance(np.random.RandomState(5)._bit_generator, np.random.MT19937))\n"
        "out.append(pickle.loads(pickle.dumps(np.random.RandomState(7))).rand())\n"
        "random.seed(a='x', version=1); out.append(random.random())\nprint(out)"
    )
    plain = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    k = kernel()
    k.run(LOAD)
    assert k.run(code)["text"] == plain


def test_a_state_read_from_memory_is_the_one_that_python_gives() -> None:
    import numpy as np

    from mlrepro_nb.capture.randomness.states import NumpyLegacy, PythonRandom

    for make in (random.Random, lambda: random.Random(3)):
        one = make()
        reader = PythonRandom(one)
        for _ in range(700):
            one.random()
            if one.random() < 0.1:
                one.gauss(0, 1)
            portable = reader.portable(reader.read())
            other = random.Random()
            PythonRandom(other).restore(portable)
            assert other.getstate() == one.getstate()
    legacy = np.random.RandomState(1)
    reading = NumpyLegacy(legacy)
    for step in range(700):
        legacy.randn() if step % 3 else legacy.rand()
        portable = reading.portable(reading.read())
        again = np.random.RandomState(9)
        NumpyLegacy(again).restore(portable)
        assert (again.randn(), again.rand()) == _peek(legacy)


def _peek(legacy: object) -> tuple[float, float]:
    import copy

    again = copy.deepcopy(legacy)
    return again.randn(), again.rand()
