"""Whatever a cell does to its process, it and those after it are recorded."""

# ruff: noqa: E501
from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlrepro_nb.record import recover
from tests.capture.conftest import Kernel

LOAD = "%load_ext mlrepro_nb"

# Each group has one kernel, which must be whole after each of its cells.
HOSTILE = {
    "names": {
        "replaces open": "import builtins\nkept = builtins.open\nbuiltins.open = None",
        "gives open back": "builtins.open = kept",
        "replaces json": "import json\njson.dumps = json.loads = None",
        "replaces print": "print = None",
        "replaces id, len, type, str": "id = len = type = str = dict = None",
        "replaces time": "import time\ntime.time = time.perf_counter = time.time_ns = lambda: 0",
        "breaks the namespace": "__name__ = None\nget_ipython = None",
        "deletes the builtins' name": "del __builtins__",
        "empties the namespace": "%reset -f",
        "hides modules": "import sys\nfor n in ('json', 'mlrepro_nb', 'mlrepro_nb.capture', 'threading'): sys.modules[n] = None",
        "forgets modules": "import sys\nfor n in [n for n in sys.modules if n.split('.')[0] in ('json', 'mlrepro_nb', 'msgspec')]: del sys.modules[n]",
        "replaces the environment": "import os\nos.environ = {}",
        "breaks paths": "import os\nos.path.abspath = os.path.realpath = os.getcwd = None",
    },
    "errors": {
        "raises a BaseException": "class B(BaseException): pass\nraise B",
        "raises what cannot be shown": "class E(Exception):\n  def __str__(self): raise RuntimeError\n  __repr__ = __str__\nraise E",
        "raises an odd name": "raise type('\\ud800', (Exception,), {})('\\ud800')",
        "interrupts itself": "raise KeyboardInterrupt",
        "exits": "import sys\nsys.exit(4)",
        "is not Python": "this is not python",
        "holds a NUL": "x = 'a\0b'",
        "lone surrogate": "s = '\\ud800'\ns",
        "is huge": "x = '''" + "a.b-c=" * 200_000 + "'''",
        "is deep": "x = " + "(" * 150 + "1" + ")" * 150,
        "recurses in C": "import sys\nsys.setrecursionlimit(60)",
        "recurses less": "sys.setrecursionlimit(3000)",
        "raises a group": "raise ExceptionGroup('g', [ValueError('x' * 10_000)])",
        "is traced": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)",
        "is not collected": "import gc\ngc.disable()\ngc.set_debug(0)",
    },
    "processes": {
        "forks": "import os\np = os.fork()\nif not p: os._exit(0)\nos.waitpid(p, 0)",
        "forks and goes on in the child": "import os, sys\np = os.fork()\nif not p:\n  open('child.txt', 'w').write('x')\n  os._exit(0)\n_ = os.waitpid(p, 0)",
        "starts a daemon": "import os, time\nif not os.fork():\n  os.setsid()\n  if not os.fork():\n    os.closerange(0, 4096)\n    time.sleep(1)\n  os._exit(0)\n_ = os.wait()",
        "threads": "import threading\nts = [threading.Thread(target=lambda: open('data.csv').read()) for _ in range(20)]\n[t.start() for t in ts]; [t.join() for t in ts]",
        "a thread that goes on": "import threading, time\nthreading.Thread(target=lambda: [(time.sleep(0.01), print('x')) for _ in range(100)], daemon=True).start()",
        "nests asyncio": "import asyncio\nasync def f():\n  await asyncio.sleep(0)\n  return open('data.csv').read()\nawait asyncio.gather(*[f() for _ in range(5)])",
        "leaves a task": "import asyncio\ntask = asyncio.create_task(asyncio.sleep(1000))",
        "takes the signals": "import signal\nfor s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM): signal.signal(s, signal.SIG_IGN)",
        "is alarmed": "import signal, time\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\ntime.sleep(0.1)",
        "no more alarms": "signal.setitimer(signal.ITIMER_REAL, 0)",
        "limits its files": "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
    },
    "files": {
        "opens odd things": "for p in (b'\\xff', '', 0, 1.5, '\\0', '/', '.', 'x' * 5000, ['a'], None):\n  try: open(p).close\n  except Exception: pass",
        "reads a FIFO": "import os\nos.mkfifo('fifo')\nfd = os.open('fifo', os.O_RDWR)\nos.write(fd, b'x'); open('fifo', 'rb', buffering=0).read(1)",
        "reads an empty file": "open('empty', 'w').close(); open('empty').read()",
        "reads by a link": "os.symlink('data.csv', 'link'); os.symlink('loop', 'loop'); open('link').read()",
        "reads a loop": "open('loop')",
        "reads what it may not": "open('secret', 'w').write('x'); os.chmod('secret', 0); open('secret').read()",
        "deletes what it read": "open('gone', 'w').write('x'); open('gone').read(); os.remove('gone')",
        "reads a device": "open('/dev/zero', 'rb').read(10), open('/dev/null').read()",
        "writes what has no end": "f = open('sparse', 'wb'); f.truncate(1 << 45); f.close()",
        "reads 1000 files": "for i in range(1000):\n  open(f'f{i}', 'w').write('x'); open(f'f{i}').read()",
        "a name that is no text": "open(b'\\xff\\xfe', 'w').write('x'); open(b'\\xff\\xfe').read()",
        "a file changes while it is read": "f = open('data.csv'); f.read(1); open('data.csv', 'a').write('9'); f.read()",
        "deletes the working folder": "import tempfile, shutil\nd = tempfile.mkdtemp()\nos.chdir(d)\nshutil.rmtree(d)",
        "reads from nowhere": "open('data.csv')",
        "closes descriptors": "os.closerange(FIRST, 4096)",
    },
    "outputs": {
        "closes stdout": "import sys\nsys.stdout.close()",
        "sends odd displays": "from IPython.display import publish_display_data as p\np({'a/b': b'x', 'text/plain': '\\ud800', 'application/json': {1: float('nan')}})",
        "clears all": "from IPython.display import clear_output\nfor _ in range(100): clear_output(wait=True)",
        "prints from a thread later": "import threading, sys\nthreading.Timer(0.1, lambda: sys.__stdout__.write('x')).start()",
    },
}  # fmt: skip


def after_the_sockets(kernel: Kernel) -> int:
    """Return the first descriptor that no socket of the kernel's has: without them it is deaf."""
    found = [-1]
    for file in Path(f"/proc/{kernel.manager.provisioner.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(file.readlink()).startswith(("socket:", "anon_inode:")):
                found.append(int(file.name))
    return max(found) + 1


@pytest.mark.parametrize("group", HOSTILE)
def test_hostile_cells_do_not_stop_the_recording(
    kernel: Callable, repository: Path, group: str
) -> None:
    (repository / "data.csv").write_text("a\n1\n", encoding="utf-8")
    k = kernel()
    first = after_the_sockets(k)
    k.run(LOAD)
    expected = [LOAD]
    for hostile in HOSTILE[group].values():
        cell = hostile.replace("FIRST", str(first))
        k.run(cell, timeout=60)
        after = k.run("2 + 2", timeout=60)
        assert group == "outputs" or "4" in after["text"], (cell, after)
        expected += [cell.encode("utf-8", "replace").decode(), "2 + 2"]
    k.kill()  # whatever the cells broke, the journal has them
    cells = k.record().code.cells
    assert [c.source for c in cells] == expected
    assert [c.status for c in cells[2::2]] == ["ok"] * len(HOSTILE[group])
    # A descriptor of ours that a cell closed is a gap like any other.
    ours = [
        gap for gap in k.record().lineage.gaps
        if gap.startswith("Recording ") and "Bad file descriptor" not in gap
    ]  # fmt: skip
    assert not ours or group in ("names", "errors"), ours


def test_a_kernel_that_closes_all_descriptors_leaves_its_cells(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("x = 1")
    k.send("import os\nos.closerange(0, 4096)")
    time.sleep(1)
    k.kill()
    recover(k.store())
    cells = k.record().code.cells
    assert [c.source for c in cells][:2] == [LOAD, "x = 1"]
    assert len(cells) == 3


def test_a_package_that_a_cell_installs_is_imported_and_recorded(
    kernel: Callable, repository: Path
) -> None:
    import zipfile

    with zipfile.ZipFile(repository / "hostile_pkg-1.0-py3-none-any.whl", "w") as wheel:
        info = "hostile_pkg-1.0.dist-info"
        wheel.writestr("hostile_pkg.py", "VALUE = 7\n")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: hostile-pkg\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")
    k = kernel()
    k.run(LOAD)
    k.run(
        "!{__import__('sys').executable} -m pip install --quiet --no-index --target libs ./hostile_pkg-1.0-py3-none-any.whl"
    )
    k.run("import sys; sys.path.insert(0, 'libs'); import hostile_pkg")
    assert k.run("hostile_pkg.VALUE")["text"] == "7"
    k.close()
    assert [c.status for c in k.record().code.cells] == ["ok"] * 4


def test_a_hundred_megabytes_of_output_do_not_stay_in_memory(kernel: Callable) -> None:
    from mlrepro_nb.capture import output_digests

    resident = "open('/proc/self/status').read().split('VmRSS:')[1].split()[0]"
    grown = []
    for first in ("pass", LOAD):
        k = kernel()
        k.run(first)
        before = int(k.run(f"print({resident})")["text"])
        for _ in range(3):
            k.run(
                "import sys\nfor _ in range(100): sys.stdout.write('x' * (1 << 20)); sys.stdout.flush()",
                timeout=120,
            )
        grown.append(int(k.run(f"print({resident})")["text"]) - before)
        k.close()
    plain, recorded = grown
    assert recorded - plain < 150 << 10, (
        "kB more, when a hundred megabytes were printed three times"
    )
    record = k.record()
    text = "x" * (100 << 20)
    (listed,) = [o.data for o in record.results.outputs if o.execution == 2]
    assert listed == output_digests({"output_type": "stream", "name": "stdout", "text": text})


def test_reading_sources_warns_of_nothing(kernel: Callable, repository: Path) -> None:
    source = "import json\nx = '\\d', b'\\u'\n"
    (repository / "own.py").write_text(source)
    (repository / "child.py").write_text(source)
    cells = [
        "import sys, warnings; warnings.simplefilter('always')",
        "import json; x = '\\d'",
        "import own",
        f"!{sys.executable} child.py",
    ]
    said = []
    for load in ("pass", LOAD):
        shutil.rmtree(repository / "__pycache__", ignore_errors=True)
        live = kernel()
        live.run(load)
        said.append([re.sub(r"l_\d+|pid=\d+", "", live.run(cell)["text"]) for cell in cells])
        live.close()
    assert said[0] == said[1]
    assert "invalid escape" in said[0][1]
