"""`record`: run a notebook top to bottom and keep what made its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlrepro_nb.capture import assemble, mask, mask_notebook
from mlrepro_nb.connect import mlflow
from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Record, Report, Step, silent
from mlrepro_nb.store import Store, project_root, write_atomically

if TYPE_CHECKING:
    from mlrepro_nb.execute import Execution


def record(
    notebook: Path,
    *,
    parameters: Mapping[str, Any] = {},
    output: Path | None = None,
    inplace: bool = False,
    kernel: str | None = None,
    timeout: float | None = None,
    store: Store | None = None,
    report: Report = silent,
) -> tuple[str, Record]:
    """Run a notebook in a fresh kernel and keep the record of what made its results.

    A notebook that raises is recorded too: `Record.results` says so.

    Parameters
    ----------
    notebook : Path
        The notebook. It is left as it is, unless `inplace` says otherwise.
    parameters : mapping
        Papermill parameters.
    output : Path, optional
        Where to write the executed copy.
    inplace : bool
        Write the executed copy over the notebook.
    kernel : str, optional
        Kernelspec to use instead of the notebook's.
    timeout : float, optional
        Seconds that a cell may take.
    store : Store, optional
        Where to keep the record; by default the project's.

    Returns
    -------
    tuple of str and Record
        The digest and the record.

    Raises
    ------
    StoreError
        There is no place to keep the record; nothing was run.
    NotebookError, UsageError, KernelError
        The notebook cannot be run.
    """
    from mlrepro_nb import execute

    if output is not None and inplace:
        raise UsageError("An output file and running in place exclude each other.", "Drop one.")
    notebook = Path(notebook)
    nb = execute.read_notebook(notebook)
    notebook = notebook.resolve()
    if output is not None and not output.resolve().parent.is_dir():
        raise UsageError(
            f"There is no folder {output.resolve().parent}.", "Make it, or choose another output."
        )
    store = store or Store.find(notebook)
    root = project_root(notebook.parent)
    name = store.notebook_name(notebook)
    execution = execute.run(
        nb,
        cwd=notebook.parent,
        parameters=parameters,
        kernel=kernel,
        timeout=timeout,
        environment={"MLREPRO_NOTEBOOK": str(notebook)},
        report=report,
    )
    report(Step(message="keeping the record"))
    made = assemble(
        execution.events,
        notebook=name,
        root=root,
        mode="headless",
        nb=execution.nb,
        positions=execution.positions,
        gaps=execution.gaps,
        put_blob=store.blobs.put,
    )
    made = _with_results(made, execution, parameters, store)
    digest = store.put(made)
    for line in tag_runs(made, digest, root):
        report(Step(message=line, log=True))
    target = notebook if inplace else output
    if target is not None:
        write_atomically(target, _json(stamped(execution.nb, digest)))
    return digest, made


def _with_results(
    made: Record, execution: Execution, parameters: Mapping[str, Any], store: Store
) -> Record:
    results = msgspec.structs.replace(
        made.results,
        notebook=store.blobs.put(_json(mask_notebook(execution.nb, parameters))),
        duration=execution.duration,
    )
    if execution.error is not None:
        error = execution.error
        where = "the parameters" if error.index is None else f"cell {error.index}"
        results = msgspec.structs.replace(
            results,
            status="interrupted" if error.ename in _ENDED_FROM_OUTSIDE else "error",
            error=mask(f"{where}: {error.ename}: {error.evalue}")[:2000],
        )
    elif results.status != "ok":
        # An error that its cell announces (raises-exception) is what it is meant to show.
        results = msgspec.structs.replace(results, status="ok", error=None)
    environment = msgspec.structs.replace(made.environment, kernelspec=execution.kernel)
    return msgspec.structs.replace(made, results=results, environment=environment)


_ENDED_FROM_OUTSIDE = ("KeyboardInterrupt", "DeadKernelError", "TimeoutError")


def stamped(nb: Any, digest: str) -> Any:
    """Return a notebook that names its record, so that the file leads back to it."""
    metadata = {**nb["metadata"], "mlrepro": {"record": digest}}
    return {**nb, "metadata": metadata}


def _json(nb: Any) -> bytes:
    return (json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode(
        "utf-8", "replace"
    )


def tag_runs(made: Record, digest: str, root: Path | None) -> list[str]:
    """Write a record's digest on its MLflow runs; return what went wrong, a sentence each."""
    wrong = []
    for run in made.lineage.runs:
        try:
            mlflow.tag_run(run.run_id, digest, mlflow.absolute_uri(run.tracking_uri, root))
        except Exception as error:  # noqa: BLE001, PERF203 - the record is kept; the tag is a convenience
            wrong.append(f"MLflow run {run.run_id} was not tagged: {type(error).__name__}")
    return wrong
