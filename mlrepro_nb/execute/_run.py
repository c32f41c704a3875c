"""Running a notebook in a fresh kernel, through papermill's engine interface."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mlrepro_nb.capture.data.deep import traced
from mlrepro_nb.errors import KernelError
from mlrepro_nb.execute._deep import Tracing
from mlrepro_nb.execute._environment import heard, not_recorded, prepare
from mlrepro_nb.execute._kernelspec import kernel_language, kernel_name
from mlrepro_nb.execute._nursery import manager
from mlrepro_nb.execute._parameters import check_parameters
from mlrepro_nb.execute.limits import Limits
from mlrepro_nb.model import Report, Step, silent, timestamp

if TYPE_CHECKING:
    from nbformat import NotebookNode

_IOPUB_TIMEOUT = 30
_START_TIMEOUT = 120


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a kernel comes from, what it may take, and what of it is measured."""

    nursery: Any
    limits: Limits = Limits()
    folder: Path | None = None
    """The scratch folder, which also takes the notebook's temporary files."""
    baseline: int = 0
    """Bytes that were in it at the beginning."""
    fresh: bool = False
    """Start the interpreter anew, so that all that is drawn when one starts is, too."""
    interpreter: str | None = None
    """Python to use instead of the kernelspec's."""
    extra: tuple[str, ...] = ()
    """Folders at the end of its ``sys.path``."""


class CellError(msgspec.Struct, frozen=True, kw_only=True):
    """The error at which a run stopped.

    A kernel that died is ``DeadKernelError``, a run that took too long
    ``TimeoutError``.
    """

    index: int | None
    """In the notebook as given; None for the injected parameters."""
    ename: str
    evalue: str
    traceback: tuple[str, ...] = ()


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """What came of running a notebook."""

    nb: Any
    """The executed notebook. Papermill has put a cell tagged ``injected-parameters`` into it
    where parameters were given; every other cell keeps the id that it had."""
    positions: tuple[int | None, ...]
    """For each cell of `nb`, its index in the notebook as given."""
    events: list[tuple[str, Any]]
    """What the recorder in the kernel reported, up to the end or the kernel's death."""
    error: CellError | None = None
    started: str
    """RFC 3339, UTC."""
    duration: float
    kernel: str
    truncated: tuple[int, ...] = ()
    """Cells, by their index in the notebook as given, of which not all output was kept."""
    gaps: tuple[str, ...] = ()
    """What was not captured or kept, one sentence each."""
    secrets: tuple[str, ...] = ()
    """What the kernel's environment held that must not be kept; never written anywhere."""


def run(
    nb: NotebookNode,
    *,
    cwd: Path,
    parameters: Mapping[str, Any] = {},
    kernel: str | None = None,
    timeout: float | None = None,
    total_timeout: float | None = None,
    environment: Mapping[str, str] = {},
    allow_errors: bool = False,
    mode: Literal["headless", "verify"] = "headless",
    startup: str = "",
    after: Mapping[int, str] = {},
    recorded: bool = True,
    deep: bool = False,
    confined: Confinement | None = None,
    report: Report = silent,
) -> Execution:
    """Run a notebook top to bottom in a fresh kernel.

    The kernel sees nothing of the user's IPython profile. It and whatever it
    started are gone when this returns, also when Ctrl-C ends it.

    Parameters
    ----------
    nb : NotebookNode
        The notebook; it is not changed.
    cwd : Path
        Working folder of the kernel.
    parameters : mapping
        Papermill parameters, JSON values.
    kernel : str, optional
        Kernelspec to use instead of the notebook's.
    timeout, total_timeout : float, optional
        Seconds that one cell, and the whole notebook, may take.
    environment : mapping
        Environment variables to set for the kernel.
    allow_errors : bool
        Go on after a cell that raised.
    mode : str
        What the recorder notes as the origin of the run.
    startup : str
        Python source that runs in the kernel's process before the first cell,
        outside the user's namespace (ipykernel only).
    after : mapping
        Source that runs among the notebook's names after the cell of an index, unless that
        raised. What it prints is dropped; what it raises is the cell's.
    recorded : bool
        Whether to load the recorder.
    deep : bool
        Whether strace follows the kernel, so that no file that it or a child of it
        opens escapes the record.
    confined : Confinement, optional
        Has the kernel come from a nursery and keep within limits; a kernel that does not is
        a ``DeadKernelError`` that says which limit it was.

    Raises
    ------
    KernelError
        The kernel is not installed or does not start.
    UsageError
        A parameter is unknown or missing.
    ToolError
        `deep` is asked for, and strace is missing or not allowed.
    """
    name = kernel_name(nb, kernel)
    check_parameters(nb, parameters)
    given = [cell.get("id") for cell in nb.cells]
    executed = _prepared(nb, parameters, name)
    report(Step(message=f"starting kernel {name}", done=0, total=len(executed.cells)))
    started, clock, key = datetime.now(timezone.utc), time.monotonic(), os.urandom(32).hex()
    order = {identity: index for index, identity in enumerate(given)}
    positions = tuple(order.get(cell.get("id")) for cell in executed.cells)
    with tempfile.TemporaryDirectory(prefix="mlrepro-", ignore_cleanup_errors=True) as folder:
        journal = Path(folder) / "events.jsonl"
        variables = prepare(
            Path(folder),
            recorded=recorded,
            startup=startup,
            users=confined is not None and confined.limits.startup_files,
            variables={
                **environment,
                "MLREPRO_EVENTS": str(journal),
                "MLREPRO_MODE": mode,
                "MLREPRO_KEY": key,
            },
        )
        tracing = Tracing(Path(folder)) if deep else None
        client = _client(
            executed, name, report, timeout, total_timeout, allow_errors=allow_errors,
            **(_under(tracing, variables, str(journal)) if tracing is not None else {}),
        )  # fmt: skip
        if confined is not None and tracing is None:
            _confine(client, confined, Path(folder), variables)
        client.after = {
            i: after[p] for i, p in enumerate(positions) if p is not None and p in after
        }
        _execute(client, cwd, variables, str(journal))
        events, secrets = heard(journal, key)
        cut_short = False
        if tracing is not None:
            trace = tracing.ended()
            cut_short = trace is None
            events += list(traced(trace, list(events))) if trace is not None else []
    return Execution(
        nb=executed,
        positions=positions,
        events=events,
        error=_error(client, positions, executed),
        started=timestamp(started),
        duration=round(time.monotonic() - clock, 6),
        kernel=name,
        truncated=tuple(p for i in client.capped if (p := positions[i]) is not None),
        gaps=tuple(_gaps(client, events, name, recorded=recorded, cut_short=cut_short)),
        secrets=secrets,
    )


def _prepared(nb: NotebookNode, parameters: Mapping[str, Any], name: str) -> NotebookNode:
    from papermill.execute import remove_error_markers
    from papermill.parameterize import parameterize_notebook

    executed = copy.deepcopy(nb)
    executed.metadata["papermill"] = executed.metadata.get("papermill") or {}
    executed.metadata.papermill.update(default_parameters={}, parameters={})
    executed = remove_error_markers(executed)
    if parameters:
        logging.getLogger("papermill").setLevel(logging.ERROR)
        for cell in executed.cells:
            cell.metadata.setdefault("tags", [])  # papermill reads them of every cell
        executed = parameterize_notebook(
            executed, dict(parameters), kernel_name=name, language=kernel_language(name)
        )
    return executed


def _client(
    executed: NotebookNode, name: str, report: Report, timeout: float | None,
    total: float | None, *, allow_errors: bool, **options: Any,
) -> Any:  # fmt: skip
    from papermill.engines import NotebookExecutionManager

    from mlrepro_nb.execute._client import Client
    from mlrepro_nb.execute._prompt import PromptManager

    manager = NotebookExecutionManager(executed, progress_bar=False, autosave_cell_every=0)
    manager.notebook_start()
    return Client(
        manager,
        report=report,
        cell_timeout=timeout,
        total=total,
        kernel_name=name,
        allow_errors=allow_errors,
        startup_timeout=_START_TIMEOUT,
        iopub_timeout=_IOPUB_TIMEOUT,
        raise_on_iopub_timeout=False,
        log=_quiet(),
        **{"kernel_manager_class": PromptManager, **options},
    )


def _under(tracing: Tracing, variables: dict[str, str], journal: str) -> dict[str, Any]:
    """Return what has strace follow the kernel, which alone gets the leftovers' mark."""
    mark = {"MLREPRO_EVENTS": variables.pop("MLREPRO_EVENTS", journal)}
    return {"kernel_manager_class": tracing.manager(mark)}


def _confine(client: Any, confined: Confinement, folder: Path, variables: dict[str, str]) -> None:
    if confined.folder is not None:
        temporary = confined.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        variables["TMPDIR"] = str(temporary)
    if confined.interpreter is not None:
        home = Path(confined.interpreter).parent
        variables["PATH"] = f"{home}{os.pathsep}{variables.get('PATH', os.defpath)}"
        variables["VIRTUAL_ENV"] = str(home.parent)
    client.interrupt_on_timeout = confined.limits.interrupt
    client.nursed = partial(
        manager,
        confined.nursery,
        bounds=confined.limits,
        sockets=folder,
        folder=confined.folder,
        baseline=confined.baseline,
        fresh=confined.fresh,
        interpreter=confined.interpreter,
        extra=confined.extra,
        started=client.kernels,
    )


def _execute(client: Any, cwd: Path, variables: dict[str, str], marker: str) -> None:
    with _tail() as (sink, said):
        if client.nursed is not None:
            client.kernel_manager_class = client.nursed(output=sink)
        try:
            client.execute(cwd=str(cwd), env=variables, stdout=sink, stderr=sink)
        except (RuntimeError, OSError) as error:
            last = [line for line in said().splitlines() if line.strip()][-1:]
            raise KernelError(
                f"The kernel {client.kernel_name!r} did not start: {(last or [error])[0]}",
                "Try it: jupyter console --kernel " + str(client.kernel_name),
            ) from None
        finally:
            client.nb_man.notebook_complete()
            for kernel in client.kernels:
                kernel.kill()
                kernel.wait()
            if not client.kernels or any(kernel.vanished for kernel in client.kernels):
                _end_leftovers(marker)


@contextlib.contextmanager
def _tail() -> Iterator[tuple[int, Any]]:
    """Yield a descriptor for what the kernel's process prints itself, and a way to see its end."""
    reading, writing = os.pipe()
    kept = bytearray()

    def drain() -> None:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                kept.extend(chunk)
                del kept[:-65536]

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    try:
        yield writing, lambda: kept.decode("utf-8", "replace")
    finally:
        os.close(writing)
        thread.join(timeout=1)


def _end_leftovers(marker: str) -> None:
    """Kill what the kernel started and left behind: processes that inherited our variable."""
    import psutil

    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("MLREPRO_EVENTS") == marker:
                process.send_signal(signal.SIGKILL)


def _error(
    client: Any, positions: tuple[int | None, ...], executed: NotebookNode
) -> CellError | None:
    ended = client.ended or first_error(executed)
    if ended is None:
        return None
    index, ename, evalue, traceback = ended
    if ename == "SystemExit" and evalue in ("", "0", "None"):
        return None
    return CellError(index=positions[index], ename=ename, evalue=evalue, traceback=traceback)


def first_error(executed: NotebookNode) -> tuple[int, str, str, tuple[str, ...]] | None:
    """Return the first error that the run went over, except where its cell announces one."""
    for index, cell in enumerate(executed.cells):
        if "raises-exception" in (cell.metadata.get("tags") or ()):
            continue
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                return index, output.ename, output.evalue, tuple(output.traceback)
    return None


def _gaps(
    client: Any, events: list[tuple[str, Any]], name: str, *, recorded: bool,
    cut_short: bool = False,
) -> Iterator[str]:  # fmt: skip
    if cut_short:
        yield "strace ended before the kernel did: what it would have seen is missing."
    if recorded and not events:
        yield not_recorded(name)
    if any(kernel.network == "guard" for kernel in client.kernels):
        yield (
            "The run was kept off the network by a guard in Python only: no network namespace "
            "may be made here. Native code gets around it."
        )
    for index in client.capped:
        yield f"Cell {index} printed more than could be kept; the rest of its output is missing."


def _quiet() -> logging.Logger:
    log = logging.getLogger("mlrepro_nb.execute")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    return log
