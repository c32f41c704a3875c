"""What a rerun is held against: which notebook, which record, which outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlrepro_nb import stamp
from mlrepro_nb.errors import MlreproError, NotFoundError, StoreError, UsageError
from mlrepro_nb.execute import cell_ids, read_notebook
from mlrepro_nb.model import Record, revived
from mlrepro_nb.store import Store, project_root
from mlrepro_nb.verify.attribute import Seen
from mlrepro_nb.verify.marks import read_marks

if TYPE_CHECKING:
    from nbformat import NotebookNode


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A notebook and what is known of its reference run."""

    nb: Any
    path: Path
    """Of the notebook; it need not exist where only its record does."""
    name: str
    root: Path
    folder: Path
    ids: tuple[str | None, ...]
    record: Record | None
    digest: str | None
    outputs: Any = None
    """The executed notebook whose outputs are the reference, when they are not the file's own."""
    store: Store | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the reference run that the file does not hold itself."""
        if self.record is None or injected(self.nb):
            return {}
        return dict(revived(self.record.parameters.papermill))


def locate(
    target: str | Path, *, store: Store | None, notebook: Path | None, outputs: Path | None
) -> Reference:
    """Find what a user means by a target.

    Raises
    ------
    NotebookError, NotFoundError, StoreError
        There is nothing of that kind.
    """
    text = str(target)
    path = Path(text)
    if path.suffix != ".json" and (path.suffix == ".ipynb" or path.exists() or "/" in text):
        return _of_notebook(path, store, outputs)
    if path.suffix == ".json" and not path.is_file():
        raise NotFoundError(f"There is no file {path}.", "`mlrepro show X --json` writes one.")
    if path.suffix != ".json" or store is not None:
        store = store or Store.find(notebook)
    digest, record = (store or Store(Path("/nonexistent"))).find_record(text)
    return _of_record(digest, record, store or _store(notebook), notebook, outputs)


def _of_notebook(path: Path, store: Store | None, outputs: Path | None) -> Reference:
    nb = read_notebook(path)
    path = path.resolve()
    store = store or _store(path)
    digest = record = None
    root = project_root(path.parent) or path.parent
    name = store.notebook_name(path) if store is not None else path.relative_to(root).as_posix()
    if store is not None:
        digest = _stamp(nb, store) or store.latest_record(name)
        record = store.get(Record, digest) if digest else None
    other = read_notebook(outputs) if outputs is not None else None
    if other is None and record is not None and _needs_blob(nb, record):
        other = _blob(record, store)
    return Reference(
        nb=nb, path=path, name=name, root=root, folder=path.parent, ids=cell_ids(path),
        record=record, digest=digest, outputs=other, store=store,
    )  # fmt: skip


def _of_record(
    digest: str, record: Record, store: Store | None, notebook: Path | None, outputs: Path | None
) -> Reference:
    path = notebook
    if path is None:
        roots = [project_root(), store.root.parent if store else None, Path.cwd()]
        found = [r / record.code.notebook for r in roots if r is not None]
        found.append(Path.cwd() / Path(record.code.notebook).name)
        path = next((p for p in found if p.is_file()), None)
    blob = _blob(record, store)
    if path is None and blob is None:
        raise NotFoundError(
            f"The record's notebook {record.code.notebook} is not here.",
            "Give it: --notebook PATH",
        )
    if path is not None:
        nb, path = read_notebook(path), path.resolve()
        ids = cell_ids(path)
    else:
        assert blob is not None
        nb = blob
        path = (project_root() or Path.cwd()) / record.code.notebook
        ids = tuple(cell.get("id") for cell in nb.cells)
    folder = path.parent if path.parent.is_dir() else Path.cwd()
    other = read_notebook(outputs) if outputs is not None else blob
    return Reference(
        nb=nb, path=path, name=record.code.notebook, root=project_root(folder) or folder,
        folder=folder, ids=ids, record=record, digest=digest, outputs=other, store=store,
    )  # fmt: skip


def _store(start: Path | None) -> Store | None:
    try:
        return Store.find(start)
    except StoreError:
        return None


def _stamp(nb: NotebookNode, store: Store) -> str | None:
    """Return the record that the file names, if the store has it."""
    named = stamp.read(nb.metadata)
    if named is None:
        return None
    try:
        store.get(Record, named.record)
    except MlreproError:
        return None
    return named.record


def _needs_blob(nb: NotebookNode, record: Record) -> bool:
    """Whether the file's own outputs are none, or of a run with other parameters."""
    if record.parameters.papermill and not injected(nb):
        return True
    return not any(
        cell.outputs or cell.execution_count for cell in nb.cells if cell.cell_type == "code"
    )


def _blob(record: Record, store: Store | None) -> NotebookNode | None:
    if record.results.notebook is None or store is None:
        return None
    import nbformat

    try:
        data = store.blobs.get(record.results.notebook)
    except MlreproError:
        return None
    return nbformat.from_dict(json.loads(data))


def injected(nb: NotebookNode) -> bool:
    """Whether papermill has put a cell with parameters into a notebook."""
    return any("injected-parameters" in (cell.metadata.get("tags") or ()) for cell in nb.cells)


def check_output(output: Path | None, reference: Reference) -> None:
    """Refuse to write the executed copy over the original, or where there is no folder."""
    if output is None:
        return
    if output.resolve() == reference.path.resolve():
        raise UsageError(
            "The executed copy would overwrite the notebook itself.", "Choose another --output."
        )
    if output.is_dir() or not output.resolve().parent.is_dir():
        raise UsageError(f"{output} cannot be written.", "Name a file in a folder that exists.")


def reference_cells(reference: Reference, *, lax: bool = False) -> dict[int, Seen]:
    """Return the code cells of a notebook with the outputs that are their reference.

    With `lax` only those are compared that are marked with ``NBVAL_CHECK_OUTPUT``.
    """
    nb = reference.nb
    theirs = _aligned(nb, reference.outputs) if reference.outputs is not None else None
    whole = theirs.values() if theirs is not None else nb.cells
    stripped = not any(c.get("execution_count") for c in whole if c is not None)
    announced = _allows_errors(nb)
    cells: dict[int, Seen] = {}
    for index, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        other = theirs.get(index) if theirs is not None else cell
        outputs = list(other.get("outputs") or ()) if other is not None else []
        count = other.get("execution_count") if other is not None else None
        ran = count is not None or bool(outputs) or (stripped and any(
            c.get("outputs") for c in whole if c is not None))  # fmt: skip
        own = _started(other) if other is not None else None
        cells[index] = Seen(
            index=index,
            id=reference.ids[index] or cell.get("id"),
            source=cell.source,
            reference=outputs,
            stored=list(cell.get("outputs") or ()),
            count=cell.get("execution_count"),
            executed=ran,
            compared=ran and _is_compared(cell, lax=lax),
            started=own,
            may_raise=announced or read_marks(cell).raises,
        )
    return cells


def _aligned(nb: NotebookNode, other: NotebookNode) -> dict[int, Any]:
    """Return for the code cells of a notebook those of its executed copy: by id, then by place."""
    code = [c for c in other.cells if c.cell_type == "code"]
    if not injected(nb):
        code = [c for c in code if "injected-parameters" not in (c.metadata.get("tags") or ())]
    by_id = {c.get("id"): position for position, c in enumerate(code)}
    mine = [index for index, cell in enumerate(nb.cells) if cell.cell_type == "code"]
    found = {i: by_id[nb.cells[i].get("id")] for i in mine if nb.cells[i].get("id") in by_id}
    taken, after = set(found.values()), -1
    for index in mine:
        if index in found:
            after = found[index]
        elif after + 1 < len(code) and after + 1 not in taken:
            after += 1
            found[index] = after
    return {index: code[position] for index, position in found.items()}


def _allows_errors(nb: NotebookNode) -> bool:
    """Whether a notebook says, as nbmake reads it, that any of its cells may raise."""
    execution = nb.metadata.get("execution")
    return isinstance(execution, dict) and execution.get("allow_errors") is True


def _is_compared(cell: Mapping[str, Any], *, lax: bool) -> bool:
    marks = read_marks(cell)
    if not marks.compared or (lax and not marks.check):
        return False
    lines = [line.strip() for line in cell["source"].splitlines()]
    code = [line for line in lines if line and not line.startswith("#")]
    own = ("%mlrepro", "%load_ext mlrepro_nb", "%reload_ext mlrepro_nb", "%unload_ext mlrepro_nb")
    return not code or not all(line.startswith(own) for line in code)


def _started(cell: Mapping[str, Any]) -> str | None:
    metadata = cell.get("metadata") or {}
    execution = metadata.get("execution") or {}
    papermill = metadata.get("papermill") or {}
    for value in (
        execution.get("iopub.execute_input"),
        execution.get("iopub.status.busy"),
        execution.get("shell.execute_reply.started"),
        papermill.get("start_time"),
    ):
        if isinstance(value, str):
            return value
    return None


def raised(outputs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the error among a cell's outputs."""
    return next((output for output in outputs if output.get("output_type") == "error"), None)
