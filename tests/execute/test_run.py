"""Whatever a notebook does, its run ends and says how."""

import json
import signal
import subprocess
import sys
import time

import nbformat.v4 as v4
import psutil
import pytest

from mlrepro_nb.errors import KernelError, UsageError
from mlrepro_nb.execute import check_parameters, run


def notebook(*sources, **metadata):
    nb = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    nb.metadata.update(metadata)
    return nb


def text(execution, index):
    return "".join(o.get("text", "") for o in execution.nb.cells[index].outputs)


def test_a_run_gives_outputs_events_and_leaves_the_notebook_alone(tmp_path):
    nb = notebook("print('hi')", "6 * 7")
    execution = run(nb, cwd=tmp_path)
    assert text(execution, 0) == "hi\n"
    assert execution.nb.cells[1].outputs[0].data["text/plain"] == "42"
    assert execution.error is None
    assert execution.events
    assert execution.kernel == "python3"
    assert nb.cells[0].outputs == []


def test_an_error_is_returned_and_stops_the_run_unless_told(tmp_path):
    nb = notebook("1 / 0", "print('later')")
    execution = run(nb, cwd=tmp_path, recorded=False)
    assert (execution.error.index, execution.error.ename) == (0, "ZeroDivisionError")
    assert text(execution, 1) == ""
    execution = run(nb, cwd=tmp_path, recorded=False, allow_errors=True)
    assert execution.error.index == 0
    assert text(execution, 1) == "later\n"


@pytest.mark.parametrize(
    ("source", "ename"),
    [
        ("import os; os.kill(os.getpid(), 9)", "DeadKernelError"),
        ("import os; os._exit(0)", "DeadKernelError"),
        ("import ctypes; ctypes.string_at(0)", "DeadKernelError"),
        ("while True: pass", "TimeoutError"),
        ("import time; time.sleep(1000)", "TimeoutError"),
        ("while True: print('x' * 1000)", "TimeoutError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)",
         "KeyboardInterrupt"),
        ("input('?')", "StdinNotImplementedError"),
    ],
)  # fmt: skip
def test_hostile_cells_end_in_an_error(tmp_path, source, ename):
    execution = run(notebook("a = 1", source, "print(a)"), cwd=tmp_path, timeout=4, recorded=False)
    assert (execution.error.index, execution.error.ename) == (1, ename)
    assert execution.duration < 60


def test_the_notebook_as_a_whole_can_run_out_of_time(tmp_path):
    nb = notebook("1", *["import time; time.sleep(3)"] * 10)
    execution = run(nb, cwd=tmp_path, total_timeout=4, recorded=False)
    assert execution.error.ename == "TimeoutError"
    assert 0 < execution.error.index < 10


def test_a_flood_of_output_is_cut_and_said_so(tmp_path):
    source = "for i in range(200): print('y' * 1_000_000)"
    execution = run(notebook(source, "print('still here')"), cwd=tmp_path, recorded=False)
    assert execution.error is None
    assert 1_000_000 < len(text(execution, 0)) <= 50_000_000
    assert any("more than could be kept" in gap for gap in execution.gaps)
    assert text(execution, 1) == "still here\n"


def test_exit_is_no_error(tmp_path):
    assert run(notebook("import sys; sys.exit()"), cwd=tmp_path, recorded=False).error is None


_ANSWERS_LATE = """
import threading
from ipykernel.iostream import IOPubThread, OutStream
schedule = IOPubThread.schedule
def late(self, f):
    flushes = getattr(f, "__name__", "") == "set" and self.thread.is_alive()
    if threading.current_thread().name != "Control" or not flushes:
        return schedule(self, f)
    self.thread.join(0.3)  # what a busy machine does here
    self._events.append(f)
    if self.thread.is_alive():
        self._event_pipe.send(b"")
IOPubThread.schedule = late
OutStream.flush_timeout = 1e6

from ipykernel.kernelapp import IPKernelApp
class Context:
    def term(self):  # what it does last
        open("went by itself", "x").close()
IPKernelApp.instance().context = Context()

import atexit, time
atexit.register(time.sleep, 0.1)  # the other thread has begun to answer by then
"""


def test_a_recorded_kernel_answers_before_it_stops_its_output(tmp_path):
    run(notebook(_ANSWERS_LATE), cwd=tmp_path)
    assert (tmp_path / "went by itself").exists()


def test_a_kernel_that_hangs_when_it_is_to_go_does_not_keep_us(tmp_path):
    began = time.monotonic()
    run(notebook("import atexit, time; _ = atexit.register(time.sleep, 300)"), cwd=tmp_path)
    assert time.monotonic() - began < 30


def test_a_kernel_that_still_works_when_it_is_to_go_is_waited_for(tmp_path):
    work = (
        "import atexit, time\ndef work():\n"
        "  until = time.time() + 13\n  while time.time() < until: sum(range(10**5))\n"
        "  open('worked', 'w').close()\n_ = atexit.register(work)"
    )
    run(notebook(work), cwd=tmp_path)
    assert (tmp_path / "worked").exists()


def test_children_are_not_left_behind(tmp_path):
    source = (
        "import subprocess\nfor new in (False, True):\n"
        "    print(subprocess.Popen(['sleep', '300'], start_new_session=new).pid)"
    )
    execution = run(notebook(source), cwd=tmp_path, recorded=False)
    children = [int(pid) for pid in text(execution, 0).split()]
    assert len(children) == 2
    deadline = time.monotonic() + 20
    while any(map(_lives, children)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_users_startup_files_are_not_seen(tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("secret_helper = 1\n")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    execution = run(notebook("secret_helper"), cwd=tmp_path, recorded=False)
    assert execution.error.ename == "NameError"


def test_nothing_that_the_kernel_prints_reaches_our_standard_output(tmp_path, capfd):
    run(notebook("import os; os.write(1, b'loud'); os.system('echo loud')"), cwd=tmp_path)
    assert capfd.readouterr().out == ""


def test_a_kernel_without_mlrepro_runs_unrecorded(tmp_path, monkeypatch):
    kernels = tmp_path / "data" / "kernels" / "bare"
    kernels.mkdir(parents=True)
    code = (
        "import sys, importlib.util as u; f = u.find_spec\n"
        "u.find_spec = lambda n, p=None: None if n == 'mlrepro_nb' else f(n, p)\n"
        "from ipykernel import kernelapp; kernelapp.launch_new_instance()"
    )
    (kernels / "kernel.json").write_text(
        json.dumps(
            {"argv": [sys.executable, "-c", code, "-f", "{connection_file}"],
             "display_name": "bare", "language": "python"}
        )
    )  # fmt: skip
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "data"))
    execution = run(notebook("print(1)"), cwd=tmp_path, kernel="bare")
    assert text(execution, 0) == "1\n"
    assert execution.events == []
    assert any("not recorded" in gap for gap in execution.gaps)


def test_an_interpreter_that_is_too_old_to_keep_its_kernel_has_ours_keep_it(tmp_path, monkeypatch):
    """As Python 3.6 is, which cannot read what forks the kernels of newer ones."""
    kernels = tmp_path / "data" / "kernels" / "old"
    kernels.mkdir(parents=True)
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *nursery.process*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    told = {"argv": argv, "display_name": "old", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(told))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "data"))
    execution = run(notebook("print(1)"), cwd=tmp_path, kernel="old")
    assert execution.error is None
    assert text(execution, 0) == "1\n"


def test_a_kernel_that_is_not_installed_is_told(tmp_path):
    nb = notebook("1", kernelspec={"name": "py36-old", "display_name": "", "language": "python"})
    with pytest.raises(KernelError, match="py36-old") as error:
        run(nb, cwd=tmp_path)
    assert "python3" in error.value.remedy
    assert "ipykernel install" in error.value.remedy
    with pytest.raises(KernelError, match="no kernel 'nope'"):
        run(nb, cwd=tmp_path, kernel="nope")


def test_a_kernel_that_does_not_start_is_told(tmp_path, monkeypatch):
    kernels = tmp_path / "kernels" / "broken"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [sys.executable, "-c", "raise SystemExit('no ipykernel')"],
                "display_name": "b",
                "language": "python",
            }
        )
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(KernelError, match="no ipykernel"):
        run(notebook("1"), cwd=tmp_path, kernel="broken")


def test_parameters_go_in_below_their_cell(tmp_path):
    nb = notebook("print('first')", "alpha = 1", "print(alpha * 2)")
    nb.cells[1].metadata["tags"] = ["parameters"]
    execution = run(nb, cwd=tmp_path, parameters={"alpha": 21}, recorded=False)
    assert execution.positions == (0, 1, None, 2)
    assert text(execution, 3) == "42\n"
    nb.cells[2].source = "raise ValueError(alpha)"
    execution = run(nb, cwd=tmp_path, parameters={"alpha": 21}, recorded=False)
    assert execution.error.index == 2


def tagged(source):
    nb = notebook(source)
    nb.cells[0].metadata["tags"] = ["parameters"]
    return nb


def test_parameters_are_checked():
    with pytest.raises(UsageError, match="'alhpa'") as error:
        check_parameters(tagged("alpha = 1\nbeta: int = 2"), {"alhpa": 2})
    assert "'alpha'" in error.value.remedy
    assert "beta" in error.value.remedy
    with pytest.raises(UsageError, match="'gamma' has no value"):
        check_parameters(tagged("gamma: float"), {})
    check_parameters(tagged("gamma: float"), {"gamma": 2.0})
    with pytest.raises(UsageError, match="no cell tagged"):
        check_parameters(notebook("x = 1"), {"x": 2})


def test_ctrl_c_leaves_no_kernel(tmp_path):
    code = (
        "import nbformat.v4 as v4, pathlib\nfrom mlrepro_nb.execute import run\n"
        'cells = [v4.new_code_cell(\'open("up", "w").write(str(__import__("os").getpid()));'
        "import time; time.sleep(300)')]\n"
        "run(v4.new_notebook(cells=cells), cwd=pathlib.Path('.'), recorded=False)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE,
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "up").exists() or not (tmp_path / "up").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kernel = int((tmp_path / "up").read_text())
    process.send_signal(2)
    process.communicate(timeout=60)
    assert process.returncode != 0
    deadline = time.monotonic() + 20
    while _lives(kernel):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_progress_shows_no_secret_that_another_cell_gives_away(tmp_path):
    said = []
    nb = notebook("password = 'Tr0ub4dor3xyz'", "conn = ('joe', 'Tr0ub4dor3xyz')")
    run(nb, cwd=tmp_path, recorded=False, report=lambda step: said.append(step.message))
    assert any("conn = ('joe', '***')" in message for message in said)
    assert not any("Tr0ub" in message for message in said)
