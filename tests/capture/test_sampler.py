"""Memory and CPU of the run and of each cell, by a process that nobody notices."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mlrepro_nb.capture import orphan
from mlrepro_nb.capture.hardware import sampler as sampler_module
from mlrepro_nb.capture.hardware.sampler import Sampler
from mlrepro_nb.capture.hardware.sampling import gpus, process
from mlrepro_nb.capture.hardware.sampling.board import NONE, Board
from mlrepro_nb.capture.hardware.sampling.processes import Tree, Use, rss_marks
from mlrepro_nb.capture.hardware.sampling.tally import Tally
from mlrepro_nb.model import Record
from tests.capture.conftest import Kernel

MI = 2**20
LOAD = "%load_ext mlrepro_nb"
Start = Callable[..., Kernel]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def sampler_of(pid: int) -> list[int]:
    """Return the processes that sample for a kernel."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if process.NAME in words and words[words.index(process.NAME) + 1] == str(pid):
            found.append(int(folder.name))
    return found


def exists(pid: int) -> bool:
    """Return whether a process is there, be it as a zombie."""
    return Path(f"/proc/{pid}").exists()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def links(folder: Path) -> list[str]:
    """Return what the open files are; one may be closed while they are listed."""
    found = []
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(file.readlink()))
    return found


def the_sampler(kernel: Kernel) -> int:
    pid = kernel.manager.provisioner.process.pid
    wait_until(lambda: sampler_of(pid))
    (found,) = sampler_of(pid)
    return found


def hardware(kernel: Kernel) -> Record:
    kernel.close()
    return kernel.record()


# --- what it counts


def test_a_child_counts_while_it_lives(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    code = "import time; x = b'x' * (300 << 20); time.sleep(2)"
    one.run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])")
    one.run("1")
    found = hardware(one).hardware
    assert found.cells["1"].memory > 300 * MI
    assert found.cells["1"].figures["memory"].source == "pss"
    assert found.cells["1"].samples > 0
    assert found.cells["2"].memory < 300 * MI
    assert found.peak.memory >= found.cells["1"].memory
    assert found.peak.processes >= 2
    assert found.sampler == "process"


def test_forked_workers_share_what_they_have_in_common(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    one.run("x = b'x' * (300 << 20)")
    one.run(
        "import multiprocessing as mp, time\n"
        "with mp.get_context('fork').Pool(4) as pool: pool.map(time.sleep, [2] * 4)"
    )
    found = hardware(one).hardware
    assert 300 * MI < found.cells["2"].memory < 700 * MI, "the bytes count once, not five times"
    assert found.peak.processes >= 5


def test_workers_cpu_counts(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    code = "import time\nwhile time.process_time() < 1.5: pass"
    one.run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])")
    found = hardware(one).hardware
    assert found.cells["1"].cpu_seconds > 1.4
    assert found.peak.cpu_seconds > 1.4


def test_a_short_cell_has_its_seconds_and_its_peak(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    time.sleep(1)
    one.run("n = len(b'x' * (400 << 20)); n += sum(range(10**6))")
    one.run("1")
    cells = hardware(one).hardware.cells
    assert cells["1"].memory > 400 * MI
    assert cells["1"].figures["memory"].source == "peak-rss"
    assert cells["1"].cpu_seconds > 0.01
    assert cells["2"].memory < 400 * MI, "what was given back is not the next cell's"


def test_a_killed_kernel_leaves_what_its_cells_used(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    one.run("x = b'x' * (300 << 20)")
    one.run("import time; time.sleep(3)")  # till the machine was described
    one.kill()
    found = one.record().hardware
    assert found.cells["1"].memory > 300 * MI
    assert found.peak.memory > 300 * MI
    assert found.cpu


def test_the_peak_is_not_the_parents(tmp_path: Path) -> None:
    """`ru_maxrss` of a new process begins with that of the one that forked it."""
    held = b"x" * (300 * MI)
    code = (
        "import os, resource; from mlrepro_nb.capture.hardware.sampling.processes import rss_marks"
        "; print(rss_marks(os.getpid())[0], resource.getrusage(0).ru_maxrss * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    ours, inherited = map(int, done.stdout.split())
    assert ours < 200 * MI
    assert inherited > len(held), "else there is no trap any more"


# --- who notices it


def test_the_users_code_does_not_meet_it(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    the_sampler(one)
    said = one.run(
        "import os, multiprocessing, psutil\n"
        "print(multiprocessing.active_children(), psutil.Process().children(recursive=True))\n"
        "try: print(os.wait())\n"
        "except ChildProcessError: print('no child')"
    )
    assert said["text"].split("\n")[:2] == ["[] []", "no child"]


def test_it_holds_nothing_of_the_kernels(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    folder = Path(f"/proc/{the_sampler(one)}")
    wait_until(lambda: len(list((folder / "fd").iterdir())) <= 6)  # it has read its own program
    held = links(folder / "fd")
    assert held.count("/dev/null") == 3
    assert not [name for name in held if name.startswith(("socket:", "/dev/pts"))]
    assert (folder / "cwd").readlink() == Path("/")
    assert os.getsid(int(folder.name)) != os.getsid(one.manager.provisioner.process.pid)


def test_it_is_small(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    pid = the_sampler(one)
    wait_until(lambda: rss_marks(pid)[0] > 0)
    one.run("import time; time.sleep(1)")
    # NVIDIA's library, where there is a GPU to ask about, takes more than all the rest.
    assert rss_marks(pid)[0] < (48 if gpus.present() else 16) * MI


@pytest.mark.parametrize("end", ["close", "kill", "unload"])
def test_it_ends_with_the_recording_and_leaves_nothing(kernel: Start, end: str) -> None:
    one = kernel()
    one.run(LOAD)
    pid = the_sampler(one)
    if end == "unload":
        one.run("%unload_ext mlrepro_nb")
    else:
        getattr(one, end)()
    wait_until(lambda: not exists(pid))  # a zombie would be there for good
    assert not list(Path("/dev/shm").glob("mlrepro*"))


def test_a_forked_child_of_the_kernel_does_not_keep_it(kernel: Start) -> None:
    one = kernel()
    one.run(LOAD)
    pid = the_sampler(one)
    one.run(
        "import os, time\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.setsid(); time.sleep(30); os._exit(0)"
    )
    child = int(one.run("print(child)")["text"])
    one.run("import time; time.sleep(0.5)")
    assert exists(pid), "the child's own end is not the kernel's"
    one.kill()
    wait_until(lambda: not exists(pid))
    os.kill(child, signal.SIGKILL)


# --- where it cannot be


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    one = Sampler()
    yield one
    one.stop()


def test_without_a_shell_a_thread_takes_the_samples(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphan, "_SHELL", "/no/shell")
    sampler.start()
    assert sampler.how.startswith("thread: ")
    assert "/no/shell" in sampler.how
    sampler.begins(0)
    assert sampler.await_word(0.001, 10)["run"]["memory"] > 0


def test_a_process_that_never_comes_is_replaced(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphan, "_SCRIPT", "echo 4194304")
    monkeypatch.setattr(sampler_module, "_FIRST_WORD", 0.2)
    sampler.start()
    sampler.wait_for_first()
    assert sampler.how == "thread: the process did not start"
    assert sampler.await_word(0.001, 10)["run"]["memory"] > 0


def test_a_process_that_was_killed_is_replaced(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler.start()
    before = sampler.await_word(0.001, 10)["run"]["memory"]
    (pid,) = sampler_of(os.getpid())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not exists(pid))
    sampler.check()
    assert sampler.how == "process", "it may only be slow"
    monkeypatch.setattr(sampler_module, "_SILENT", 0.0)
    sampler.check()
    assert sampler.how.startswith("thread: ")
    assert sampler.said()["run"]["memory"] >= before * 0.5


def test_where_proc_is_hidden_a_thread_asks_psutil(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.capture.hardware.sampling import processes

    monkeypatch.setattr(process, "started", lambda pid: None)
    monkeypatch.setattr(processes, "started", lambda pid: None)
    sampler.start()
    assert sampler.how == "thread: /proc is hidden"
    said = sampler.await_word(0.001, 10)
    assert said["run"]["memory"] > 0
    assert said["exact"] is False


def test_two_samplers_do_not_disturb_one_another(sampler: Sampler) -> None:
    other = Sampler()
    sampler.start()
    assert sampler.await_word(0.001, 10)["run"]["memory"] > 0
    other.start()
    # Of this process there may be children of other tests'; samplers are none of its.
    own = 1 + len(psutil.Process().children(recursive=True))
    assert other.await_word(0.001, 10)["run"]["processes"] == own
    other.stop()
    said = sampler.await_word(time.monotonic(), 10)
    assert said["run"]["memory"] > 0


# --- its parts


def use(memory: int, cpu: float = 0.0) -> Use:
    return Use(memory=memory, shared=0, cpu=cpu, pids=(1,), walk=0.0, exact=True)


def test_a_sample_counts_for_the_cell_in_which_it_was_taken() -> None:
    tally = Tally()
    tally.add((NONE, NONE), 1.0, use(50), [])
    tally.add((0, 0), 1.0, use(10, cpu=1.0), [])
    tally.add((0, 0), 1.0, use(30, cpu=3.0), [])
    first = tally.said()
    tally.add((0, 1), 1.0, use(99, cpu=4.0), [])  # the cell ended while it was being taken
    tally.add((1, 1), 1.0, use(20, cpu=5.0), [])
    second = tally.said()
    assert (first["mark"], first["cell"]["memory"], first["cell"]["cpu"]) == (0, 30, 2.0)
    assert (second["mark"], second["cell"]["memory"], second["cell"]["samples"]) == (1, 20, 1)
    assert second["run"]["memory"] == 99
    assert second["run"]["cpu_seconds"] == 5.0


def test_an_idle_kernel_is_not_the_run() -> None:
    tally = Tally()
    for second in range(100):
        tally.add((NONE, NONE), 1.0, use(10, cpu=second * 0.001), [])
    assert tally.said()["run"]["samples"] == 0


def test_a_reader_never_sees_half_of_what_is_written() -> None:
    board, done, seen = Board(), threading.Event(), set()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            board.pin({"a": number, "much": [number] * (number % 500), "b": number})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(seen) < 5:
            said = board.read()
            assert said.get("a") == said.get("b")
            seen.add(said.get("a"))
    finally:
        done.set()
        writer.join()


def test_what_is_too_much_for_the_board_leaves_what_was_there() -> None:
    board = Board()
    board.pin({"a": 1})
    board.pin({"much": "x" * 100_000})
    assert board.read() == {"a": 1}


def test_a_tree_keeps_a_descendant_whose_parent_ended() -> None:
    code = (
        "import subprocess, sys, time\n"
        "shell = subprocess.Popen(['sh', '-c', 'sleep 30 & echo $!; sleep 1'],"
        " stdout=subprocess.PIPE, text=True)\n"
        "print(shell.stdout.readline(), flush=True); time.sleep(30)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        tree = Tree(parent.pid)
        first = tree.read()
        assert first is not None
        assert orphan in first.pids
        time.sleep(1.5)
        second = tree.read()
        assert second is not None
        assert orphan in second.pids
        assert os.getpid() not in second.pids
    finally:
        parent.kill()
        parent.wait()
        os.kill(orphan, signal.SIGKILL)
    assert tree.read() is None
