"""The kernel that a widget is shown in: what it has recorded, and whether anybody looks."""

from __future__ import annotations

from typing import Any

from mlrepro_nb.errors import UsageError
from mlrepro_nb.store import Store


def current(store: Store) -> str:
    """Return the record of what this kernel ran so far, or the newest of its notebook.

    Raises
    ------
    UsageError
        This kernel records nothing, or its first record is still to be made.
    """
    loaded = _loaded()
    if loaded is not None and loaded.live is not None:
        with loaded.live.recorder.paused():
            digest, _ = loaded.live.seal()
        return str(digest)
    notebook = loaded.recorder.notebook if loaded is not None and loaded.recorder else None
    if notebook is None:
        raise UsageError(
            "This kernel records nothing.", "Run %load_ext mlrepro_nb first, or name a target."
        )
    found = store.latest_record(store.notebook_name(notebook))
    if found is None:
        raise UsageError(
            "The record of this run is made when the run ends.", "Look again afterwards."
        )
    return found


def store() -> Store:
    """Return the store that this kernel records into."""
    loaded = _loaded()
    return loaded.live.store if loaded is not None and loaded.live is not None else Store.find()


def headless() -> bool:
    """Say whether papermill runs this kernel: then only a static copy is of use."""
    loaded = _loaded()
    return loaded is not None and loaded.recorder is not None and loaded.live is None


def _loaded() -> Any:
    from mlrepro_nb.faces import magics

    return magics._state  # noqa: SLF001 - the kernel's one recorder lives there
