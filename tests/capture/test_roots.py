"""The cross-check of folders: what it blames on a cell, and what it costs."""

# ruff: noqa: E501
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture.data import audit
from mlrepro_nb.capture.data.files import FileWatch
from mlrepro_nb.capture.data.folders import below, is_private
from mlrepro_nb.capture.data.inotify import events
from mlrepro_nb.capture.data.roots import RootsWatch
from mlrepro_nb.capture.watch import Execution, Recording
from tests.conftest import git

LOAD = "%load_ext mlrepro_nb"
OPEN = "import ctypes; libc = ctypes.CDLL(None)\ndef peek(p, flags=0):\n    f = libc.open(p.encode(), flags, 0o644); assert f >= 0, p; libc.write(f, b'x', 1) if flags else None; libc.close(f)"


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(raw: bytes) -> None:
    list(events(raw))


def test_folders_that_hold_no_data_are_not_looked_at(tmp_path: Path) -> None:
    for name in ("data", "deep/er", ".git", "node_modules", "env/lib", "conda/conda-meta"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    assert [Path(p).name for p in below(str(tmp_path))] == ["data", "deep"]
    assert is_private(str(tmp_path))
    assert not is_private("/tmp")
    assert not is_private(str(Path.home()))
    assert not is_private(sys.prefix)


def test_a_thread_that_ended_first_takes_no_handle_from_under_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handle's number, once closed, may be a file of the user's."""
    monkeypatch.chdir(tmp_path)
    recording = mock.create_autospec(Recording, instance=True)
    recording.current.return_value = None
    watch = RootsWatch(recording, mock.create_autospec(FileWatch, instance=True))
    watch.start()
    (thread,) = [t for t in threading.enumerate() if t.name == "mlrepro-roots"]
    kept, opened = audit.keep_own_opens, []

    def keep_and_wait(*, keep: bool) -> None:
        kept(keep=keep)
        Path("wakes").touch()  # inotify tells the thread, which sees that it is to stop
        thread.join(30)
        opened.extend(open(f"{i}", "wb+") for i in range(4))  # noqa: SIM115

    monkeypatch.setattr(audit, "keep_own_opens", keep_and_wait)
    watch.stop()
    assert not thread.is_alive()
    watch.cell_begins(Execution(order=1, request="r", source=""))
    watch.cell_ends(Execution(order=1, request="r", source=""))
    watch.watch_folder(str(tmp_path / "x"))
    watch.seal(1.0)
    assert [file.tell() for file in opened] == [0, 0, 0, 0]
    recording.gap.assert_not_called()


def test_a_thread_that_failed_is_told_once_and_no_cell_fails_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RootsWatch, "_listen", mock.Mock(side_effect=OSError("no more")))
    recording = mock.create_autospec(Recording, instance=True)
    recording.current.return_value = None
    watch = RootsWatch(recording, mock.create_autospec(FileWatch, instance=True))
    watch.start()
    for thread in threading.enumerate():
        if thread.name == "mlrepro-roots":
            thread.join(30)
    for order in (1, 2):
        watch.cell_begins(Execution(order=order, request="r", source=""))
        Path("a.csv").touch()
        watch.cell_ends(Execution(order=order, request="r", source=""))
    watch.seal(1.0)
    watch.stop()
    assert [str(call.args[0]) for call in recording.gap.call_args_list] == [
        "The cross-check of files failed: OSError: no more"
    ]


def test_files_in_new_folders_are_seen_with_what_was_done_to_them(
    kernel: Callable, repository: Path
) -> None:
    (repository / "deep" / "er").mkdir(parents=True)
    (repository / "deep" / "er" / "a.csv").write_text("a", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run(OPEN)
    k.run("peek('deep/er/a.csv')")
    k.run("import os; os.makedirs('new/er'); peek('new/er/b.bin', os.O_WRONLY | os.O_CREAT)")
    (repository / "between").mkdir()
    (repository / "between" / "c.csv").write_text("c", encoding="utf-8")
    k.run("peek('between/c.csv')")
    k.run("import os; peek('gone', os.O_WRONLY | os.O_CREAT); os.remove('gone')")
    k.close()
    record = k.record()
    assert [(d.repo_path, d.access, d.execution, d.layers) for d in record.data] == [
        ("deep/er/a.csv", "read", 2, ("inotify",)),
        ("new/er/b.bin", "write", 3, ("inotify",)),
        ("between/c.csv", "read", 4, ("inotify",)),
    ]
    assert all(d.digest for d in record.data)
    assert record.lineage.capture == "partial"
    assert sum("Only inotify saw" in gap for gap in record.lineage.gaps) == 3


def test_files_of_editors_and_version_control_are_not_blamed_on_a_cell(
    kernel: Callable, repository: Path
) -> None:
    for name in ("other.ipynb", "module.py", ".gitignore", "pyproject.toml", "a.csv.dvc", "b.swp"):
        (repository / name).write_text("x", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("import time; print('on', flush=True)")
    k.send("time.sleep(3)")
    subprocess.run(["sh", "-c", "sleep 1; cat * .gitignore > /dev/null; git status"],
                   cwd=repository, check=True, capture_output=True)  # fmt: skip
    k.run("1")
    k.close()
    record = k.record()
    assert record.data == ()
    assert not [gap for gap in record.lineage.gaps if "inotify" in gap]


def test_a_source_that_is_saved_while_a_cell_runs_is_not_the_cells(
    kernel: Callable, repository: Path
) -> None:
    k = kernel()
    k.run(LOAD)
    k.send("import time; open('started', 'w').close(); time.sleep(1)")
    while not (repository / "started").exists():
        time.sleep(0.01)
    (repository / "edited.py").write_text("x = 1\n")
    k.run("1")
    assert [(d.path, d.access) for d in k.data()] == [("started", "write")]


def test_what_git_reads_for_a_verb_of_ours_is_no_cells(kernel: Callable, repository: Path) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        (repository / name).write_text("x\n1\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "data")
    live = kernel()
    live.run(LOAD)
    live.run("print(open('a.csv').read())")
    for age, verb in enumerate(("record", "status", "record"), 1000):
        for name in ("b.csv", "c.csv"):
            # With another time git must read them to know whether they changed.
            os.utime(repository / name, (time.time() - age,) * 2)
        live.run(f"%mlrepro {verb}")
    live.run("print(1)")
    live.close()
    assert {access.path for access in live.record().data} == {"a.csv"}


def test_that_we_hashed_a_file_does_not_hide_who_writes_to_it(
    kernel: Callable, repository: Path
) -> None:
    (repository / "l.csv").write_text("1\n")
    live = kernel()
    live.run(LOAD)
    live.run("first = open('l.csv').read()")
    live.run("import time; time.sleep(0.5)")  # it is hashed meanwhile
    live.run("!echo more >> l.csv")
    live.run("print(open('l.csv').read())")
    live.close()
    record = live.record()
    told = {(a.access, a.orders): a.size for a in record.data}
    assert told == {("read", (1, 4)): 2, ("write", (3,)): 7}
    assert not any("another program" in gap for gap in record.lineage.gaps)


def test_a_tree_of_many_folders_does_not_hold_up_the_kernel(
    kernel: Callable, repository: Path
) -> None:
    for outer in range(30):
        for inner in range(30):
            (repository / "big" / str(outer) / str(inner)).mkdir(parents=True)
    (repository / "big" / "29" / "29" / "a.csv").write_text("a", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run(OPEN)
    k.run("import time, threading\nwhile 'watching' not in globals():\n"
          "    from mlrepro_nb.faces import magics\n"
          "    roots = [w for w in magics._state.recorder.watches if type(w).__name__ == 'RootsWatch'][0]\n"
          "    if len(roots._folders) > 930: watching = True\n"
          "    time.sleep(0.05)")  # fmt: skip
    k.run("peek('big/29/29/a.csv')")
    assert [(d.repo_path, d.execution) for d in k.data()] == [("big/29/29/a.csv", 3)]


def test_more_events_than_the_queue_holds_are_a_gap(kernel: Callable, repository: Path) -> None:
    (repository / "a").touch()
    (repository / "b").touch()
    k = kernel()
    k.run(LOAD)
    k.run(OPEN)
    # A call that keeps the interpreter lock starves the thread that reads the queue.
    k.run(
        "import ctypes\nlocked = ctypes.PyDLL(None)\nfor n in range(300):\n    pass\n"
        "import sys; sys.setswitchinterval(1000)\n"
        "for n in range(40000):\n    f = locked.open(b'ab'[n % 2:n % 2 + 1], 0); locked.close(f)\n"
        "sys.setswitchinterval(0.005)"
    )
    k.close()
    record = k.record()
    assert {d.repo_path for d in record.data} == {"a", "b"}
    assert any("More files were opened at once" in gap for gap in record.lineage.gaps)
    shutil.rmtree(repository / ".mlrepro")
