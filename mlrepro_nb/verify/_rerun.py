"""One clean run of a notebook, in a scratch copy of its project."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.capture import assemble
from mlrepro_nb.capture.randomness.replay import VARIABLE as REPLAY
from mlrepro_nb.dataflow import read_cell
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.execute import (
    CellError,
    Confinement,
    Execution,
    Workspace,
    run,
    workspace,
)
from mlrepro_nb.model import Record, Report, Step, digest_bytes
from mlrepro_nb.store import write_atomically
from mlrepro_nb.verify._inputs import restore_inputs
from mlrepro_nb.verify._reference import Reference
from mlrepro_nb.verify._surroundings import Surroundings
from mlrepro_nb.verify.attribute.spelled import string_literals
from mlrepro_nb.verify.differential import Held
from mlrepro_nb.verify.marks import SKIPPED, read_after, read_marks


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """What a clean run gave."""

    nb: Any
    """The executed notebook, its paths as they are in the project."""
    outputs: dict[int, list[Mapping[str, Any]]]
    """Of each code cell that ran, by its index in the file."""
    error: CellError | None
    """Where the run stopped, if it did not get to the end."""
    record: Record | None
    prefix: str
    gaps: tuple[str, ...]
    notes: tuple[str, ...]
    """What was not as it was asked for, one sentence each."""
    duration: float
    truncated: frozenset[int] = frozenset()
    """Cells of which not all output was kept."""


def rerun(
    reference: Reference, *, kernel: str | None, timeout: float | None, total: float | None,
    report: Report, surroundings: Surroundings, fed: bytes | None = None, restore: bool = False,
    fresh: bool = False, held: Held | None = None, mocks: bool = False,
) -> Rerun:  # fmt: skip
    """Run the notebook of a reference with the parameters of its reference run.

    What was recorded of its entropy is fed back where it is given as `fed`; with
    `restore` the inputs that the recorded run overwrote are put back, if they were kept.
    What is `held` is held still in the kernel. A `fresh` run shares nothing with another one
    that is drawn when an interpreter starts. With `mocks` nbmake's metadata is heeded.
    """
    held = held or Held()
    where = surroundings
    outside = _outside(reference)
    with workspace(
        reference.root, keep=reference.folder, outside=outside, report=report, commit=where.commit
    ) as scratch:
        path = scratch.path(reference.folder) / reference.path.name
        unrestored = _restore(reference, scratch) if restore else ()
        if where.data == "recorded":
            unrestored += restore_inputs(reference, scratch, report)
        nb = _ordered(_written(_left_out(reference.nb), held), held.order)
        execution = run(
            nb,
            cwd=path.parent,
            parameters=reference.parameters,
            kernel=kernel or where.kernel,
            timeout=timeout,
            total_timeout=total,
            environment={
                "MLREPRO_NOTEBOOK": str(path),
                **_to_feed(fed, scratch.base, reference.record),
                **where.variables,
                **held.variables,
            },
            allow_errors=True,
            after=_after(nb) if mocks else {},
            mode="verify",
            startup=_redirect(reference, scratch.base) + held.startup,
            confined=Confinement(
                nursery=where.nursery,
                limits=where.limits,
                folder=scratch.base,
                baseline=scratch.size,
                fresh=fresh,
                interpreter=where.interpreter,
                extra=where.extra,
            ),
            report=report,
        )
        # Of cells that ran in another order than the file's nothing is kept.
        record, gaps = _record(execution, reference, scratch.root) if not held.order else (None, ())
        prefix = str(scratch.base)
        nb = _mapped(execution.nb, scratch.original)
        gaps = (*execution.gaps, *gaps)
        notes = (*where.notes, *execution.gaps, *scratch.notes, *unrestored)
    outputs = {
        held.order[index] if held.order else index: list(cell.outputs)
        for index, cell in zip(execution.positions, nb.cells, strict=True)
        if index is not None and cell.cell_type == "code"
    }
    stopped = execution.error
    if stopped is not None and stopped.ename not in ("DeadKernelError", "TimeoutError"):
        stopped = None
    return Rerun(
        nb=nb, outputs=outputs, error=stopped, record=record, prefix=prefix, gaps=gaps,
        notes=notes, duration=execution.duration, truncated=frozenset(execution.truncated),
    )  # fmt: skip


def _left_out(nb: Any) -> Any:
    """Return the notebook with the cells that are marked to be skipped tagged for the executor."""
    skipped = [
        index for index, cell in enumerate(nb.cells)
        if cell.cell_type == "code" and read_marks(cell).skip
        and SKIPPED not in (cell.metadata.get("tags") or ())
    ]  # fmt: skip
    if not skipped:
        return nb
    nb = copy.deepcopy(nb)
    for index in skipped:
        nb.cells[index].metadata["tags"] = [*(nb.cells[index].metadata.get("tags") or ()), SKIPPED]
    return nb


def _after(nb: Any) -> dict[int, str]:
    """Return the code that is to run after cells, by their index."""
    found = {i: read_after(cell) for i, cell in enumerate(nb.cells) if cell.cell_type == "code"}
    return {index: source for index, source in found.items() if source}


def _written(nb: Any, held: Held) -> Any:
    """Return the notebook with the literals replaced that stand for the time."""
    if held.now is None or not any(held.source(c.source) != c.source for c in nb.cells):
        return nb
    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = held.source(cell.source)
    return nb


def _ordered(nb: Any, order: tuple[int, ...]) -> Any:
    """Return a notebook of some cells of another, in an order."""
    if not order:
        return nb
    made = copy.copy(nb)
    made.cells = [copy.deepcopy(nb.cells[index]) for index in order]
    for number, cell in enumerate(made.cells):
        if "id" in cell:
            cell.id = f"run-{number}"
    return made


def recorded_entropy(reference: Reference, report: Report) -> bytes | None:
    """Return what the recorded run drew from the system, as far as it was kept.

    Raises
    ------
    UsageError
        There is no record, or it kept nothing of what it drew.
    """
    record, store = reference.record, reference.store
    if record is None or store is None:
        raise UsageError(
            "There is no record whose entropy could be fed back.",
            "Record the notebook first: mlrepro record NOTEBOOK",
        )
    kept = record.randomness.replay
    if kept is None and "unseeded" in record.randomness.cells.values():
        raise UsageError(
            "The record keeps nothing of the entropy that its run drew.",
            "What can be fed back is kept by newer versions: record the notebook again",
        )
    if kept is None:
        report(Step(message="nothing to feed back: all that was drawn was seeded", log=True))
        return None
    return store.blobs.get(kept)


_AT_START = (
    "PYTHONHASHSEED", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "CUBLAS_WORKSPACE_CONFIG", "XLA_FLAGS",
)  # fmt: skip
"""Variables that are part of chance, and are read when a process starts."""


def _to_feed(fed: bytes | None, folder: Path, record: Record | None) -> dict[str, str]:
    if fed is None or record is None:
        return {}
    path = folder / "mlrepro-replay.json"
    path.write_bytes(fed)
    variables = record.environment.variables
    return {name: variables[name] for name in _AT_START if name in variables} | {REPLAY: str(path)}


def _record(
    execution: Execution, reference: Reference, root: Path
) -> tuple[Record | None, tuple[str, ...]]:
    if not execution.events:
        return None, ()
    put = reference.store.blobs.put if reference.store is not None else digest_bytes
    try:
        return (
            assemble(
                execution.events,
                notebook=reference.name,
                root=root,
                mode="verify",
                nb=execution.nb,
                positions=execution.positions,
                gaps=execution.gaps,
                parent=reference.digest,
                put_blob=put,
            ),
            (),
        )
    except ToolError as error:
        return None, (f"The rerun has no record: {error.message}",)


def _mapped(nb: Any, original: Any) -> Any:
    """Return a notebook with the scratch copy's paths taken back."""

    def change(value: Any) -> Any:
        if isinstance(value, str):
            return original(value)
        if isinstance(value, list):
            return [change(item) for item in value]
        if isinstance(value, dict):
            for key in value:
                value[key] = change(value[key])
        return value

    mapped = copy.copy(nb)
    for cell in mapped.cells:
        if cell.cell_type == "code":
            cell["outputs"] = change(cell["outputs"])
    return mapped


def _restore(reference: Reference, scratch: Workspace) -> tuple[str, ...]:
    """Put the inputs that the recorded run overwrote into the copy; return what went wrong."""
    wrong = []
    for access in reference.record.data if reference.record is not None else ():
        if access.kept is None or access.repo_path is None or reference.store is None:
            continue
        path = scratch.path(reference.root) / access.repo_path
        try:
            # A folder of the copy may be a link into the project.
            if not path.parent.resolve().is_relative_to(scratch.base):
                msg = "its folder is not copied"
                raise OSError(0, msg)
            write_atomically(path, reference.store.blobs.get(access.kept))
        except (MlreproError, OSError) as error:
            said = error.message if isinstance(error, MlreproError) else error.strerror
            wrong.append(f"{access.repo_path} was not put back: {said}.")
    return tuple(wrong)


def _outside(reference: Reference) -> list[Path]:
    """Return the files outside the project that the notebook reaches with ``..``."""
    found = []
    for cell in reference.nb.cells:
        if cell.cell_type == "code" and ".." in cell.source:
            for literal in string_literals(read_cell(0, cell.source)):
                if literal.startswith("..") and len(literal) < 300:
                    path = Path(os.path.normpath(reference.folder / literal))
                    if "\0" not in literal and path != Path(path.anchor):
                        found.append(path)
    return found


def _redirect(reference: Reference, base: Path) -> str:
    """Return what leads absolute paths of the project into the scratch copy.

    Only where the code may spell such a path: the user's files are not to change.
    """
    text = "\n".join(cell.source for cell in reference.nb.cells if cell.cell_type == "code")
    home = re.search(r"expanduser|Path\.home|['\"]~/|environ\[?\(?['\"]HOME", text)
    if str(reference.root) not in text and not home:
        return ""
    return _REDIRECT.format(root=str(reference.root), base=str(base))


# Runs in the kernel's process. Reads that the copy cannot serve go to the original.
_REDIRECT = """
def _redirect(root={root!r}, base={base!r}):
    import builtins, functools, io, os
    def moved(path):
        try:
            text = os.fspath(path)
        except TypeError:
            return path
        if isinstance(text, str) and (text == root or text.startswith(root + "/")):
            there = base + text
            if lexists(there) or lexists(there.rpartition("/")[0]):
                return there
        return path
    lstat = os.lstat
    def lexists(path):
        try:
            lstat(path)
        except (OSError, ValueError):
            return False
        return True
    def wrap(function, paths):
        @functools.wraps(function)
        def wrapped(*arguments, **named):
            changed = [moved(a) if i < paths else a for i, a in enumerate(arguments)]
            return function(*changed, **named)
        return wrapped
    opened = wrap(io.open, 1)
    builtins.open = io.open = opened
    for name, paths in dict(
        open=1, mkdir=1, remove=1, unlink=1, rmdir=1, rename=2, replace=2, stat=1, listdir=1,
        scandir=1, symlink=2, link=2, truncate=1, utime=1, chmod=1, chdir=1,
    ).items():
        setattr(os, name, wrap(getattr(os, name), paths))
    try:
        import IPython.core.interactiveshell as shell
        shell.io_open = opened
    except (ImportError, AttributeError):
        pass
_redirect()
del _redirect
"""
