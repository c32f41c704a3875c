"""The store loses nothing, whoever writes to it and however it ends."""

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from mlrepro_nb.errors import NotFoundError, StoreError, StoreVersionError
from mlrepro_nb.model import Record, Verification, digest
from mlrepro_nb.store import Store, write_atomically
from tests.records import a_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / ".mlrepro")


def test_a_document_comes_back_by_digest_prefix_and_key(store: Store) -> None:
    record = a_record()
    name = store.put(record)
    assert name == digest(record)
    assert store.get(Record, name) == record
    assert store.resolve(name[7:15], Record) == name
    assert store.find_by_key(f"file:blake3:{'ab' * 32}", Record) == [name]
    assert store.find_by_key("run:" + "f" * 32, Record) == [name]
    assert store.find_by_key("path:data.csv", Verification) == []


def test_looking_at_a_store_that_is_not_there_writes_nothing(store: Store) -> None:
    assert store.entries() == []
    assert store.latest_record("train.ipynb") is None
    assert not store.root.exists()


def test_the_store_does_not_show_in_git_status(store: Store) -> None:
    store.put(a_record())
    assert (store.root / ".gitignore").read_text() == "*\n"


def test_the_newest_record_is_found_and_reruns_are_not_taken_for_it(store: Store) -> None:
    def at(time: str, mode: str) -> Record:
        record = a_record()
        origin = msgspec.structs.replace(record.lineage, ended=time, mode=mode)
        return msgspec.structs.replace(record, lineage=origin)

    store.put(at("2026-01-01T00:00:00Z", "headless"))
    newest = store.put(at("2026-01-02T00:00:00Z", "interactive"))
    store.put(at("2026-01-03T00:00:00Z", "verify"))
    assert store.latest_record("train.ipynb") == newest


def test_an_ambiguous_or_unknown_digest_is_explained(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no record 'abcd'"):
        store.resolve("abcd", Record)
    with pytest.raises(NotFoundError, match="mlrepro log"):
        store.resolve("not hex at all; DROP TABLE document", Record)


def test_a_damaged_blob_is_noticed(store: Store) -> None:
    name = store.blobs.put(b"something")
    path = store.blobs.path(name)
    path.chmod(0o644)
    path.write_bytes(b"somethinG")
    with pytest.raises(StoreError, match="damaged"):
        store.blobs.get(name)


def test_a_blob_name_cannot_leave_the_folder(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.blobs.get("sha256:../../../../etc/passwd")


def test_a_store_from_a_newer_version_is_refused_and_left_alone(store: Store) -> None:
    store.put(a_record())
    store.close()
    db = sqlite3.connect(store.root / "index.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreVersionError, match="pip install -U"):
        Store(store.root).entries()


def test_a_newer_record_is_refused_by_name(store: Store) -> None:
    data = msgspec.json.encode({**msgspec.to_builtins(a_record()), "schema_version": 99})
    with pytest.raises(StoreVersionError, match="schema 99"):
        store.get(Record, store.blobs.put(data))


def test_the_index_is_made_anew_from_the_blobs(store: Store) -> None:
    name = store.put(a_record())
    store.close()
    (store.root / "index.db").unlink()
    store.blobs.put(b"not a document")
    assert store.reindex() == 1
    assert store.latest_record("train.ipynb") == name


def test_a_damaged_index_gets_a_remedy_and_no_traceback(store: Store) -> None:
    store.root.mkdir()
    (store.root / "index.db").write_bytes(b"this is no database, not at all" * 40)
    with pytest.raises(StoreError, match="reindex"):
        store.entries()


def test_a_store_that_cannot_be_written_gets_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="MLREPRO_STORE"):
        Store(tmp_path / "file" / ".mlrepro").put(a_record())


def test_many_threads_and_processes_write_at_once(store: Store) -> None:
    program = (
        "import sys; from pathlib import Path; from mlrepro_nb.store import Store\n"
        "store = Store(Path(sys.argv[1])); session = store.open_session('n.ipynb')\n"
        "for i in range(50):\n    store.append(session, 'begin', {'order': i})\n"
        "    store.blobs.put(b'%d' % i)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(store.root)]) for _ in range(3)
    ]
    session = store.open_session("n.ipynb")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: store.append(session, "begin", {"order": i}), range(50)))
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert [len(store.events(s.id)) for s in store.sessions()] == [50, 50, 50, 50]


def test_a_killed_kernel_leaves_everything_up_to_its_last_event(store: Store) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from mlrepro_nb.store import Store\n"
        "store = Store(Path(sys.argv[1])); session = store.open_session('n.ipynb')\n"
        "for i in range(10): store.append(session, 'cell', {'i': i})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(store.root)], check=False)
    assert done.returncode == -signal.SIGKILL
    (session,) = store.sessions(sealed=False)
    assert [data["i"] for _, data in store.events(session.id)] == list(range(10))


def test_cells_that_ran_after_the_seal_are_not_forgotten(store: Store) -> None:
    session = store.open_session("n.ipynb")
    store.append(session, "begin", {"order": 0})
    store.append(session, "seal", {})
    store.seal_session(session, store.put(a_record()))
    store.append(session, "end", {"order": 0})
    assert store.sessions(sealed=False) == []
    store.append(session, "begin", {"order": 1})
    assert [s.id for s in store.sessions(sealed=False)] == [session]


def test_keys_and_digests_are_found_by_their_start(store: Store) -> None:
    name = store.put(a_record())
    assert store.find_keys("commit:1a2b3c") == ["commit:1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"]
    assert store.find_keys("commit:%") == []
    assert store.find_digests(name[7:12], "record") == [name]
    assert store.find_digests(name[7:12], "image") == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    write_atomically(path, b"new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    with pytest.raises(OSError, match="missing"):
        write_atomically(tmp_path / "missing" / "file", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_forked_child_opens_its_own_connection(store: Store) -> None:
    session = store.open_session("n.ipynb")
    child = os.fork()
    if child == 0:
        store.append(session, "child", {})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    store.append(session, "parent", {})
    assert [kind for kind, _ in store.events(session)] == ["child", "parent"]


def test_the_store_is_beside_git_or_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    inner = tmp_path / "project" / "notebooks"
    inner.mkdir(parents=True)
    with pytest.raises(StoreError, match="git init"):
        Store.find(inner)
    (tmp_path / "project" / ".git").mkdir()
    assert Store.find(inner).root == tmp_path / "project" / ".mlrepro"
    assert Store.find(inner / "n.ipynb").root == tmp_path / "project" / ".mlrepro"
    monkeypatch.setenv("MLREPRO_STORE", str(tmp_path / "elsewhere"))
    assert Store.find(inner).root == tmp_path / "elsewhere"


def test_an_edit_that_restores_mtime_still_misses_the_digest_cache(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"aaaa")
    before = path.stat()
    store.root.mkdir()
    store.digests.put(before, "blake3:1", None)
    assert store.digests.get(path.stat()) == ("blake3:1", None)
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.digests.get(path.stat()) is None


def test_journals_of_the_first_layout_become_files(store: Store) -> None:
    store.root.mkdir()
    db = sqlite3.connect(store.root / "index.db")
    db.executescript(
        """
        CREATE TABLE document (digest TEXT PRIMARY KEY, kind TEXT, created TEXT, notebook TEXT,
            mode TEXT);
        CREATE TABLE key (name TEXT, digest TEXT, PRIMARY KEY (name, digest)) WITHOUT ROWID;
        CREATE TABLE session (id TEXT PRIMARY KEY, notebook TEXT, started REAL, pid INTEGER,
            record TEXT);
        CREATE TABLE event (session TEXT, number INTEGER PRIMARY KEY, kind TEXT, data TEXT);
        INSERT INTO session VALUES ('a', 'n.ipynb', 1.0, 999999, NULL);
        INSERT INTO session VALUES ('b', 'n.ipynb', 2.0, 999999, 'sha256:x');
        INSERT INTO event VALUES ('a', 1, 'begin', '{"order": 0}'), ('b', 2, 'begin', '{}'),
            ('b', 3, 'seal', '{}');
        PRAGMA user_version = 1;
        """
    )
    db.close()
    assert store.put(a_record())
    assert store.events("a") == [("begin", {"order": 0})]
    assert [s.id for s in store.sessions(sealed=False)] == ["a"]
    assert [s.record for s in store.sessions(sealed=True)] == ["sha256:x"]
    assert store.journals.prune() == 1, "the one that a record holds"


def test_a_kernel_of_another_machine_is_alive_while_it_holds_its_lock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.store import _journal

    monkeypatch.setattr(_journal, "_place", lambda: "elsewhere")
    session = store.open_session("n.ipynb")
    monkeypatch.undo()
    (found,) = Store(store.root).sessions()
    assert found.id == session
    assert Store(store.root).journals.is_alive(found)
    store.close()
    assert not Store(store.root).journals.is_alive(found)
