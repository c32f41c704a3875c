"""What files held: taken once, in the background, before they change, and never guessed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from mlrepro_nb.capture.data import digests as room
from mlrepro_nb.capture.data import hashing
from mlrepro_nb.capture.data.digests import Digests
from mlrepro_nb.capture.data.hashing import hash_file, hash_files
from mlrepro_nb.store import Store

LOAD = "%load_ext mlrepro_nb"


def identity(content: bytes | Path) -> str:
    data = content.read_bytes() if isinstance(content, Path) else content
    return f"blake3:{blake3(data).hexdigest()}"


def rest(*paths: Path, seconds: float = 60.0) -> None:
    """Make files look as if they had not been touched for a while (their ctime cannot be set)."""
    for path in paths:
        then = time.time_ns() - int(seconds * 1e9)
        os.utime(path, ns=(then, then))


@pytest.fixture
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as at rest at once, where a test is not about that."""
    monkeypatch.setattr(hashing, "REST_NS", -(10**18))


class Recording:
    """What `Digests` asks of a recorder."""

    shell = None

    def __init__(self) -> None:
        self.files: list[dict[str, Any]] = []
        self.gaps: list[str] = []

    def emit(self, kind: str, data: Any) -> None:
        assert kind == "files"
        self.files += data

    def gap(self, text: str) -> None:
        self.gaps.append(text)

    def current(self) -> int | None:
        return None

    def held(self, path: Path, access: str = "read") -> list[str]:
        return [
            f["digest"] for f in self.files if (f["absolute"], f["access"]) == (str(path), access)
        ]


@pytest.fixture
def watched(store: Store) -> tuple[Recording, Digests]:
    recording = Recording()
    digests = Digests(recording, store.digests, store.blobs.put)
    return recording, digests


# --- hashing


def test_blake3_and_md5_come_from_one_pass_over_any_size(tmp_path: Path) -> None:
    import hashlib

    for size in (0, 1, 128 << 10, (128 << 10) + 1, 512 << 10, (3 << 20) + 7):
        path = tmp_path / str(size)
        path.write_bytes(os.urandom(size))
        found = hash_file(str(path), md5=True)
        assert found is not None
        assert found.digest == identity(path)
        assert found.md5 == f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"
        assert found.size == size


def test_what_is_no_readable_file_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("fifo", "folder", "dangling", "loop", "missing", "nul\0byte"):
        assert hash_file(f"{tmp_path}/{name}") is None
    assert list(hash_files([f"{tmp_path}/fifo", "/nowhere"])) == [None, None]


def test_a_file_that_is_cut_short_while_it_is_hashed_kills_nobody(tmp_path: Path) -> None:
    # A mapped file would: the process gets a SIGBUS.
    program = (
        "import sys, threading\nfrom mlrepro_nb.capture.data.hashing import hash_file\n"
        "path = sys.argv[1]\n"
        "def cut():\n"
        "    for size in (10, 64 << 20) * 15:\n"
        "        with open(path, 'r+b') as f: f.truncate(size)\n"
        "thread = threading.Thread(target=cut); thread.start()\n"
        "while thread.is_alive(): hash_file(path)\n"
        "print(hash_file(path).size)"
    )
    path = tmp_path / "big"
    path.write_bytes(bytes(64 << 20))
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(64 << 20)), done.stderr


def test_a_file_that_changes_all_the_time_has_no_digest_and_that_is_said(
    watched: tuple[Recording, Digests], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, digests = watched
    path = tmp_path / "log"
    path.write_bytes(b"a")
    read = os.readv

    def busy(descriptor: int, buffers: Any) -> int:
        with path.open("ab") as file:
            file.write(b"more" * 10)
        return read(descriptor, buffers)

    monkeypatch.setattr(hashing, "_readv", busy)
    digests.was_read(str(path), 1)
    digests.ask(str(path), "read", 1)
    digests.settle(30)
    assert recording.files == []
    assert recording.gaps == [f"{path} could not be hashed: it changes all the time."]


# --- the cache


def test_a_file_is_read_once_and_again_only_when_its_status_changes(
    store: Store, tmp_path: Path, at_rest: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.root.mkdir()
    path = tmp_path / "data"
    path.write_bytes(b"aaaa")
    before = path.stat()
    first = hash_file(str(path), cache=store.digests)
    assert first is not None
    assert first.digest == identity(b"aaaa")
    opened: list[Any] = []
    real = os.open
    monkeypatch.setattr(hashing, "_open", lambda *a: opened.append(a) or real(*a))
    assert hash_file(str(path), cache=store.digests) == first
    assert opened == []
    # The same size and the same mtime: ctime tells.
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = hash_file(str(path), cache=store.digests)
    assert second is not None
    assert second.digest == identity(b"bbbb")
    # md5 was not asked for then: it costs another pass, once.
    assert hash_file(str(path), md5=True, cache=store.digests).md5 is not None  # type: ignore[union-attr]
    del opened[:]
    assert hash_file(str(path), md5=True, cache=store.digests).md5 is not None  # type: ignore[union-attr]
    assert opened == []
    assert hash_file(str(path), cache=store.digests.rehashing()) is not None
    assert opened, "--rehash reads it"


def test_a_file_that_was_changed_just_now_is_not_cached(store: Store, tmp_path: Path) -> None:
    # Another edit within a tick of the file system's clock would look the same.
    store.root.mkdir()
    path = tmp_path / "young"
    path.write_bytes(b"a")
    found = hash_file(str(path), cache=store.digests)
    assert found is not None
    assert not found.rested
    assert store.digests.get(path.stat()) is None


def test_a_cache_that_is_broken_or_gone_is_made_anew(
    store: Store, tmp_path: Path, at_rest: None
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"a")
    found = hash_file(str(path), cache=store.digests)
    assert found is not None, "no folder to keep it in"
    store.root.mkdir()
    store.digests.path.write_bytes(b"this is no database, " * 100)
    assert hash_file(str(path), cache=store.digests) == found
    hash_file(str(path), cache=store.digests)
    assert store.digests.get(path.stat()) == (found.digest, None)


def test_many_files_are_looked_up_together(store: Store, tmp_path: Path, at_rest: None) -> None:
    store.root.mkdir()
    paths = []
    for number in range(1203):
        path = tmp_path / f"{number}"
        path.write_bytes(b"%d" % number)
        paths.append(str(path))
    expected = [identity(b"%d" % number) for number in range(1203)]
    for _ in range(2):
        found = list(hash_files(paths, cache=store.digests))
        assert [one and one.digest for one in found] == expected
    assert all(store.digests.get_many([Path(path).stat() for path in paths]))


# --- what a file held before it changed


def test_an_input_that_is_overwritten_is_kept(
    watched: tuple[Recording, Digests], tmp_path: Path, store: Store
) -> None:
    recording, digests = watched
    for name, change in {
        "written": lambda p: p.write_bytes(b"after"),
        "replaced": lambda p: (
            (p.parent / "new").write_bytes(b"after"),
            (p.parent / "new").replace(p),
        ),
    }.items():
        path = tmp_path / name
        path.write_bytes(b"before")
        digests.was_read(str(path), 3)
        digests.about_to_change(str(path), name)  # type: ignore[arg-type]
        change(path)
        assert digests.settle(30)
        (told,) = (f for f in recording.files if f["absolute"] == str(path))
        assert (told["digest"], told["order"]) == (identity(b"before"), 3)
        assert store.blobs.get(told["kept"]) == b"before"
    assert recording.gaps == []


def test_an_input_that_was_hashed_before_it_is_overwritten_is_kept_too(
    watched: tuple[Recording, Digests], tmp_path: Path, store: Store
) -> None:
    recording, digests = watched
    path = tmp_path / "d"
    path.write_bytes(b"before")
    digests.was_read(str(path), 1)
    digests.ask(str(path), "read", 1)
    assert digests.settle(30)
    digests.about_to_change(str(path))
    path.write_bytes(b"after")
    digests.was_written(str(path), 2)
    digests.ask(str(path), "write", 2)
    # Once overwritten it is the run's own.
    digests.about_to_change(str(path))
    assert digests.settle(30)
    kept = [f.get("kept") for f in recording.files if f["access"] == "read"]
    assert [store.blobs.get(blob) for blob in kept if blob] == [b"before"]
    assert set(recording.held(path)) == {identity(b"before")}
    assert recording.held(path, "write")[-1] == identity(b"after")


def test_a_file_that_another_program_changed_in_between_is_not_kept_as_what_was_read(
    watched: tuple[Recording, Digests], tmp_path: Path
) -> None:
    recording, digests = watched
    path = tmp_path / "d"
    path.write_bytes(b"before")
    digests.was_read(str(path), 1)
    digests.ask(str(path), "read", 1)
    assert digests.settle(30)
    path.write_bytes(b"by others")
    digests.about_to_change(str(path))
    assert digests.settle(30)
    assert not any(f.get("kept") for f in recording.files)


def test_only_what_is_small_enough_is_kept(
    watched: tuple[Recording, Digests], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, digests = watched
    for limit, size, kept in (("1", 2 << 20, False), ("0", 1, False), ("0.5", 1000, True)):
        monkeypatch.setenv("MLREPRO_KEEP_MIB", limit)
        path = tmp_path / f"{limit}-{size}"
        path.write_bytes(bytes(size))
        digests.was_read(str(path), 1)
        digests.about_to_change(str(path))
        path.write_bytes(b"after")
        assert digests.settle(30)
        (told,) = (f for f in recording.files if f["absolute"] == str(path))
        assert told["digest"] == identity(bytes(size))
        assert (told.get("kept") is not None) is kept, (limit, size)


def test_a_big_file_that_is_replaced_or_removed_keeps_nobody_waiting(
    watched: tuple[Recording, Digests], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, digests = watched
    monkeypatch.setattr(room, "_AT_ONCE", 0)
    monkeypatch.setenv("MLREPRO_KEEP_MIB", "0")
    here = threading.current_thread()
    hashed_by: list[threading.Thread] = []
    real = room.hash_descriptor
    monkeypatch.setattr(
        room, "hash_descriptor",
        lambda *a, **k: hashed_by.append(threading.current_thread()) or real(*a, **k),
    )  # fmt: skip
    for how in ("replaced", "removed"):
        path = tmp_path / how
        path.write_bytes(b"before")
        digests.was_read(str(path), 1)
        digests.about_to_change(str(path), how)  # type: ignore[arg-type]
        path.unlink()
        if how == "replaced":
            path.write_bytes(b"after")
        assert digests.is_known(str(path)), "it is not scratch"
        assert digests.settle(30)
        assert recording.held(path) == [identity(b"before")]
    assert hashed_by
    assert here not in hashed_by
    assert recording.gaps == []


def test_a_file_system_that_clones_keeps_nobody_waiting_either(
    watched: tuple[Recording, Digests], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for btrfs: the ``ioctl`` copies, as theirs would seem to."""
    import fcntl

    def ficlone(target: int, request: int, source: int) -> int:
        assert request == 0x40049409
        os.write(target, os.pread(source, 1 << 20, 0))
        os.lseek(target, 0, os.SEEK_SET)
        return 0

    recording, digests = watched
    monkeypatch.setattr(room, "_AT_ONCE", 0)
    monkeypatch.setenv("MLREPRO_KEEP_MIB", "0")
    path = tmp_path / "d"
    path.write_bytes(b"before")
    digests.was_read(str(path), 1)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "ioctl", ficlone)
        digests.about_to_change(str(path))
    path.write_bytes(b"after")
    assert digests.settle(30)
    assert recording.held(path) == [identity(b"before")]
    assert recording.gaps == []
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["d"], "the copy has no name"


def test_what_is_too_big_to_wait_for_is_a_gap(
    watched: tuple[Recording, Digests], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, digests = watched
    monkeypatch.setattr(room, "_AT_ONCE", 0)
    monkeypatch.setattr(room, "clone", lambda path: None)
    monkeypatch.setenv("MLREPRO_KEEP_MIB", "0")
    path = tmp_path / "d"
    path.write_bytes(b"before")
    digests.was_read(str(path), 1)
    digests.about_to_change(str(path))
    assert recording.gaps == [f"{path} was overwritten before its digest could be taken."]


@pytest.mark.parametrize("link", ["symlink", "folder", "hard"])
@pytest.mark.parametrize("reads_link", [True, False])
def test_a_file_is_one_file_under_two_names(
    watched: tuple[Recording, Digests], tmp_path: Path, link: str, reads_link: bool
) -> None:
    recording, digests = watched
    (tmp_path / "real").mkdir()
    file = tmp_path / "real" / "d"
    file.write_bytes(b"before")
    other = tmp_path / "other"
    if link == "symlink":
        other.symlink_to(file)
    elif link == "hard":
        other.hardlink_to(file)
    else:
        other.symlink_to(tmp_path / "real")
        other = other / "d"
    read, written = (other, file) if reads_link else (file, other)
    digests.was_read(str(read), 1)
    digests.about_to_change(str(written))
    written.write_bytes(b"after")
    assert digests.settle(30)
    assert recording.held(read) == [identity(b"before")]


# --- in a kernel


def test_a_cell_that_overwrites_its_input_says_so_and_keeps_it(
    kernel: Callable, repository: Path
) -> None:
    (repository / "d.csv").write_text("a\n1\n", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("import pandas as pd\npd.read_csv('d.csv').assign(b=2).to_csv('d.csv', index=False)")
    read, wrote = sorted(k.data(), key=lambda d: d.access)
    assert read.digest != wrote.digest
    assert k.store().blobs.get(read.kept) == b"a\n1\n"
    assert wrote.kept is None
    assert k.record().lineage.gaps == ()


def test_a_headless_run_that_overwrites_its_input_can_be_run_again_from_it(
    repository: Path,
) -> None:
    import nbformat

    from mlrepro_nb.record import record
    from mlrepro_nb.verify import verify

    cells = [
        "n = int(open('n.txt').read()) + 1",
        "open('n.txt', 'w').write(str(n))\nprint(n)",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(nb, repository / "n.ipynb")
    (repository / "n.txt").write_text("1")
    digest, _ = record(repository / "n.ipynb", lock=False)
    assert (repository / "n.txt").read_text() == "2"
    found = verify(digest)
    (cause,) = found.causes
    assert (cause.kind, cause.cell, cause.subject) == ("self-overwrite", 1, "n.txt")
    assert "--restore" in cause.fix
    again = verify(digest, restore=True)
    assert again.verdict == "bitwise"
    assert (repository / "n.txt").read_text() == "2", "the project is left as it is"


def test_rehash_reads_what_the_cache_knows(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat

    from mlrepro_nb.record import record

    data = repository / "d.txt"
    data.write_text("true")
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("open('d.txt').read()")])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(nb, repository / "n.ipynb")
    store = Store.find(repository)
    store.root.mkdir()
    lie = identity(b"a lie")
    store.digests.put(data.stat(), lie, None)
    assert record(repository / "n.ipynb", lock=False)[1].data[0].digest == lie
    assert record(repository / "n.ipynb", lock=False, rehash=True)[1].data[0].digest == identity(
        data
    )
