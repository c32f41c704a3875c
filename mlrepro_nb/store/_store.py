"""The index, the journal, and where the store is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.errors import NotFoundError, StoreError, StoreVersionError
from mlrepro_nb.model import (
    DOCUMENTS,
    SCHEMA_VERSION,
    D,
    Document,
    Record,
    Verification,
    canonical,
    decode,
    short,
)
from mlrepro_nb.model import digest as digest_of
from mlrepro_nb.store._blobs import Blobs
from mlrepro_nb.store._digests import FileDigests
from mlrepro_nb.store._journal import Journal, Journals, Session, is_remote, read_events
from mlrepro_nb.store._keys import keys

LAYOUT_VERSION = 2
"""Of the SQLite layout, kept in ``PRAGMA user_version``."""

_LAYOUT = """
CREATE TABLE document (
    digest TEXT PRIMARY KEY, kind TEXT NOT NULL, created TEXT NOT NULL, notebook TEXT, mode TEXT
);
CREATE INDEX document_by_time ON document (kind, created);
CREATE TABLE key (
    name TEXT NOT NULL, digest TEXT NOT NULL REFERENCES document, PRIMARY KEY (name, digest)
) WITHOUT ROWID;
"""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the index."""

    digest: str
    kind: str
    created: str
    notebook: str | None
    mode: str | None = None


def project_root(start: Path | None = None) -> Path | None:
    """Return the folder that holds ``.git``, found upwards, or None."""
    folder = (start or Path.cwd()).resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None


class Store:
    """What mlrepro knows: documents, blobs, journals.

    Safe for several processes and threads at once: SQLite in WAL mode for the
    index, atomic renames for blobs, a journal a session. Nothing is written before
    the first `put` or `open_session`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = Blobs(root / "blobs")
        self.journals = Journals(root / "journal")
        self.digests = FileDigests(root / "digests.db")
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._lock = threading.RLock()

    @classmethod
    def find(cls, start: Path | None = None) -> Store:
        """Return the store that serves a file or folder.

        ``MLREPRO_STORE`` names it; else it is ``.mlrepro`` beside the ``.git``
        found upwards from `start` (default: the working folder).

        Raises
        ------
        StoreError
            There is neither.
        """
        if named := os.environ.get("MLREPRO_STORE"):
            return cls(Path(named).expanduser().resolve())
        begin = start or Path.cwd()
        root = project_root(begin if begin.is_dir() else begin.parent)
        if root is None:
            raise StoreError(
                f"There is no git repository at or above {begin}.",
                "Run `git init` in the project's folder, or set MLREPRO_STORE to a folder "
                "that may hold the records.",
            )
        return cls(root / ".mlrepro")

    # --- documents

    def put(self, document: Document) -> str:
        """Keep a document and return its digest."""
        data = canonical(document)
        digest = self.blobs.put(data)
        self._index(digest, document)
        return digest

    def get(self, kind: type[D], digest: str) -> D:
        """Read a document by its digest.

        Raises
        ------
        NotFoundError
            There is none, or it is of another kind.
        StoreVersionError
            A newer mlrepro-nb wrote it.
        """
        data = self.blobs.get(digest)
        try:
            version = json.loads(data).get("schema_version", 0)
        except (ValueError, AttributeError):
            version = 0
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"{short(digest)} was written by a newer mlrepro-nb (schema {version}).",
                "Upgrade: pip install -U mlrepro-nb.",
            )
        try:
            return decode(kind, data)
        except msgspec.ValidationError as error:
            raise NotFoundError(
                f"{short(digest)} is not a {kind.kind}: {error}.", "`mlrepro log` lists them."
            ) from None

    def find_by_key(self, key: str, kind: type[D]) -> list[str]:
        """Return the digests of the documents of a kind that a key leads to, newest first."""
        with self._read() as db:
            rows = db.execute(
                "SELECT digest FROM key JOIN document USING (digest) WHERE name = ? AND kind = ?"
                " ORDER BY created DESC, document.rowid DESC",
                (key, kind.kind),
            )
            return [row[0] for row in rows]

    def find_keys(self, prefix: str, limit: int = 100) -> list[str]:
        """Return the keys that start with a prefix, in order: ``commit:3f2c``, ``path:data/``."""
        with self._read() as db:
            rows = db.execute(
                "SELECT DISTINCT name FROM key WHERE substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
                (len(prefix), prefix, limit),
            )
            return [row[0] for row in rows]

    def find_digests(self, prefix: str, kind: str, limit: int = 20) -> list[str]:
        """Return the digests of documents of a kind that start with some hex digits."""
        with self._read() as db:
            rows = db.execute(
                "SELECT digest FROM document WHERE kind = ? AND substr(digest, 8, ?) = ?"
                " ORDER BY digest LIMIT ?",
                (kind, len(prefix), prefix, limit),
            )
            return [row[0] for row in rows]

    def entries(self, kind: type[Document] | None = None, limit: int = 100) -> list[Entry]:
        """Return lines of the index, newest first."""
        with self._read() as db:
            rows = db.execute(
                "SELECT digest, kind, created, notebook, mode FROM document"
                " WHERE ? IS NULL OR kind = ? ORDER BY created DESC, rowid DESC LIMIT ?",
                (kind and kind.kind, kind and kind.kind, limit),
            )
            return [
                Entry(digest=d, kind=k, created=c, notebook=n, mode=m) for d, k, c, n, m in rows
            ]

    def resolve(self, prefix: str, kind: type[D]) -> str:
        """Return the one digest of a kind that starts with a prefix of at least 4 hex digits.

        Raises
        ------
        NotFoundError
            None or several do.
        """
        wanted = prefix.removeprefix("sha256:")
        if re.fullmatch(r"[0-9a-f]{4,64}", wanted):
            found = self.find_digests(wanted, kind.kind)
            if len(found) == 1:
                return found[0]
            if found:
                raise NotFoundError(
                    f"{len(found)} {kind.kind}s start with {prefix!r}.", "Give more digits."
                )
        raise NotFoundError(
            f"The store at {self.root} has no {kind.kind} {prefix!r}.",
            "`mlrepro log` lists what it has.",
        )

    def latest_record(self, notebook: str) -> str | None:
        """Return the digest of the newest record of a notebook, reruns by `verify` left out."""
        with self._read() as db:
            row = db.execute(
                "SELECT digest FROM document WHERE kind = 'record' AND notebook = ?"
                " AND mode != 'verify' ORDER BY created DESC, rowid DESC LIMIT 1",
                (notebook,),
            ).fetchone()
        return str(row[0]) if row else None

    def find_record(self, target: str) -> tuple[str, Record]:
        """Return the record that a user means, with its digest.

        `target` is a digest or the start of one, a notebook's path (its newest
        record), or the path of a JSON file that holds a record.

        Raises
        ------
        NotFoundError
            Nothing answers to it.
        """
        path = Path(target)
        if path.suffix == ".json" and path.is_file():
            try:
                record = decode(Record, path.read_bytes())
            except msgspec.DecodeError as error:
                raise NotFoundError(
                    f"{path} is not a record: {error}.", "`mlrepro show X --json` writes one."
                ) from None
            return digest_of(record), record
        if path.suffix == ".ipynb":
            found = self.latest_record(self.notebook_name(path))
            if found is None:
                raise NotFoundError(
                    f"{path} was never recorded.", f"Run `mlrepro record {path}` first."
                )
        else:
            found = self.resolve(target, Record)
        return found, self.get(Record, found)

    def notebook_name(self, path: Path) -> str:
        """Return the name of a notebook in records: its path in the project, with ``/``."""
        resolved = path.resolve()
        root = project_root(resolved.parent)
        if root is None and resolved.is_relative_to(self.root.parent):
            root = self.root.parent
        return resolved.relative_to(root).as_posix() if root else resolved.name

    def reindex(self) -> int:
        """Make the index of documents anew from the blobs; return how many there are."""
        count = 0
        for digest in self.blobs:
            data = self.blobs.get(digest)
            for kind in DOCUMENTS.values():
                with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
                    self._index(digest, msgspec.json.decode(data, type=kind))
                    count += 1
                    break
        return count

    def _index(self, digest: str, document: Document) -> None:
        if isinstance(document, Record):
            created, notebook = document.lineage.ended, document.code.notebook
            mode = document.lineage.mode
        else:
            created, mode = document.created, None
            notebook = None
            if not isinstance(document, Verification) and document.record:
                with contextlib.suppress(NotFoundError):
                    notebook = self.get(Record, document.record).code.notebook
            elif isinstance(document, Verification):
                notebook = document.notebook
        with self._write() as db:
            db.execute(
                "INSERT OR IGNORE INTO document VALUES (?, ?, ?, ?, ?)",
                (digest, document.kind, created, notebook, mode),
            )
            db.executemany(
                "INSERT OR IGNORE INTO key VALUES (?, ?)", [(k, digest) for k in keys(document)]
            )

    # --- journal

    def open_session(self, notebook: str) -> str:
        """Begin a journal and return its id; those that a record holds by now are deleted."""
        session = uuid.uuid4().hex
        with self._explained():
            self._make_folder()
            self.journals.prune()
            self.journals.begin(session, notebook)
        return session

    def append(self, session: str, kind: str, data: Any) -> None:
        """Add an event; it survives the death of the process once this returns.

        Raises
        ------
        StoreError
            It could not be written yet. It is kept and written with a later one.
        """
        try:
            self.journals.of(session).append(kind, data)
        except OSError as error:
            raise self._trouble(error) from error

    def events(self, session: str) -> list[tuple[str, Any]]:
        """Return a session's events, oldest first, as (kind, data)."""
        with self._explained():
            return read_events(self.journals.path(session))

    def sessions(self, *, sealed: bool | None = None) -> list[Session]:
        """Return the journals, newest first.

        `sealed` False gives those that hold cells which no record holds yet.
        """
        with self._explained():
            found = self.journals.sessions()
        return [
            s for s in found
            if sealed is None or (s.record is not None and not s.cells) == sealed
        ]  # fmt: skip

    def seal_session(self, session: str, record: str) -> None:
        """Note the record that a journal became."""
        self.append(session, "sealed", {"record": record})

    # --- SQLite

    @property
    def exists(self) -> bool:
        """Whether anything was ever written to it."""
        return (self.root / "index.db").exists()

    def close(self) -> None:
        """Close the index; the next call opens it again."""
        self.journals.close()
        self.digests.close()
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explained():
            # An empty index in memory stands for a store that does not exist yet:
            # looking must not create anything.
            yield self._connect() if self.exists else _empty()

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explained():
            db = self._connect()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> StoreError:
        return StoreError(
            f"The store at {self.root} cannot be used: {error}.",
            "Check its permissions and the free space, or set MLREPRO_STORE to another "
            "folder; a damaged index.db may be deleted, `mlrepro log --reindex` makes it anew.",
        )

    def _connect(self) -> sqlite3.Connection:
        # A forked child must not use its parent's connection (SQLite's own rule).
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        self._pid = os.getpid()
        self._make_folder()
        db = sqlite3.connect(
            self.root / "index.db", timeout=30, isolation_level=None, check_same_thread=False
        )
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > LAYOUT_VERSION:
            db.close()
            raise StoreVersionError(
                f"The store at {self.root} was written by a newer mlrepro-nb (layout {version}).",
                "Upgrade: pip install -U mlrepro-nb.",
            )
        # WAL shares memory, which two machines cannot.
        db.execute(f"PRAGMA journal_mode = {'TRUNCATE' if is_remote(self.root) else 'WAL'}")
        # NORMAL loses nothing when the process dies, only (perhaps) when the machine does.
        db.execute("PRAGMA synchronous = NORMAL")
        if version < LAYOUT_VERSION:
            db.execute("BEGIN IMMEDIATE")
            # Another kernel may have made the layout while this one waited.
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found < LAYOUT_VERSION:
                if found == 1:
                    self._take_out_journals(db)
                else:
                    for statement in _LAYOUT.split(";\n"):
                        db.execute(statement)
                db.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
            db.execute("COMMIT")
        self._connection = db
        return db

    def _make_folder(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")

    def _take_out_journals(self, db: sqlite3.Connection) -> None:
        """Move the journals of layout 1, which were in the index, to files of their own."""
        for session, notebook, started, pid, record in db.execute("SELECT * FROM session"):
            head = {"notebook": notebook, "started": started, "pid": pid}
            journal = Journal(self.journals.path(session), ("session", head))
            rows = db.execute(
                "SELECT kind, data FROM event WHERE session = ? ORDER BY number", (session,)
            ).fetchall()
            last = max((i for i, (kind, _) in enumerate(rows) if kind == "seal"), default=-1)
            for number, (kind, data) in enumerate(rows):
                journal.append(kind, json.loads(data))
                if record and number == last:
                    journal.append("sealed", {"record": record})
            journal.close()
        db.execute("DROP TABLE event")
        db.execute("DROP TABLE session")
        db.execute("DROP TABLE IF EXISTS file_digest")


def _empty() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.executescript(_LAYOUT)
    return db
