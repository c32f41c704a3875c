"""A wrapped library is still the library: what a cell does with it, and what it prints."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import framework

LOAD = "%load_ext mlrepro_nb"

# Each prints the same on a kernel that is not recorded.
CELLS = {
    "signature and help": "import inspect, pydoc, polars as pl, pyarrow.parquet as pq, pyarrow as pa, duckdb\nprint(inspect.signature(pl.read_csv), inspect.signature(pq.ParquetFile), pa.memory_map.__doc__, pl.read_csv.__module__, pl.scan_csv.__qualname__)\nprint(pydoc.render_doc(pl.read_csv)); print(pa.memory_map.__doc__, duckdb.connect.__doc__)",
    "pickle": "import pickle, polars as pl, pyarrow as pa, pyarrow.fs, pyarrow.parquet as pq, pyarrow.csv, h5py\nfor f in (pl.read_csv, pl.scan_parquet, pq.read_table, pq.ParquetFile, pa.OSFile, pyarrow.csv.read_csv, h5py.File, pyarrow.fs.LocalFileSystem, pyarrow.fs.LocalFileSystem()):\n    print(pickle.loads(pickle.dumps(f)) == f, getattr(f, '__qualname__', type(f)))",
    "pickle of what draws": "import pickle, os, random, secrets, sqlite3, subprocess, sys, uuid, numpy as np\nfor f in (os.urandom, os.getrandom, sqlite3.connect, random.seed, random.randbytes, np.random.seed, np.random.default_rng, uuid.uuid4, secrets.token_bytes):\n    told = pickle.dumps(f)\n    elsewhere = subprocess.run([sys.executable, '-c', f'import pickle; print(pickle.loads({told!r}))'], capture_output=True, text=True)\n    print(callable(pickle.loads(told)), elsewhere.returncode)",
    "classes": "import pyarrow as pa\nwith pa.OSFile('t', 'wb') as f: f.write(b'abc')\nf = pa.OSFile('t')\nprint(type(f), isinstance(f, pa.OSFile), isinstance(f, pa.NativeFile), issubclass(pa.OSFile, pa.NativeFile), type(f) == pa.OSFile, pa.OSFile.__name__, repr(pa.OSFile))\nclass Mine(pa.OSFile):\n    x = 1\nprint(Mine('t').read(), Mine.x, isinstance(Mine('t'), Mine), isinstance(Mine('t'), pa.OSFile), [c.__name__ for c in Mine.__mro__])",
    "file systems": "from pyarrow import fs\nl = fs.LocalFileSystem(use_mmap=True)\nprint(l == fs.LocalFileSystem(use_mmap=True), isinstance(l, fs.LocalFileSystem), isinstance(fs.FileSystem.from_uri('file:///')[0], fs.LocalFileSystem), l.type_name, fs.SubTreeFileSystem('/tmp', l).base_path)",
    "an error": "import polars as pl\npl.read_csv('is-not-there.csv')",
    "an error deep down": "import pyarrow.parquet as pq\ntry:\n    pq.ParquetFile('is-not-there')\nexcept FileNotFoundError as error:\n    raise ValueError('no') from error",
    "sqlite": "import sqlite3\nclass Mine(sqlite3.Connection): pass\nd = sqlite3.connect(':memory:', factory=Mine)\nprint(type(d), type(sqlite3.connect(':memory:')))\nd.execute('create table t (a)'); d.set_authorizer(lambda *a: sqlite3.SQLITE_DENY)\ntry: d.execute('select * from t')\nexcept sqlite3.DatabaseError as e: print(e)",
    "multiprocessing": "import multiprocessing as m\nwith m.get_context('spawn').Pool(1) as p: print(p.map(abs, [-1]))",
    "requests": "import requests, inspect\nprint(inspect.signature(requests.Session.request)); s = requests.Session()\nprint(s.request.__name__, requests.Session.request.__doc__[:40])",
}  # fmt: skip

FRAMEWORKS = {
    "safe_open": "import numpy, safetensors\nfrom safetensors import safe_open\nfrom safetensors.numpy import save_file\nsave_file({'a': numpy.ones(2)}, 't')\nprint(safe_open, safe_open.__doc__, [n for n in dir(safe_open) if n[0] != '_'])\nwith safe_open('t', framework='np') as f: print(type(f), isinstance(f, safe_open), f.get_tensor('a'))\ntry:\n    class Mine(safe_open): pass\nexcept TypeError as e: print(e)",
    "torch": "import pickle, torch\ntorch.save(torch.ones(2), 't.pt')\nprint(torch.load('t.pt'), pickle.loads(pickle.dumps(torch.save)) is torch.save, torch.from_file.__doc__[:40])\nprint(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(2)))\nimport io; b = io.BytesIO(); torch.save([1], b); b.seek(0); print(torch.load(b))\nprint(torch.jit.script(torch.nn.Linear(1, 1)).code)",
    "boosting": "import inspect, lightgbm, xgboost\nprint(inspect.signature(lightgbm.Dataset), inspect.signature(xgboost.DMatrix), inspect.signature(xgboost.Booster.load_model))",
}  # fmt: skip


def _said(kernel: Callable, cells: dict[str, str], *, recorded: bool) -> dict[str, object]:
    k = kernel()
    if recorded:
        k.run(LOAD)
    said = {name: k.run(code, cell=name) for name, code in cells.items()}
    k.close()
    for one in said.values():
        one.pop("tracebacks", None)  # they count the cells; the next test compares them
    return said


def test_cells_print_the_same_with_and_without_recording(kernel: Callable) -> None:
    plain = _said(kernel, CELLS, recorded=False)
    recorded = _said(kernel, CELLS, recorded=True)
    assert [name for name, said in plain.items() if said["errors"]] == [
        "an error",
        "an error deep down",
    ]
    for name, said in plain.items():
        assert recorded[name] == said, name


def test_cells_with_frameworks_print_the_same_with_and_without_recording(kernel: Callable) -> None:
    for name in ("torch", "safetensors", "lightgbm", "xgboost"):
        framework(name)
    plain = _said(kernel, FRAMEWORKS, recorded=False)
    recorded = _said(kernel, FRAMEWORKS, recorded=True)
    for name, said in plain.items():
        assert not said["errors"], (name, said)
        assert recorded[name] == said, name


@pytest.mark.parametrize("name", ["an error", "an error deep down"])
def test_a_traceback_shows_no_line_of_ours(kernel: Callable, name: str) -> None:
    tracebacks = []
    for recorded in (False, True):
        k = kernel()
        if recorded:
            k.run(LOAD)
        k.run("import polars, pyarrow.parquet\nget_ipython().colors = 'nocolor'")
        tracebacks.append(_traceback(k, CELLS[name]))
        k.close()
    # The count before the cell differs.
    plain, ours = ("".join(lines).replace("In[2]", "In[3]") for lines in tracebacks)
    assert "mlrepro" not in ours
    assert ours.count("\n") == plain.count("\n")


def _traceback(k: object, code: str) -> list[str]:
    request = k.client.execute(code)
    while True:
        message = k.client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") == request and message["msg_type"] == "error":
            return message["content"]["traceback"]


def test_unloading_leaves_the_libraries_as_they_were(kernel: Callable) -> None:
    k = kernel()
    k.run(
        "import sqlite3, multiprocessing.spawn, polars, pyarrow, pyarrow.fs, pyarrow.parquet, duckdb, h5py, fsspec\n"
        "def things():\n"
        "    return [sqlite3.connect, multiprocessing.spawn.get_preparation_data, polars.read_csv,\n"
        "            polars.DataFrame.write_csv, polars.LazyFrame.collect, pyarrow.OSFile, pyarrow.memory_map,\n"
        "            pyarrow.fs.LocalFileSystem, pyarrow.parquet.ParquetFile.__init__, pyarrow.parquet.read_table,\n"
        "            duckdb.connect, duckdb.sql, h5py.File.__init__, fsspec.open_files,\n"
        "            fsspec.AbstractFileSystem.open]\n"
        "before = things()"
    )
    k.run(LOAD)
    assert k.run("print(sum(a is b for a, b in zip(before, things())))")["text"] == "0\n"
    k.run("%unload_ext mlrepro_nb")
    assert k.run("print([a for a, b in zip(before, things()) if a is not b])")["text"] == "[]\n"
    k.run(LOAD)
    assert k.run("polars.DataFrame({'a': [1]}).write_csv('o.csv')")["errors"] == []
    k.close()
    assert list(k.store().sessions())
