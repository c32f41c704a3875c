"""`stamp`: the line in a notebook's file that leads to its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.errors import NotebookError, UsageError
from mlrepro_nb.execute import read_notebook
from mlrepro_nb.model import Record, Verification, digest_text
from mlrepro_nb.stamp import Stamp, read, stamped_text
from mlrepro_nb.store import Store, write_atomically


class Stamped(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a notebook's file."""

    notebook: str
    stamp: str | None
    """The line that the file has, or with `check` should have."""
    changed: bool
    reason: str | None = None
    """Why it was left alone, in a sentence."""


def stamp(
    notebook: Path, *, check: bool = False, force: bool = False, store: Store | None = None
) -> Stamped:
    """Write into a notebook's file which record it is from, and the last verdict on it.

    One line of the file changes; the rest stays, byte for byte. A notebook that
    a live kernel has open is left alone, because its editor would not know.

    Parameters
    ----------
    notebook : Path
        The notebook.
    check : bool
        Only say whether the file would change.
    force : bool
        Write it although a live kernel has the notebook open.
    store : Store, optional
        Where records are; by default the project's.

    Raises
    ------
    NotebookError
        The file is no notebook.
    StoreError
        There is no store.
    """
    read_notebook(notebook)
    store = store or Store.find(notebook.resolve())
    try:
        text = notebook.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotebookError(f"{notebook} cannot be read: {error}.", "Check the file.") from None
    nb = json.loads(text.removeprefix("\ufeff"))
    name = store.notebook_name(notebook)
    digest = store.latest_record(name)
    had = read(nb.get("metadata"))
    if digest is None:
        return Stamped(
            notebook=name, stamp=str(had) if had else None, changed=False,
            reason=f"{name} was never recorded: run `mlrepro record {notebook}`.",
        )  # fmt: skip
    line = Stamp(record=digest, verdict=_verdict(store, digest, nb))
    changed = stamped_text(text, line)
    if changed == text or check:
        return Stamped(notebook=name, stamp=str(line), changed=changed != text)
    if not force and _is_open(store, name):
        return Stamped(
            notebook=name, stamp=str(line), changed=False,
            reason=f"{name} is open in a live kernel: close it, or give --force and reload it in "
            "its editor.",
        )  # fmt: skip
    try:
        write_atomically(notebook, changed.encode("utf-8"))
    except OSError as error:
        raise UsageError(
            f"{notebook} cannot be written: {error.strerror}.", "Check its permissions."
        ) from None
    return Stamped(notebook=name, stamp=str(line), changed=True)


def _verdict(store: Store, digest: str, nb: Mapping[str, Any]) -> str:
    record = store.get(Record, digest)
    if _is_edited(record, nb):
        return "edited"
    for found in store.find_by_key(f"record:{digest}", Verification):
        verification = store.get(Verification, found)
        if verification.record == digest:
            return verification.verdict
    return "recorded"


def _is_edited(record: Record, nb: Mapping[str, Any]) -> bool:
    """Whether a cell of the file says something else than what ran."""
    last = {cell.id: cell.digest for cell in record.code.cells if cell.id}
    ran = {cell.digest for cell in record.code.cells}
    for index, cell in enumerate(nb["cells"]):
        source = cell.get("source", "")
        text = source if isinstance(source, str) else "".join(source)
        if cell.get("cell_type") != "code" or not text.strip():
            continue
        digest = digest_text(text)
        if cell.get("id") in last:
            if last[cell["id"]] != digest:
                return True
        elif digest not in ran and index not in record.code.unexecuted:
            return True
    return False


def _is_open(store: Store, name: str) -> bool:
    return any(
        session.notebook == name and store.journals.is_alive(session)
        for session in store.sessions()
    )
