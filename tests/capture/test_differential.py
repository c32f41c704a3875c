"""Recording changes nothing that a cell does or prints: the same cells, with and without it."""

# ruff: noqa: E501
from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.capture.conftest import Kernel
from tests.conftest import git

LOAD = "%load_ext mlrepro_nb"

ORDINARY = r"""
x = 1
---
x
---
import sys
print('out'); print('err', file=sys.stderr); print('out again')
---
1 / 0
---
def inner(a):
    return a['missing']
def outer():
    return inner({})
outer()
---
try:
    outer()
except KeyError:
    raise ValueError('from it')
---
this is not python
---
def depth(n=0):
    try:
        return depth(n + 1)
    except RecursionError:
        return n
depth()
---
import warnings
warnings.warn('a warning'); warnings.warn('a warning')
---
warnings.filters[:3], warnings.showwarning.__name__
---
%whos
---
dir()
---
sorted(globals()), sorted(locals()) == sorted(globals())
---
get_ipython().user_ns_hidden.keys() - {'x'} == get_ipython().user_ns_hidden.keys(), _i, _ii, _oh
---
_, __, ___, Out[2], In[1:4]
---
import asyncio
await asyncio.sleep(0.01); 'awaited'
---
async def late():
    await asyncio.sleep(0.05); print('task')
task = asyncio.create_task(late()); 'started'
---
await asyncio.sleep(0.3); task.done()
---
import threading, time
threading.Timer(0.2, lambda: print('a thread, later', flush=True)).start()
---
time.sleep(0.6)
---
box = []
t = threading.Thread(target=lambda: box.append(open('data.csv').read())); t.start(); t.join(); box
---
%%capture kept
print('captured')
---
kept.stdout
---
%%bash
echo from bash; exit 3
---
!echo from the shell; cat data.csv
---
%run script.py
---
import os
os.chdir('sub'); os.getcwd() == os.path.realpath('.')
---
open('../data.csv').read()
---
%cd ..
---
open('not there')
---
open('sub')
---
open('empty').read(), open('link').read(), open('dangling')
---
f = open('gone.txt', 'w'); f.write('x'); f.close(); open('gone.txt').read(), os.remove('gone.txt')
---
fd = os.open('fifo', os.O_RDONLY | os.O_NONBLOCK); os.read(fd, 10), os.close(fd)
---
open(b'\xff'), open('\0')
---
open(os.open('data.csv', os.O_RDONLY)).fileno() < 0
---
os.getpid() != os.getppid(), os.fork.__name__, os.write.__name__, os.open.__name__
---
p = os.fork()
if not p: os._exit(7)
os.waitstatus_to_exitcode(os.waitpid(p, 0)[1])
---
p = os.fork()
if not p:
    try: open('data.csv').read(); import json; json.dumps({})
    finally: os._exit(0)
os.waitstatus_to_exitcode(os.waitpid(p, 0)[1])
---
import multiprocessing as mp, module
[mp.get_context(m).Pool(1).map(module.double, [1, 2]) for m in ('fork', 'spawn', 'forkserver')]
---
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
with ProcessPoolExecutor(2, mp_context=mp.get_context('fork')) as pool: got = list(pool.map(module.double, range(4)))
got
---
import subprocess
subprocess.run(['cat', 'data.csv'], capture_output=True, check=True).stdout
---
subprocess.run(['not-a-program'])
---
import signal
signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGCHLD)
---
hits = []
old = signal.signal(signal.SIGALRM, lambda *a: hits.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2); signal.signal(signal.SIGALRM, old); hits
---
os.kill(os.getpid(), signal.SIGINT); time.sleep(5)
---
lines = []
def tracer(frame, event, arg): lines.append(event); return tracer
def traced(): return open('data.csv').read()
sys.settrace(tracer); traced(); sys.settrace(None); lines
---
calls = []
sys.setprofile(lambda f, e, a: calls.append((e, f.f_code.co_name))); traced(); sys.setprofile(None); calls
---
import gc
gc.disable(); gc.isenabled(), gc.enable(), gc.get_threshold()
---
sys.getrecursionlimit(), sys.getswitchinterval(), sys.flags.optimize, sys.argv[1:2] == [], sys.stdout.__class__, sys.displayhook.__class__, sys.excepthook.__name__
---
sys.path[:1], os.environ.get('PYTHONPATH'), os.umask(os.umask(0o22)), os.nice(0)
---
import locale, contextvars
locale.getlocale(), list(contextvars.copy_context())[:0], time.tzname
---
import random
random.seed(1); random.random(), random.Random(3).random(), random.getstate()[1][:2]
---
import inspect
inspect.signature(open), inspect.signature(random.seed), random.seed.__name__, os.urandom.__name__, len(os.urandom(3))
---
import numpy as np
np.random.seed(1); np.random.rand(), np.random.default_rng(1).random(), np.random.rand().__class__
---
import pandas as pd
frame = pd.read_csv('data.csv'); frame
---
frame.to_parquet('data.parquet'); pd.read_parquet('data.parquet').equals(frame)
---
pd.read_csv('missing.csv')
---
pd.read_parquet('missing.parquet')
---
import pyarrow.parquet as pq
pq.read_table('missing.parquet')
---
pq.ParquetFile('data.parquet').metadata.num_rows, isinstance(pq.ParquetFile('data.parquet'), pq.ParquetFile), pq.ParquetFile.__name__
---
import sqlite3
db = sqlite3.connect('db.sqlite'); db.execute('create table t(a)'), type(db), db.execute('select * from missing')
---
import h5py
with h5py.File('d.h5', 'w') as h: h['a'] = [1, 2]
h5py.File('d.h5')['a'][:], h5py.File
---
import pickle, copy
class P:
    def __init__(self): self.a = 1
len(pickle.dumps(P)) > 0, copy.deepcopy({k: v for k, v in globals().items() if isinstance(v, (int, str, list))}).keys()
---
import dill
sorted(k for k, v in list(globals().items()) if not k.startswith('_') and not dill.pickles(v))
---
import logging
logging.getLogger().handlers, logging.getLogger('mlrepro').handlers, logging.root.level
---
%load_ext autoreload
%autoreload 2
import module
module.double(2)
---
open('module.py', 'a').write('\ndef triple(a): return 3 * a\n'); import importlib; importlib.invalidate_caches()
---
module.triple(2)
---
from IPython.display import display, HTML, clear_output
h = display(HTML('<b>1</b>'), display_id='d'); h.update(HTML('<b>2</b>')); print('a'); clear_output(wait=True); print('b')
---
get_ipython().ast_transformers, get_ipython().input_transformers_post, get_ipython().ast_node_interactivity
---
%history -n 2-3
---
%timeit -n1 -r1 -q x
---
%%script false
---
import matplotlib
matplotlib.get_backend(); matplotlib.rcParams['figure.dpi']
---
import builtins
kept_print = builtins.print; builtins.print = lambda *a, **k: kept_print('other', *a, **k)
---
print(1); builtins.print = kept_print
---
kept_time = time.time; time.time = time.perf_counter = lambda: 0.0; time.time()
---
time.time(), time.perf_counter(); time.time = kept_time
---
sys.setrecursionlimit(150); 'low'
---
sys.setrecursionlimit(3000)
---
exit_code = 3
raise SystemExit(3)
---
exit_code
---
%reset -f
---
sorted(k for k in globals() if not k.startswith('_'))
---
del __builtins__
---
len([1, 2])
---
__name__ = 'other'; import sys, os; sys.modules['json'] = None
---
import json
---
del sys.modules['json']; import json; json.dumps([1])
---
os.closerange(3, 3); os.close(os.dup(0)); 'end'
""".strip().split("\n---\n")

# What differs from run to run of the same kernel.
_NOISE = [
    (re.compile(r"0x[0-9a-f]+"), "0x…"),
    (re.compile(r"pid=\d+|\d+ ms|\d+\.\d+ [mµn]?s"), "…"),
    (re.compile(r"ipykernel_\d+"), "ipykernel_…"),
    (re.compile(r"/tmp/ipykernel_…/\d+\.py"), "cell"),
    (re.compile(r"~/[.\w/-]*site-packages|/[.\w/-]*site-packages"), "site-packages"),
]


def _seen(done: dict[str, Any]) -> Any:
    def clean(text: str) -> str:
        for pattern, stand_in in _NOISE:
            text = pattern.sub(stand_in, text)
        return text

    return {
        "text": clean(done["text"]),
        "errors": [(name, clean(value)) for name, value in done["errors"]],
        "traceback": [clean(line) for trace in done["tracebacks"] for line in trace],
        "bundles": [{k: clean(str(v)) for k, v in b.items()} for b in done["bundles"]],
    }


def _project(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "data.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (folder / "empty").touch()
    (folder / "sub").mkdir()
    (folder / "link").symlink_to("data.csv")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    (folder / "script.py").write_text("print('a script', __name__)\n", encoding="utf-8")
    (folder / "module.py").write_text("def double(a): return 2 * a\n", encoding="utf-8")


def _run(folder: Path, first: str, cells: list[str]) -> list[Any]:
    _project(folder)
    kernel = Kernel(folder)
    try:
        assert not kernel.run(first)["errors"]
        return [_seen(kernel.run(cell, timeout=30)) for cell in cells]
    finally:
        kernel.close()


def test_cells_do_and_print_the_same_with_and_without_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    folder = tmp_path / "project"
    plain = _run(folder, "pass", ORDINARY)
    recorded = _run(folder, LOAD, ORDINARY)
    different = {
        cell: (without, with_)
        for cell, without, with_ in zip(ORDINARY, plain, recorded, strict=True)
        if without != with_
    }
    assert not different, "\n".join(
        f"{cell}\n  without: {a}\n  with:    {b}\n" for cell, (a, b) in different.items()
    )
