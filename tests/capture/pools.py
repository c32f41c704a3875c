"""The ways in which a cell starts worker processes: each defines `run`, which has some call one."""

POOLS = {
    "fork": "import multiprocessing as m\ndef run(f):\n"
    "  with m.get_context('fork').Pool(2) as pool: pool.map(f, range(4))",
    "spawn": "import multiprocessing as m\ndef run(f):\n"
    "  with m.get_context('spawn').Pool(2) as pool: pool.map(f, range(4))",
    "forkserver": "import multiprocessing as m\ndef run(f):\n"
    "  with m.get_context('forkserver').Pool(2) as pool: pool.map(f, range(4))",
    "executor": "from concurrent.futures import ProcessPoolExecutor as P\ndef run(f):\n"
    "  with P(2) as pool: list(pool.map(f, range(4)))",
    "loky": "from joblib import Parallel, delayed\n"
    "def run(f): Parallel(2)(delayed(f)(n) for n in range(4))",
    "joblib": "from joblib import Parallel, delayed\n"
    "def run(f): Parallel(2, backend='multiprocessing')(delayed(f)(n) for n in range(4))",
    "process": "import multiprocessing as m\ndef run(f):\n"
    "  p = m.get_context('fork').Process(target=f, args=(1,)); p.start(); p.join()",
    "spawned process": "import multiprocessing as m\ndef run(f):\n"
    "  p = m.get_context('spawn').Process(target=f, args=(1,)); p.start(); p.join()",
    "os.fork": "import os\ndef run(f):\n"
    "  if not (p := os.fork()):\n    f(1)\n    os._exit(0)\n  os.waitpid(p, 0)",
}  # fmt: skip
