"""The record of a notebook that papermill runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlrepro_nb import stamp
from mlrepro_nb.model import Record, Report, silent
from mlrepro_nb.record._headless import keep
from mlrepro_nb.store import Store, project_root


def record_managed(
    manager: Any, kernel: str, notebook: Path, *, given: int, options: Mapping[str, Any],
    lock: bool = True, store: Store | None = None, report: Report = silent,
) -> tuple[str, Record]:  # fmt: skip
    """Have papermill's client run a notebook, and keep the record of what made its results.

    The notebook of `manager` gets the stamp. What ends the client ends this, too, once
    the record is kept.

    Parameters
    ----------
    manager : NotebookExecutionManager
        Papermill's.
    kernel : str
        The kernelspec.
    notebook : Path
        The file that papermill read.
    given : int
        How many cells it has.
    options : mapping
        Of papermill's client.
    lock : bool
        Resolve the lock of the kernel's environment, unless the store has it.
    store : Store, optional
        Where to keep the record; by default the project's.

    Raises
    ------
    StoreError
        There is no place to keep the record; nothing was run.
    """
    from mlrepro_nb import execute

    store = store or Store.find(notebook)
    told = dict((manager.nb.metadata.get("papermill") or {}).get("parameters") or {})
    execution, ended = execute.run_managed(
        manager, kernel, given=given, options=options,
        environment={"MLREPRO_NOTEBOOK": str(notebook), "MLREPRO_STORE": str(store.root)},
    )  # fmt: skip
    digest, made = keep(
        execution, name=store.notebook_name(notebook), root=project_root(notebook.parent),
        parameters=told, store=store, lock=lock, report=report,
    )  # fmt: skip
    manager.nb.metadata[stamp.KEY] = str(stamp.Stamp(record=digest))
    if ended is not None:
        raise ended
    return digest, made
