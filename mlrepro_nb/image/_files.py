"""Which files go into an image, and whether they still are what the run read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from mlrepro_nb.changes import edited_cell
from mlrepro_nb.connect import git, mlflow
from mlrepro_nb.errors import MlreproError, NotFoundError, StoreError, UsageError
from mlrepro_nb.image._contents import ContextFile, in_project, inside
from mlrepro_nb.image._places import VENV
from mlrepro_nb.image._secrets import holds_secret
from mlrepro_nb.image.data import Inputs, inputs
from mlrepro_nb.model import Model, Record, canonical, digest_bytes, short
from mlrepro_nb.store import Store


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """What goes in, and what of the data does not."""

    files: tuple[ContextFile, ...]
    data: Inputs = Inputs()
    variables: dict[str, str] = {}


def gather(
    record: Record, digest: str, root: Path, store: Store, *, kind: str, model: Model | None,
    bake_data: bool, urls: Mapping[str, str] = {}, asked: Collection[str] = (),
) -> Gathered:  # fmt: skip
    """Return the files of an image.

    Parameters
    ----------
    bake_data
        Copy the data into it that git does not track, too.
    urls
        Where data can be downloaded, by its path in the project.
    asked
        Paths of files that go in whatever they hold.

    Raises
    ------
    UsageError
        One of them is gone, or not what was recorded, or would make a secret known.
    """
    _refuse_secrets(root, [m.path for m in record.code.modules if in_project(m.path)], asked)
    files = [
        ContextFile(layer="code", path=inside(m.path), source=str(_module(root, m.path, m.digest)))
        for m in record.code.modules
        if in_project(m.path)
    ]
    roots = sorted({r for m in record.code.modules if (r := _import_root(m.name, m.path))})
    variables = {"PYTHONPATH": ":".join(roots)} if roots and kind == "service" else {}
    files.append(ContextFile(layer="record", path="record.json", content=canonical(record)))
    if kind == "service":
        assert model is not None
        files += _model_files(root, model)
        runs = record.lineage.runs
        facts = {
            "record": digest, "name": model.name, "uri": model.uri, "digest": model.digest,
            "notebook": record.code.notebook, "run": runs[-1].run_id if runs else None,
        }  # fmt: skip
        files.append(ContextFile(layer="record", path="model.json", content=canonical(facts)))
        return Gathered(files=tuple(files), variables=variables)
    notebook = _notebook(record, root)
    _refuse_secret_cells(record, notebook)
    source = json.dumps(_stripped(notebook), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    files.append(
        ContextFile(layer="code", path=inside(record.code.notebook), content=source.encode())
    )
    files.append(
        ContextFile(layer="record", path="reference.ipynb", content=_reference(record, root, store))
    )
    files += _listings(record, store)
    data = inputs(record, root, store, bake_data=bake_data, urls=urls, asked=asked)
    if data.items:
        files.append(ContextFile(layer="record", path="data.json", content=canonical(data.items)))
    if kind == "notebook":
        files.append(_kernelspec(notebook, record))
    return Gathered(files=(*files, *data.files), data=data, variables=variables)


def _refuse_secrets(root: Path, modules: Sequence[str], named: Collection[str]) -> None:
    """Refuse modules that hold a secret: each layer is there for whoever can pull it."""
    tracked = git.tracked(root, list(modules)) if git.root(root) is not None else set[str]()
    for path in modules:
        if path not in named and holds_secret(root / path, tracked=path in tracked):
            raise UsageError(
                f"{path}, which the notebook imported, seems to hold a secret: everybody who can "
                "pull the image could read it.",
                "Read it from an environment variable or a mounted file and record again, or "
                "name the file under `files` in [tool.mlrepro] to have it in the image as it is.",
            )


def _refuse_secret_cells(record: Record, notebook: Mapping[str, Any]) -> None:
    from mlrepro_nb.capture.secrets import holds_secret as is_in

    for index, cell in enumerate(notebook["cells"]):
        if is_in(_text(cell["source"])):
            raise UsageError(
                f"Cell {index} of {record.code.notebook} holds a secret (a token or a private "
                "key): everybody who can pull the image could read it.",
                "Read it from an environment variable or a mounted file and record again.",
            )


def _listings(record: Record, store: Store) -> Iterator[ContextFile]:
    """Yield the listings of the folders that the run read: a rerun says which files changed."""
    for tree in sorted({a.tree for a in record.data if a.tree}):
        try:
            content = store.blobs.get(tree)
        except MlreproError:
            continue  # where it is needed to build, that says so
        yield ContextFile(layer="record", path=f"blobs/{tree.rpartition(':')[2]}", content=content)


def _kernelspec(notebook: dict[str, Any], record: Record) -> ContextFile:
    """Return the specification of the recorded environment's kernel, as the notebook names it."""
    said = (notebook.get("metadata") or {}).get("kernelspec") or {}
    name = record.environment.kernelspec or "python3"
    python = f"{VENV}/bin/python"
    spec = {
        "argv": [python, "-m", "ipykernel_launcher", "--ext=mlrepro_nb", "-f", "{connection_file}"],
        "display_name": f"{said.get('display_name') or name} (as recorded)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    return ContextFile(layer="record", path=f"kernels/{name}/kernel.json", content=canonical(spec))


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


def elsewhere(record: Record) -> list[str]:
    """Return a note on the modules that are neither the project's nor a distribution's."""
    provided = {name for d in record.environment.distributions for name in d.modules}
    missing = [
        m.path
        for m in record.code.modules
        if not in_project(m.path) and m.name.partition(".")[0] not in provided
    ]
    if not missing:
        return []
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return [
        f"{', '.join(missing[:3])}{more}: imported from outside of the project, so not in the "
        "image. Move it into the project, or install it as a package, and record again."
    ]


def _import_root(name: str, path: str) -> str | None:
    """Return the folder in the image from which a module is imported by its name, if it is there.

    One from outside of the project is not copied (see `elsewhere`).
    """
    if not in_project(path):
        return None
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
    index = edited_cell(record, sources)
    if index is not None:
        raise UsageError(
            f"Cell {index} of {record.code.notebook} was edited or deleted after it was recorded.",
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
    """Return the executed notebook that a rerun is compared with, secrets masked.

    Of a headless run the store has it, masked when it was kept; else it is the file.
    """
    if record.results.notebook:
        try:
            return store.blobs.get(record.results.notebook)
        except NotFoundError:
            raise StoreError(
                f"The store lacks the executed notebook {short(record.results.notebook)}.",
                "Record the notebook again.",
            ) from None
    from mlrepro_nb.capture.secrets import mask_notebook

    content = (root / inside(record.code.notebook)).read_bytes()
    found = json.loads(content)
    told = ((found.get("metadata") or {}).get("papermill") or {}).get("parameters") or {}
    masked = mask_notebook({"metadata": {}, **found}, told)
    if masked == found:
        return content
    return (json.dumps(masked, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode(
        "utf-8", "surrogatepass"
    )


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


def model_requirements(root: Path, model: Model, markers: Mapping[str, str]) -> dict[str, str]:
    """Return what MLflow noted that a model needs, by distribution.

    Parameters
    ----------
    markers
        Of the recorded environment (PEP 508), whatever this one is.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    found = {}
    path = model_folder(root, model) / "requirements.txt"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            requirement = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:
            continue  # an option of pip's, or nothing
        if requirement.marker is None or requirement.marker.evaluate(dict(markers)):
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
        ContextFile(layer="model", path=name, source=str(path))
        for name, path in mlflow.files_of_model(folder).items()
    ]


def matching(root: Path, patterns: Sequence[str], *, origin: str) -> dict[str, Path]:
    """Return files of the project by patterns; `origin` says where those were said.

    Raises
    ------
    UsageError
        A pattern leads out of the project, or matches nothing.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        matched = sorted(p for p in root.glob(inside(pattern)) if p.is_file())
        if not matched:
            raise UsageError(
                f"`files` names {pattern!r}, and there is no such file in {root}.",
                f"Correct it: {origin}.",
            )
        found |= {inside(path.relative_to(root).as_posix()): path for path in matched}
    return found


def more(asked: Mapping[str, Path], known: Sequence[ContextFile]) -> tuple[ContextFile, ...]:
    """Return those of some files that are not in the image anyway."""
    there = {f.path for f in known if f.layer in ("code", "data", "bulk")}
    return tuple(
        ContextFile(layer="code", path=name, source=str(path))
        for name, path in sorted(asked.items())
        if name not in there
    )
