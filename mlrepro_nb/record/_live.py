"""Recording the kernel that a person types in."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlrepro_nb.capture import Recorder
from mlrepro_nb.capture.cells.location import current_notebook
from mlrepro_nb.capture.data.audit import unwatched
from mlrepro_nb.model import Record, timestamp
from mlrepro_nb.store import Store, project_root

_UNNAMED = "untitled.ipynb"
_PATIENCE = 5.0
"""Seconds that each part of a record may take that somebody asked for."""
_LAST_SECONDS = 2.0
"""How long a kernel that shuts down waits for MLflow; a front end kills it after five."""


class LiveSession:
    """A live kernel that is being recorded into a store's journal.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The kernel's shell.
    store : Store
        Where the journal and the records are kept.
    """

    def __init__(self, shell: Any, store: Store) -> None:
        self.store = store
        self._session: str | None = None
        self._sealed = 0
        self._name = _UNNAMED
        self.notes: list[str] = []
        """What went wrong outside when the last record was kept, a sentence each."""
        self.recorder = Recorder(
            shell, self._append, mode="interactive", cache=store.digests, keep=store.blobs.put
        )
        self._root = project_root()

    def start(self) -> None:
        """Begin to record."""
        self._take(self.recorder.notebook)
        self._session = self.store.open_session(self._name)
        self.recorder.start()

    def stop(self) -> tuple[str, Record] | None:
        """Stop recording and seal what ran; None where nothing did."""
        self.recorder.stop()
        if self.recorder.executions <= self._sealed:
            return None
        if self.store.journals.of(self._id).is_behind:
            return None  # the disk does not answer: `recover` makes the record once it does
        self._find_again()
        return self._assembled(patience=_LAST_SECONDS)

    def seal(self, *, lock: bool = False) -> tuple[str, Record]:
        """Make a record of what ran so far; recording goes on.

        With `lock` the index is asked for the lock of the environment, unless
        the store has it.
        """
        self._find_again()
        self.recorder.seal(timeout=_PATIENCE)
        self._sealed = self.recorder.executions
        return self._assembled(lock=lock)

    def preview(self) -> Record:
        """Return the record as it would be now, without keeping it."""
        self._find_again()
        self.recorder.seal(timeout=1.0)
        with unwatched():  # git reads the project's files for us
            return _of_journal(self.store, self._id, self._name, self._root, lambda data: "")

    def _find_again(self) -> None:
        """Look whether the notebook was renamed, or is known only now."""
        with unwatched(), contextlib.suppress(OSError):
            now = current_notebook(self.recorder.shell, self.recorder.notebook)
            if now is not None and now != self.recorder.notebook:
                self._take(now)

    def _take(self, path: Path | None) -> None:
        self.recorder.notebook = path
        self._name = self.store.notebook_name(path) if path else _UNNAMED
        self._root = project_root(path.parent if path else None)

    @property
    def _id(self) -> str:
        assert self._session is not None, "start() comes first"
        return self._session

    def _append(self, kind: str, data: Any) -> None:
        self.store.append(self._id, kind, data)

    def _assembled(self, *, lock: bool = False, patience: float = 15.0) -> tuple[str, Record]:
        with unwatched():
            digest, record = _keep(self.store, self._id, self._name, self._root, lock=lock)
            from mlrepro_nb.record._partners import tell_mlflow

            self.notes = tell_mlflow(record, digest, self._root, timeout=patience)
        return digest, record


def recover(store: Store) -> list[str]:
    """Make records of the sessions whose kernel died without sealing; return their digests."""
    found = []
    for session in store.sessions(sealed=False):
        if not session.cells or store.journals.is_alive(session):
            continue
        found.append(_keep(store, session.id, session.notebook, project_root(store.root.parent))[0])
    return found


def _keep(
    store: Store, session: str, notebook: str, root: Path | None, *, lock: bool = False
) -> tuple[str, Record]:
    with unwatched():
        from mlrepro_nb.capture.environment.lock import installed, locked

    record = _of_journal(store, session, notebook, root, store.blobs.put, tables=True)
    found = installed(store.events(session)) if lock else {}
    record = locked(record, store, installed=found, offline=not lock)
    digest = store.put(record)
    store.seal_session(session, digest)
    return digest, record


def _of_journal(
    store: Store, session: str, notebook: str, root: Path | None, put_blob: Any,
    *, tables: bool = False,
) -> Record:  # fmt: skip
    nb, saved = _read(root, notebook)
    # What makes a record of a journal is not to lie in every kernel's memory while it runs.
    with unwatched():
        from mlrepro_nb.capture import assemble
    return assemble(
        store.events(session),
        notebook=notebook,
        root=root,
        mode="interactive",
        nb=nb,
        saved=saved,
        put_blob=put_blob,
        cache=store.digests,
        tables=tables,
    )


def _read(root: Path | None, notebook: str) -> tuple[Any, str | None]:
    """Return the notebook's file as it is now, to find the cells in it, and when it was written."""
    if root is None:
        return None, None
    try:
        path = root / notebook
        saved = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        nb = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None, None
    if not isinstance(nb, dict) or not isinstance(nb.get("cells"), list):
        return None, None
    return nb, timestamp(saved)
