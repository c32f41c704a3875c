"""`record`: run a notebook top to bottom and keep what made its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlrepro_nb.capture import (
    assemble,
    cells_with_secrets,
    mask,
    mask_notebook,
    redact_outputs,
)
from mlrepro_nb.capture.environment.lock import installed, locked
from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Record, Report, Step, silent
from mlrepro_nb.record._partners import tell_mlflow
from mlrepro_nb.stamp import Stamp, stamped
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
    lock: bool = True,
    rehash: bool = False,
    deep: bool = False,
    redact: bool = False,
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
    lock : bool
        Resolve the lock of the kernel's environment, unless the store has it.
    rehash : bool
        Read every file again, also those that have not changed since they were hashed.
    deep : bool
        Whether strace follows the kernel (Linux), so that no file that it or a child
        of it opens escapes the record.
    redact : bool
        Mask what looks like a secret in the outputs of the executed copy. What is
        kept in the store never shows one.
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
        environment={
            "MLREPRO_NOTEBOOK": str(notebook),
            "MLREPRO_STORE": str(store.root),
            **({"MLREPRO_REHASH": "1"} if rehash else {}),
        },
        deep=deep,
        report=report,
    )
    execution = _without_secrets(execution, parameters, redact=redact, report=report)
    digest, made = keep(
        execution, name=name, root=root, parameters=parameters, store=store, lock=lock,
        rehash=rehash, report=report,
    )  # fmt: skip
    target = notebook if inplace else output
    if target is not None:
        write_atomically(target, _json(stamped(execution.nb, Stamp(record=digest))))
    return digest, made


def keep(
    execution: Execution, *, name: str, root: Path | None, parameters: Mapping[str, Any],
    store: Store, lock: bool = True, rehash: bool = False, report: Report = silent,
) -> tuple[str, Record]:  # fmt: skip
    """Keep the record of a run that has ended, and tell MLflow."""
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
        cache=store.digests.rehashing() if rehash else store.digests,
        tables=True,
    )
    made = _with_results(made, execution, parameters, store)
    if lock:
        made = locked(made, store, installed=installed(execution.events), report=report)
    digest = store.put(made)
    for line in tell_mlflow(made, digest, root, timeout=60.0):
        report(Step(message=line, log=True))
    return digest, made


def _without_secrets(
    execution: Execution, parameters: Mapping[str, Any], *, redact: bool, report: Report
) -> Execution:
    """Redact the outputs, or say which of them show what looks like a secret."""
    shown = cells_with_secrets(execution.nb, parameters, execution.secrets)
    if not shown:
        return execution
    indices = [execution.positions[index] for index in shown]
    named = ", ".join("of the parameters" if i is None else str(i) for i in indices)
    which = f"The output{'s' * (len(shown) > 1)} of cell{'s' * (len(shown) > 1)} {named}"
    if redact:
        report(Step(message=f"{which}: what looks like a secret is masked", log=True))
        nb = redact_outputs(execution.nb, parameters, execution.secrets)
        return msgspec.structs.replace(execution, nb=nb)
    hint = "the record masks it; --redact masks it in the executed copy, too"
    show = "shows" if len(shown) == 1 else "show"
    report(Step(message=f"{which} {show} what looks like a secret: {hint}", log=True))
    return execution


def _with_results(
    made: Record, execution: Execution, parameters: Mapping[str, Any], store: Store
) -> Record:
    results = msgspec.structs.replace(
        made.results,
        notebook=store.blobs.put(_json(mask_notebook(execution.nb, parameters, execution.secrets))),
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


def _json(nb: Any) -> bytes:
    from mlrepro_nb.execute import portable

    return (json.dumps(portable(nb), indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode(
        "utf-8", "replace"
    )
