"""Whatever a notebook does, it ends in a verdict, and nothing of it is left."""

import json
import os
import time

import nbformat
import nbformat.v4 as v4
import psutil
import pytest

from mlrepro_nb.execute import Limits, Nursery, _client, _environment
from mlrepro_nb.verify import Task, perform, verify


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as made:
        yield made


@pytest.fixture
def hold(tmp_path, nursery):
    """Verify a notebook: its cells as source and what they are known to print."""

    def run(*cells, timeout=60, **limits):
        nb = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": ""}})
        for count, (source, printed) in enumerate(cells, 1):
            outputs = [v4.new_output("stream", name="stdout", text=printed)] if printed else []
            nb.cells.append(v4.new_code_cell(source, outputs=outputs, execution_count=count))
        path = tmp_path / "a.ipynb"
        nbformat.write(nb, path)
        return verify(path, timeout=timeout, nursery=nursery, limits=Limits(**limits))

    return run


def verdicts(found):
    return [cell.verdict for cell in found.cells]


FIRST, LAST = ("print(1)", "1\n"), ("print(3)", "3\n")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os; os._exit(3)", "died"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os, time; os.kill(os.getppid(), 9); time.sleep(60)", "died"),
        ("import os; os.abort()", "SIGABRT"),
    ],
    ids=["_exit", "kill", "segfault", "keeper", "abort"],
)  # fmt: skip
def test_a_kernel_that_ends_itself_fails_with_the_reason(hold, source, said):
    found = hold(FIRST, (source, "x\n"), LAST)
    assert verdicts(found)[1:] == ["failed", "failed"]
    assert [(c.kind, c.cell) for c in found.causes] == [("exception", 1)]
    assert said in found.causes[0].evidence


@pytest.mark.parametrize(
    "source",
    [
        "import signal, time\n"
        "for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)"
        "\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass",
        "import sys\nwhile True: sys.stdout.write('x' * 100_000)",
        "import os, signal, time; os.kill(os.getppid(), signal.SIGSTOP); time.sleep(600)",
    ],
    ids=["ignores signals", "prints for ever", "stops its keeper"],
)
def test_what_never_ends_is_ended(hold, source):
    found = hold(FIRST, (source, "x\n"), LAST, timeout=3)
    assert verdicts(found)[1:] == ["failed", "failed"]
    assert "TimeoutError" in found.causes[0].evidence


def test_a_notebook_has_a_limit_even_where_none_is_given(hold, nursery):
    from mlrepro_nb.verify._surroundings import patience

    class Unrecorded:
        record = None

    assert patience(Unrecorded, None) == 3600
    assert patience(Unrecorded, float("inf")) is None


def test_too_much_memory_is_named(hold):
    source = "kept = []\nwhile True: kept.append(bytearray(20_000_000))"
    found = hold(FIRST, (source, ""), LAST, memory=400 << 20)
    assert found.verdict == "failed"
    assert "more than 400 MB of memory" in found.causes[0].evidence


def test_a_fork_bomb_is_put_out(hold):
    before = len(psutil.pids())
    found = hold(FIRST, ("import os\nwhile True: os.fork()", ""), processes=60)
    assert "more than 60 processes" in found.causes[0].evidence
    assert len(psutil.pids()) < before + 60


def test_a_full_scratch_disk_is_named(hold, tmp_path):
    source = (
        "import time\nfor n in range(40):\n"
        "    with open(f'{n}.bin', 'wb') as file: file.write(bytes(1_000_000) )\n"
        "    time.sleep(0.02)\ntime.sleep(60)"
    )
    found = hold((source, ""), scratch=10_000_000)
    assert "to the scratch disk" in found.causes[0].evidence
    found = hold(("open('one', 'wb').write(bytes(20_000_000))", ""), scratch=10_000_000)
    assert found.causes[0].subject == "OSError"
    assert not list(tmp_path.glob("*.bin"))


def test_daemons_do_not_outlive_the_notebook(hold, tmp_path):
    marks = tmp_path / "pids"
    source = (
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid(); os.environ.clear()\n"
        "    if not os.fork():\n"
        f"        open({str(marks)!r}, 'w').write(str(os.getpid()))\n"
        "        os.execve('/bin/sleep', ['sleep', '600'], {})\n"
        "    os._exit(0)\n"
        "time.sleep(1)"
    )
    # The path is the project's own: what the notebook writes there lands in the copy.
    found = hold((source.replace(str(marks), "/tmp/mlrepro-hostile-pid"), ""), ("print(3)", "3\n"))
    assert found.cells[1].verdict in ("bitwise", "within-tolerance")
    with open("/tmp/mlrepro-hostile-pid") as file:
        pid = int(file.read())
    os.unlink("/tmp/mlrepro-hostile-pid")
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_gigabytes_of_output_are_cut_and_not_called_reproduced(hold):
    source = "part = 'y' * 10_000_000\nfor _ in range(200): print(part)"
    found = hold((source, "y" * 10_000_000 + "\n"), LAST, timeout=300)
    assert found.cells[0].verdict not in ("bitwise", "within-tolerance")
    assert any("more than could be kept" in note for note in found.notes)


def test_what_agrees_as_far_as_it_was_kept_is_not_called_reproduced(hold, monkeypatch):
    # What was stored is as long as what is kept: only that the rest is missing tells them apart.
    for module in (_client, _environment):
        monkeypatch.setattr(module, "OUTPUT_CAP", 1000)
    found = hold(("print('x' * 5000)", "x" * 1000), LAST)
    assert found.cells[0].verdict == "inconclusive"
    assert "more than is kept" in found.cells[0].detail
    assert found.verdict == "inconclusive"
    assert found.cells[1].verdict == "bitwise"


def test_strange_cells_are_judged_and_the_next_still_runs(hold):
    deep = "value = 1\nfor _ in range(900): value = [value]\n"
    strange = [
        "exit()",
        "import sys; sys.stdout.write('\\x00\\x1b[2J\\ud800')",
        "sys.stdout.flush(); sys.stdout.close()",
        "input('name? ')",
        deep + "display({'application/json': value}, raw=True)",
        "import os, shutil; os.chdir(os.path.dirname(os.getcwd())); shutil.rmtree('.', True)",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "display({'image/png': b'\\x00' * 100, 'text/html': '<script>x</script>'}, raw=True)",
    ]
    found = hold(*[(source, "") for source in strange], LAST)
    assert len(found.cells) == len(strange) + 1
    assert found.verdict in ("failed", "different")


def test_a_stopped_event_loop_ends_in_a_verdict(hold):
    found = hold(("import asyncio; asyncio.get_event_loop().stop()", ""), LAST, timeout=5)
    assert found.verdict


def test_hundreds_of_cells_are_run(hold):
    found = hold(*[(f"print({n})", f"{n}\n") for n in range(300)])
    assert {cell.verdict for cell in found.cells} <= {"bitwise", "within-tolerance"}


def test_offline_means_offline_but_for_itself(hold):
    found = hold(
        ("import urllib.request as u\nu.urlopen('http://192.0.2.1', timeout=5)", "x\n"),
        ("import socket\ns = socket.create_server(('127.0.0.1', 0))\n"
         "print(socket.create_connection(s.getsockname()).fileno() > 0)", "True\n"),
        offline=True,
    )  # fmt: skip
    assert found.cells[0].verdict == "failed"
    assert found.causes[0].kind == "remote-data"
    assert found.cells[1].verdict in ("bitwise", "within-tolerance")


def test_where_no_namespace_may_be_made_a_guard_stands_and_says_so(tmp_path):
    from mlrepro_nb.execute._environment import _GUARD

    code = (
        "import os; os.environ['MLREPRO_OFFLINE'] = 'guard'\n" + _GUARD + "import socket\n"
        "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())\n"
        "try: socket.create_connection(('192.0.2.1', 80), timeout=5)\n"
        "except OSError as error: print(error.strerror)\n"
        "try: socket.getaddrinfo('example.com', 80)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    import subprocess
    import sys

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [
        "Network is unreachable", "Temporary failure in name resolution"
    ]  # fmt: skip


def test_a_notebook_that_cannot_be_read_is_an_outcome(tmp_path, nursery):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": 4}]}))
    outcome = perform(Task(target=str(path)), nursery=nursery)
    assert outcome.verification is None
    assert outcome.exit_code == 2
    assert "cell 0" in outcome.problem.message


def test_the_users_startup_files_run_only_where_that_is_asked_for(hold, tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("print('profile')\nhelper = 1\n")
    (tmp_path / "rc.py").write_text("other = 2\n")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "rc.py"))
    cell = ("print('helper' in dir(), 'other' in dir())", "True True\n")
    assert hold(cell).verdict == "different"
    assert hold(cell, startup_files=True).verdict in ("bitwise", "within-tolerance")
