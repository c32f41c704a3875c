"""However a kernel ends, and whatever the disk does: what cells did is there, and valid."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.model import DOCUMENTS, Record
from mlrepro_nb.record import recover
from mlrepro_nb.store import Journal, Store, read_events
from tests.capture.forked import recorded, session_of

ROOT = Path(__file__).parent.parent.parent
LOAD = "%load_ext mlrepro_nb"


def program(*arguments: str, module: str = "tests.capture.forked", cwd: Path) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def in_child(work: Callable[[], None]) -> int:
    """Run something in a fork and return how that ended."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def cells_told(store: Store) -> dict[str, int]:
    """Return, for each session that some record names in its sources, how many cells ended."""
    found: dict[str, int] = {}
    for entry in store.entries(Record, limit=10_000):
        cells = store.get(Record, entry.digest).code.cells
        ended = [c for c in cells if c.status == "ok"]
        for name in {c.source.rpartition("# ")[2] for c in cells}:
            found[name] = max(found.get(name, 0), len(ended))
    return found


def check(store: Store) -> None:
    """Check that a store is whole: index, every document, every journal."""
    store.close()
    for database in store.root.glob("*.db"):
        db = sqlite3.connect(database)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
    listed = {(e.digest, e.kind) for e in store.entries(limit=100_000)}
    for digest, kind in listed:
        store.get(DOCUMENTS[kind], digest)
    for digest in store.blobs:
        store.blobs.get(digest)
    for session in store.sessions():
        assert all(kind != "damaged" for kind, _ in store.events(session.id))
    store.close()
    for part in ("", "-wal", "-shm"):
        store.root.joinpath(f"index.db{part}").unlink(missing_ok=True)
    store.reindex()
    # A document that was killed between its blob and its line in the index comes back.
    assert {(e.digest, e.kind) for e in store.entries(limit=100_000)} >= listed


def test_hundreds_of_kills_at_any_moment_lose_no_cell_that_ended(
    repository: Path, store: Store
) -> None:
    kills = 150
    seeds = [random.randrange(2**32) for _ in range(2)]
    killers = [program(str(store.root), str(kills), str(seed), cwd=repository) for seed in seeds]
    ended: dict[str, int] = {}
    for killer in killers:
        out, said = killer.communicate(timeout=300)
        assert killer.returncode == 0, (seeds, said)
        assert "locked" not in said
        ended |= {line.split()[0]: int(line.split()[1]) for line in out.splitlines()}
    assert len(ended) == 2 * kills
    assert sum(ended.values()) > 5 * kills, "they were killed in their work"
    recover(store)
    assert recover(store) == [], "twice is once"
    told = cells_told(store)
    missing = {s: (count, told.get(s, 0)) for s, count in ended.items() if told.get(s, 0) < count}
    assert not missing, seeds
    check(store)


def test_killed_kernels_are_recovered_with_all_their_cells(
    kernel: Callable, repository: Path
) -> None:
    dice = random.Random(7)
    for turn in range(5):
        k = kernel()
        k.run(LOAD)
        for number in range(12):
            k.send(f"import time\ntime.sleep(0.02)\nprint('cell {turn} {number}', flush=True)")
        time.sleep(dice.random())
        done = _printed(k)
        k.kill()
        recover(k.store())
        newest = k.store().entries(Record)[0].digest
        cells = k.store().get(Record, newest).code.cells
        ended = [c.source for c in cells if c.status == "ok" and "print" in c.source]
        # What the front end has seen of a cell says that those before it have ended.
        assert len(ended) >= done - 1
        assert [f"cell {turn} {number}" in source for number, source in enumerate(ended)]
    check(Store.find(repository))


def _printed(k: Any) -> int:
    import queue

    count = 0
    while True:
        try:
            message = k.client.get_iopub_msg(timeout=0.01)
        except queue.Empty:
            return count
        if message["msg_type"] == "stream":
            count += message["content"]["text"].count("\n")  # a line may come in two messages


def test_journals_that_a_record_holds_are_deleted_when_the_next_kernel_starts(
    repository: Path, store: Store
) -> None:
    def kernel(*, seal: bool) -> Callable[[], None]:
        def work() -> None:
            shell, live = recorded(store.root)
            shell.run_cell("x = 1")
            if seal:
                live.seal()
                shell.run_cell("y = 2")
                live.stop()

        return work

    assert in_child(kernel(seal=True)) == 0
    assert len(store.sessions()) == 1, "it can be looked at until then"
    assert in_child(kernel(seal=False)) == 0
    (left,) = store.sessions()
    assert left.record is None, "one that no record holds stays"
    assert in_child(kernel(seal=True)) == 0
    assert len(store.sessions()) == 2
    recover(store)
    store.open_session("n.ipynb")
    assert [s.notebook for s in store.sessions()] == ["n.ipynb"]


def test_a_kernel_that_goes_on_after_its_seal_keeps_its_journal(
    repository: Path, store: Store
) -> None:
    shell, live = recorded(store.root)
    shell.run_cell("x = 1")
    live.seal()
    Store(store.root).open_session("other.ipynb")
    shell.run_cell("y = 2")
    assert len(live.stop()[1].code.cells) == 2


# --- out of memory


def test_cells_and_recorder_out_of_memory_leave_a_valid_journal(
    repository: Path, store: Store
) -> None:
    def work() -> None:
        shell, _ = recorded(store.root)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        for room in (64 << 20, 4 << 20, 256 << 10, 0):
            resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))
            shell.run_cell("big = bytearray(1 << 30)")
            shell.run_cell("small = [bytes(1000) for _ in range(3000)]")
            shell.run_cell("del small")
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        shell.run_cell("'after'")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(work) == -signal.SIGKILL
    recover(store)
    record = store.get(Record, store.entries(Record)[0].digest)
    assert record.code.cells[0].status == "error", "MemoryError is the cell's"
    assert (record.code.cells[-1].source, record.code.cells[-1].status) == ("'after'", "ok")
    check(store)


def test_a_kernel_that_the_memory_guard_ends_leaves_its_cells(
    kernel: Callable, repository: Path
) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("x = 1")
    process = k.manager.provisioner.process
    with _memory_guard(process.pid, room=64 << 20) as real:
        k.send("big = [bytearray(b'1' * (1 << 20)) for _ in range(1 << 10)]")
        if not real:  # no cgroup can be made here
            k.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
    (digest,) = recover(k.store())
    cells = k.store().get(Record, digest).code.cells
    assert [c.status for c in cells][:2] == ["ok", "ok"]
    assert [c.source for c in cells][:2] == [LOAD, "x = 1"]


@contextlib.contextmanager
def _memory_guard(pid: int, *, room: int) -> Iterator[bool]:
    """Let the system kill a process that takes more memory than some room."""
    group = Path(f"/sys/fs/cgroup/memory/mlrepro-test-{pid}")
    try:
        group.mkdir()
        # What it has already stays on its old group's account.
        (group / "memory.limit_in_bytes").write_text(str(room))
        (group / "cgroup.procs").write_text(str(pid))
        real = True
    except OSError:
        real = False
    try:
        yield real
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):
                group.rmdir()
            if not group.exists():
                break
            time.sleep(0.05)


# --- the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def _fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast


def test_a_full_disk_stops_no_cell_and_what_it_held_back_is_written_later(
    repository: Path, small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = small_disk / "store"

    def work() -> None:
        shell, _ = recorded(root)
        assert shell.run_cell("x = 1") is None
        ballast = _fill(small_disk)
        for number in range(100):
            assert shell.run_cell(f"x = {number}  # {'long ' * 100}") is None
        ballast.unlink()
        assert shell.run_cell("'after'") is None
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(work) == -signal.SIGKILL
    said = capfd.readouterr().err
    assert said.count("cannot be kept") == 1, said
    store = Store(root)
    (session,) = store.sessions()
    events = store.events(session.id)
    begun = [data["order"] for kind, data in events if kind == "begin"]
    ended = [data["order"] for kind, data in events if kind == "end"]
    assert begun == ended == list(range(102)), "in order, each once"
    check(store)


def test_a_kernel_that_is_killed_on_a_full_disk_leaves_what_had_found_room(
    repository: Path, small_disk: Path
) -> None:
    root = small_disk / "store"

    def work() -> None:
        shell, _ = recorded(root)
        for _ in range(20):
            shell.run_cell("x = 1")
        _fill(small_disk)
        for _ in range(20):
            shell.run_cell(f"y = 2  # {'long ' * 200}")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(work) == -signal.SIGKILL
    store = Store(root)
    (session,) = store.sessions()
    ended = [data["order"] for kind, data in store.events(session.id) if kind == "end"]
    assert len(ended) >= 20
    assert ended == list(range(len(ended)))
    shutil.rmtree(small_disk / "ballast", ignore_errors=True)
    (small_disk / "ballast").unlink()
    assert len(recover(store)) == 1
    check(store)


def test_sealing_on_a_full_disk_loses_nothing(repository: Path, small_disk: Path) -> None:
    root = small_disk / "store"

    def work() -> None:
        from mlrepro_nb.errors import MlreproError

        shell, live = recorded(root)
        shell.run_cell("x = 1")
        ballast = _fill(small_disk)
        with pytest.raises(MlreproError):
            live.seal()
        ballast.unlink()
        shell.run_cell("y = 2")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(work) == -signal.SIGKILL
    (digest,) = recover(Store(root))
    cells = Store(root).get(Record, digest).code.cells
    assert [c.source for c in cells] == ["x = 1", "y = 2"]
    check(Store(root))


def test_a_disk_that_does_not_answer_holds_up_no_more_than_one_cell(tmp_path: Path) -> None:
    # A pipe that nobody reads is a disk that hangs.
    path = tmp_path / "journal.jsonl"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    journal = Journal(path, slow=True)
    count = 400
    for number in range(count):
        journal.append("begin", {"order": number, "source": "x" * 1000})
    assert journal.is_behind
    received = bytearray()

    def read() -> None:
        os.set_blocking(reading, True)
        while received.count(b"\n") < count:
            received.extend(os.read(reading, 65536))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert journal.close(timeout=60), "all is written once it answers"
    thread.join(timeout=60)
    os.close(reading)
    orders = [json.loads(line)[1]["order"] for line in bytes(received).splitlines() if line]
    assert orders == list(range(count))


def test_a_file_system_of_another_machine_is_known_by_its_kind() -> None:
    from mlrepro_nb.store._journal import is_remote

    def mounts(kind: str, path: Path) -> str:
        device = path.stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        return f"30 1 {number} / {path} rw,relatime shared:1 - {kind} source rw\n"

    here = Path(__file__).parent
    for kind in ("nfs4", "cifs", "fuse.sshfs", "lustre"):
        assert is_remote(here / "not" / "there", mounts(kind, here))
    for kind in ("ext4", "overlay", "tmpfs", "xfs"):
        assert not is_remote(here, mounts(kind, here))


# --- the journal's file


CLOSING = """
import os, sys
from pathlib import Path
from tests.capture.forked import recorded
shell, live = recorded(Path(sys.argv[1]))
for cell in sys.argv[2:]:
    error = shell.run_cell(cell)
    if error is not None:
        raise error
os.kill(os.getpid(), 9)
"""


def test_closed_and_taken_descriptors_are_not_written_to(repository: Path, store: Store) -> None:
    cells = [
        "import os\nos.closerange(3, 65536)",
        "f = open('users.txt', 'w')\nfds = [os.dup2(f.fileno(), n) for n in range(30, 1000)]",
        "f.write('mine')\nf.close()\nfor fd in fds: os.close(fd)",
        "os.close(0)\nos.close(1)",
        "'after'",
    ]
    done = subprocess.run(
        [sys.executable, "-c", CLOSING, str(store.root), *cells],
        cwd=repository, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (repository / "users.txt").read_text() == "mine"
    events = store.events(store.sessions(sealed=False)[0].id)
    assert [d["source"] for kind, d in events if kind == "begin"] == cells
    assert sum(kind == "end" for kind, _ in events) == len(cells)


def test_a_journal_that_is_deleted_is_made_anew_and_says_so(repository: Path, store: Store) -> None:
    shell, live = recorded(store.root)
    shell.run_cell("x = 1")
    shutil.rmtree(store.root)
    shell.run_cell("y = 2")
    events = store.events(session_of(live))
    assert [d["source"] for kind, d in events if kind == "begin"] == ["y = 2"]
    assert any("deleted" in data["text"] for kind, data in events if kind == "gap")
    live.stop()


def test_a_damaged_line_is_a_gap_and_a_cut_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'["a",{}]\n["b",{"x\n["b",{"x":1}]\n\0\0\0\n["c",{}]\n["d",{"y')
    assert [kind for kind, _ in read_events(path)] == ["a", "b", "damaged", "c"]


def test_what_json_cannot_hold_is_written_as_it_can_be(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    odd = {"a": "\ud800x", "b": 2**200, "c": {1, 2}, "d": float("nan"), 3: b"x", "e": object}
    journal.append("odd", odd)
    journal.append("odd", {"ok": 1})
    journal.close()
    assert len(read_events(tmp_path / "j.jsonl")) == 2


# --- at once


def test_eight_kernels_record_into_one_store_at_once(repository: Path, store: Store) -> None:
    (repository / "data.csv").write_text("a\n1\n", encoding="utf-8")
    children = []
    for number in range(8):
        child = os.fork()
        if not child:
            try:
                shell, live = recorded(store.root)
                for turn in range(30):
                    shell.run_cell(f"open('data.csv').read()  # {number} {turn}")
                    if turn % 10 == 5:
                        live.seal()
                live.stop()
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children] == [0] * 8
    sessions = store.sessions(sealed=True)
    assert len(sessions) == 8
    for session in sessions:
        record = store.get(Record, session.record or "")
        assert len(record.code.cells) == 30
        assert len(record.data) == 30 or {d.path for d in record.data} == {"data.csv"}
        assert not [gap for gap in record.lineage.gaps if "failed" in gap]
    check(store)


def test_no_cell_waits_for_another_kernel_that_holds_the_index(
    kernel: Callable, repository: Path
) -> None:
    (repository / "data.csv").write_text("a\n1\n", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("open('data.csv').read()")
    said = k.run("%mlrepro record")
    locks = []
    for database in (repository / ".mlrepro").glob("*.db"):
        db = sqlite3.connect(database, isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")
        locks.append(db)
    assert locks, said
    for number in range(10):
        # SQLite would wait 30 seconds for each lock.
        k.run(f"open('data.csv').read()\nopen('out{number}.csv', 'w').write('1')", timeout=20)
    events = k.store().events(k.store().sessions()[0].id)
    assert sum(kind == "end" for kind, _ in events) >= 12
    for db in locks:
        db.execute("ROLLBACK")
        db.close()
