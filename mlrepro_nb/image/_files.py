"""Which files go into an image, and whether they still are what the run read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from mlrepro_nb.connect import git, mlflow
from mlrepro_nb.errors import MlreproError, NotFoundError, StoreError, UsageError
from mlrepro_nb.model import DataAccess, Model, Record, canonical, digest_bytes, digest_text, short
from mlrepro_nb.store import Store

SMALL = 10 * 2**20
"""Bytes up to which data that git does not track is copied into an image unasked."""

Layer = Literal["data", "model", "code", "record"]


class ContextFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the build context."""

    layer: Layer
    path: str
    """In its layer."""
    source: str | None = None
    """File that it is a copy of; None where `content` has it."""
    content: bytes | None = None


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """Data that a container needs and the image does not have."""

    path: str
    where: str | None
    """Path in the container; None where there is none that the notebook would find."""
    reason: str
    size: int | None = None


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """What goes in, what has to be mounted, what is worth saying."""

    files: tuple[ContextFile, ...]
    mounts: tuple[Mount, ...] = ()
    variables: dict[str, str] = {}
    notes: tuple[str, ...] = ()


def gather(
    record: Record, digest: str, root: Path, store: Store, *, kind: str, model: Model | None,
    bake_data: bool,
) -> Gathered:  # fmt: skip
    """Return the files of an image.

    Raises
    ------
    UsageError
        One of them is gone or not what was recorded.
    """
    files = [
        ContextFile(layer="code", path=_inside(m.path), source=str(_module(root, m.path, m.digest)))
        for m in record.code.modules
        if _in_project(m.path)
    ]
    roots = sorted({r for m in record.code.modules if (r := _import_root(m.name, m.path))})
    variables = {"PYTHONPATH": ":".join(roots)} if roots and kind == "service" else {}
    files.append(ContextFile(layer="record", path="record.json", content=canonical(record)))
    if kind == "service":
        assert model is not None
        files += _model_files(root, model)
        facts = {"record": digest, "name": model.name, "uri": model.uri, "digest": model.digest}
        files.append(ContextFile(layer="record", path="model.json", content=canonical(facts)))
        return Gathered(files=tuple(files), variables=variables)
    notebook = _notebook(record, root)
    source = json.dumps(_stripped(notebook), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    files.append(
        ContextFile(layer="code", path=_inside(record.code.notebook), content=source.encode())
    )
    files.append(
        ContextFile(layer="record", path="reference.ipynb", content=_reference(record, root, store))
    )
    baked, mounts = _data(record, root, store, bake_data=bake_data)
    notes = tuple(_note(m) for m in mounts)
    return Gathered(files=(*files, *baked), mounts=mounts, variables=variables, notes=notes)


def _note(mount: Mount) -> str:
    what = f"{mount.path} is not in the image ({mount.reason}): "
    if mount.where is None:
        return f"{what}move it into the project and record again."
    return f"{what}mount it at {mount.where}{'' if mount.size is None else ', or --bake-data'}."


def data(record: Record) -> dict[str, str]:
    """Return the digests of the data that went into the run, by path."""
    return {
        a.repo_path or a.path: a.digest for a in record.data if a.digest and _is_input(a, record)
    }


def _is_input(access: DataAccess, record: Record) -> bool:
    """Whether the run read a file that it had not made itself."""
    if access.access != "read":
        return False
    if access.tracked:
        return True
    written = [
        w.execution
        for w in record.data
        if w.access == "write" and (w.repo_path or w.path) == (access.repo_path or access.path)
    ]
    read = access.execution
    return not any(w is None or read is None or w <= read for w in written)


def _data(
    record: Record, root: Path, store: Store, *, bake_data: bool
) -> tuple[tuple[ContextFile, ...], tuple[Mount, ...]]:
    inputs = [a for a in record.data if _is_input(a, record)]
    own = {record.code.notebook, *(m.path for m in record.code.modules)}
    tracked: set[str] = set()
    if git.root(root) is not None:
        tracked = git.tracked(root, [a.repo_path for a in inputs if a.repo_path])
    files: dict[str, ContextFile] = {}
    mounts: dict[str, Mount] = {}
    for access in inputs:
        name = access.repo_path
        if name in own or "://" in access.path:
            continue
        if name is None or not _in_project(name):
            absolute = access.path.startswith("/")
            mounts[access.path] = Mount(
                path=access.path,
                where=access.path if absolute else None,
                reason="it lies outside the project",
            )
            continue
        path = root / name
        size = access.size or 0
        if not (bake_data or name in tracked or access.tracked or size <= SMALL):
            reason = f"{size / 2**20:.0f} MiB that git does not track"
            mounts[name] = Mount(path=name, where=f"/app/project/{name}", reason=reason, size=size)
            continue
        _check_data(path, access, store)
        for inner in _names(access, store):
            file = str(PurePosixPath(name, inner))
            files[file] = ContextFile(layer="data", path=_inside(file), source=str(root / file))
    return tuple(files.values()), tuple(mounts.values())


def _names(access: DataAccess, store: Store) -> Iterable[str]:
    """Return what of an entry is copied: the file itself, or the files of a folder in it."""
    if access.tree is None:
        return ("",)
    from mlrepro_nb.capture.data.trees import stored_listing

    found = stored_listing(store, access.tree)
    if found is None:
        raise StoreError(
            f"The store lacks the listing of {access.repo_path}.", "Record the notebook again."
        )
    return found


def _check_data(path: Path, access: DataAccess, store: Store) -> None:
    if not (path.is_file() if access.tree is None else path.is_dir()):
        raise UsageError(
            f"{access.repo_path}, which the run read, is gone.",
            "Restore it"
            + (f" (dvc pull {access.dvc.file})" if access.dvc else "")
            + ", or record again.",
        )
    if _changed(path, access, store):
        raise UsageError(
            f"{access.repo_path} is not what the run read: its content has changed since.",
            "Restore it, or record again with the new content.",
        )


def _changed(path: Path, access: DataAccess, store: Store) -> bool:
    if access.digest is None:
        return False
    # Not above: a service imports this package, and has no need of what capture needs.
    from mlrepro_nb.capture.data.hashing import hash_file
    from mlrepro_nb.capture.data.trees import hash_tree

    if access.tree is not None:
        tree = hash_tree(str(path), _names(access, store), cache=store.digests)
        return tree is None or tree.digest != access.digest
    found = hash_file(str(path), cache=store.digests)
    return found is None or found.digest != access.digest


def _in_project(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def _inside(path: str) -> str:
    """Return a path that a record gives, refusing one that would leave the build context."""
    if not _in_project(path) or PurePosixPath(path).parts[:1] == (".git",):
        raise UsageError(
            f"The record names {path!r}, which is not in the project.", "Record the notebook again."
        )
    return path


def _module(root: Path, path: str, digest: str) -> Path:
    found = root / path
    try:
        content = found.read_bytes()
    except OSError:
        raise UsageError(
            f"{path}, which the notebook imported, is gone.", "Restore it, or record again."
        ) from None
    import blake3

    known = (digest_bytes(content), f"blake3:{blake3.blake3(content).hexdigest()}")
    if digest not in known:
        raise UsageError(
            f"{path}, which the notebook imported, was edited after the run.",
            "Record the notebook again.",
        )
    return found


def _import_root(name: str, path: str) -> str | None:
    """Return the folder in the image from which a module is imported by its name."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    if parts and parts[-1] == "__init__":
        parts.pop()
    wanted = name.split(".")
    if parts[-len(wanted) :] != wanted:
        return None
    return str(PurePosixPath("/app/project", *parts[: -len(wanted)]))


def _notebook(record: Record, root: Path) -> dict[str, Any]:
    """Return the notebook in the tree, once its cells are those that ran."""
    path = root / record.code.notebook
    try:
        found = json.loads(path.read_bytes())
        cells = found["cells"]
        sources = [_text(cell["source"]) for cell in cells]
    except FileNotFoundError:
        where = f" (commit {record.code.commit[:12]})" if record.code.commit else ""
        raise UsageError(
            f"{record.code.notebook} is not in {root}.", f"Check out what was recorded{where}."
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{path} cannot be read as a notebook.", "Save it again as nbformat 4."
        ) from None
    ran: dict[int, set[str]] = {}
    for cell in record.code.cells:
        if cell.index is not None:
            ran.setdefault(cell.index, set()).add(cell.digest)
    every = {cell.digest for cell in record.code.cells}
    for index, source in enumerate(sources):
        wanted = ran.get(index)
        if wanted and digest_text(source) not in wanted | every:
            raise UsageError(
                f"Cell {index} of {record.code.notebook} was edited after it was recorded.",
                f"Run `mlrepro record {record.code.notebook}` again.",
            )
    assert isinstance(found, dict)
    return found


def _text(source: Any) -> str:
    return "".join(source) if isinstance(source, list) else str(source)


def _stripped(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook without what running it leaves: outputs, counts, widget state."""
    cells = []
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "code":
            kept = {k: v for k, v in (cell.get("metadata") or {}).items() if k in _KEPT}
            cells.append({**cell, "outputs": [], "execution_count": None, "metadata": kept})
        else:
            cells.append({k: v for k, v in cell.items() if k != "attachments"})
    metadata = {
        k: v
        for k, v in (notebook.get("metadata") or {}).items()
        if k in ("kernelspec", "language_info")
    }
    return {**notebook, "cells": cells, "metadata": metadata}


_KEPT = frozenset({"tags", "name"})


def _reference(record: Record, root: Path, store: Store) -> bytes:
    """Return the executed notebook that a rerun is compared with."""
    if record.results.notebook:
        try:
            return store.blobs.get(record.results.notebook)
        except NotFoundError:
            raise StoreError(
                f"The store lacks the executed notebook {short(record.results.notebook)}.",
                "Record the notebook again.",
            ) from None
    return (root / record.code.notebook).read_bytes()


# --- the served model


def model_folder(root: Path, model: Model) -> Path:
    """Return where a model's files are.

    Raises
    ------
    UsageError
        They are not on this machine.
    """
    folder = root / model.path if model.path else None
    if folder is None or not (folder / "MLmodel").is_file():
        where = f" at {model.path}" if model.path else ""
        raise UsageError(
            f"The files of model {model.name!r} are not on this machine{where}.",
            f"Fetch them (mlflow artifacts download -u {model.uri} -d {model.path or 'model'}), "
            "or record again.",
        )
    return folder


def model_requirements(root: Path, model: Model) -> dict[str, str]:
    """Return what MLflow noted that a model needs, by distribution."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = {}
    path = model_folder(root, model) / "requirements.txt"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            requirement = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:
            continue  # an option of pip's, or nothing
        if requirement.marker is None or requirement.marker.evaluate():
            extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            found[requirement.name.lower()] = requirement.name + extras
    return found


def _model_files(root: Path, model: Model) -> list[ContextFile]:
    folder = model_folder(root, model)
    if model.digest and model.digest != (found := mlflow.digest_of_files(folder)):
        raise MlreproError(
            f"The files of model {model.name!r} are not those that the run logged "
            f"({short(found)} instead of {short(model.digest)}).",
            "Restore them, or record again.",
        )
    return [
        ContextFile(layer="model", path=path.relative_to(folder).as_posix(), source=str(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
