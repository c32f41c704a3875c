"""Recording the kernel that a person types in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mlrepro_nb.capture import Recorder, assemble
from mlrepro_nb.model import Record
from mlrepro_nb.record._headless import tag_runs
from mlrepro_nb.store import Store, project_root

_UNNAMED = "untitled.ipynb"


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
        self.recorder = Recorder(shell, self._append, mode="interactive", cache=store)
        self._root = project_root()

    def start(self) -> None:
        """Begin to record."""
        path = self.recorder.notebook
        self._name = self.store.notebook_name(path) if path else _UNNAMED
        self._root = project_root(path.parent if path else None)
        self._session = self.store.open_session(self._name)
        self.recorder.start()

    def stop(self) -> tuple[str, Record] | None:
        """Stop recording and seal what ran; None where nothing did."""
        self.recorder.stop()
        return self._assembled() if self.recorder.executions > self._sealed else None

    def seal(self) -> tuple[str, Record]:
        """Make a record of what ran so far; recording goes on."""
        self.recorder.seal()
        self._sealed = self.recorder.executions
        return self._assembled()

    def preview(self) -> Record:
        """Return the record as it would be now, without keeping it."""
        self.recorder.seal(timeout=1.0)
        return _of_journal(self.store, self._id, self._name, self._root, lambda data: "")

    @property
    def _id(self) -> str:
        assert self._session is not None, "start() comes first"
        return self._session

    def _append(self, kind: str, data: Any) -> None:
        self.store.append(self._id, kind, data)

    def _assembled(self) -> tuple[str, Record]:
        digest, record = _keep(self.store, self._id, self._name, self._root)
        tag_runs(record, digest, self._root)
        return digest, record


def recover(store: Store) -> list[str]:
    """Make records of the sessions whose kernel died without sealing; return their digests."""
    found = []
    for session in store.sessions(sealed=False):
        if _alive(session.pid, session.started):
            continue
        events = store.events(session.id)
        if not any(kind == "begin" for kind, _ in events):
            continue
        found.append(_keep(store, session.id, session.notebook, project_root(store.root.parent))[0])
    return found


def _keep(store: Store, session: str, notebook: str, root: Path | None) -> tuple[str, Record]:
    record = _of_journal(store, session, notebook, root, store.blobs.put)
    digest = store.put(record)
    store.seal_session(session, digest)
    return digest, record


def _of_journal(
    store: Store, session: str, notebook: str, root: Path | None, put_blob: Any
) -> Record:
    return assemble(
        store.events(session),
        notebook=notebook,
        root=root,
        mode="interactive",
        nb=_read(root, notebook),
        put_blob=put_blob,
    )


def _read(root: Path | None, notebook: str) -> Any:
    """Return the notebook's file as it is now, to find the cells in it."""
    if root is None:
        return None
    try:
        nb = json.loads((root / notebook).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return nb if isinstance(nb, dict) and isinstance(nb.get("cells"), list) else None


def _alive(pid: int, started: float) -> bool:
    if pid == os.getpid():
        return True
    import psutil

    try:
        # A process that began after the session is another with the same number.
        return bool(psutil.Process(pid).create_time() <= started + 1)
    except psutil.Error:
        return False
