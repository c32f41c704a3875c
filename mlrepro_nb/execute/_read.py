"""Reading a notebook file: what is no notebook is told in one sentence."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrepro_nb.errors import NotebookError
from mlrepro_nb.execute._messages import shallow
from mlrepro_nb.model import digest_text

if TYPE_CHECKING:
    from nbformat import NotebookNode

LARGEST = 1 << 30
"""Bytes. A notebook beyond this has data in its outputs that no tool can compare."""

_NEWEST_MAJOR = 4


def read_notebook(path: str | Path) -> NotebookNode:
    """Read a notebook; one of an older format is upgraded in memory.

    One of nbformat 3 or 2, of 2014 or before, says so in ``metadata.orig_nbformat``.

    Cells that have no id in the file get one made from their position and
    source, so that two readings of a file agree.

    Raises
    ------
    NotebookError
        The file is missing, is not a notebook, or is one of another format.
    """
    path = Path(path)
    data = _json(path, _text(path))
    if not isinstance(data, dict) or "nbformat" not in data:
        hint = "A notebook has the keys cells, metadata and nbformat."
        if isinstance(data, dict) and "schema_version" in data:
            hint = "It looks like a record: give it without .ipynb, or its digest."
        raise NotebookError(f"{path} is JSON, but not a notebook.", hint)
    major = data["nbformat"]
    if not isinstance(major, int) or isinstance(major, bool):
        raise NotebookError(f"{path} has an unreadable nbformat ({major!r}).", _RESAVE)
    if major < _NEWEST_MAJOR:
        node = _node(path, _upgraded(path, data, major))
        node.metadata["orig_nbformat"] = major
        return node
    if major > _NEWEST_MAJOR:
        raise NotebookError(
            f"{path} was written by a newer Jupyter (nbformat {major}).",
            "Upgrade: pip install -U nbformat, or save it as nbformat 4.",
        )
    return _node(path, data)


_RESAVE = "Open it in JupyterLab and save it again, or restore it from git."


def cell_ids(path: str | Path) -> tuple[str | None, ...]:
    """Return the ids that the cells of a notebook file really have."""
    data = json.loads(Path(path).read_text(encoding="utf-8"))
    if "cells" not in data:
        return (None,) * len(read_notebook(path).cells)
    return tuple(cell.get("id") for cell in data["cells"])


def _upgraded(path: Path, data: dict[str, Any], major: int) -> dict[str, Any]:
    """Return a notebook of an older format as one of nbformat 4."""
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = nbformat.reads(json.dumps(data), as_version=_NEWEST_MAJOR)
        upgraded: dict[str, Any] = json.loads(json.dumps(node))
        for cell in upgraded["cells"]:
            cell.pop("id", None)  # drawn at random: `_node` makes one that stays
        return upgraded
    except Exception as error:  # noqa: BLE001 - what nbformat raises is of many types
        raise NotebookError(
            f"{path} is a notebook of nbformat {major}, and cannot be upgraded: {error!r}.",
            f"Convert it: jupyter nbconvert --to notebook --nbformat 4 {path}",
        ) from None


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise NotebookError(f"{path} is a folder.", "Name a notebook file (.ipynb) in it.")
        if not path.is_file():
            raise NotebookError(f"{path} is not a regular file.", "Name a notebook (.ipynb).")
        if size > LARGEST:
            raise NotebookError(
                f"{path} has {size / 1e9:.1f} GB, more than a notebook can be.",
                "Clear its outputs: jupyter nbconvert --clear-output --inplace NOTEBOOK",
            )
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise NotebookError(
            f"There is no file {path}.", "Check the name and the working folder."
        ) from None
    except UnicodeDecodeError:
        raise NotebookError(
            f"{path} is not text, so it is not a notebook.", "Name a notebook file (.ipynb)."
        ) from None
    except OSError as error:
        raise NotebookError(
            f"{path} cannot be read: {error.strerror}.", "Check its name and permissions."
        ) from None


def _json(path: Path, text: str) -> Any:
    if not text.strip():
        raise NotebookError(f"{path} is empty.", "Restore it, e.g. with `git checkout`.")
    try:
        return json.loads(text)
    except RecursionError:
        raise NotebookError(f"{path} is nested too deeply to be a notebook.", _RESAVE) from None
    except ValueError as error:
        if "\n<<<<<<< " in text and "\n>>>>>>> " in text:
            raise NotebookError(
                f"{path} has unresolved merge conflicts.", "Resolve them: nbdime mergetool"
            ) from None
        if path.suffix != ".ipynb":
            raise NotebookError(f"{path} is not a notebook.", "Name an .ipynb file.") from None
        raise NotebookError(f"{path} is not JSON: {error}.", _RESAVE) from None


def _node(path: Path, data: dict[str, Any]) -> NotebookNode:
    import nbformat

    cells = data.get("cells")
    if not isinstance(cells, list):
        raise NotebookError(f"{path} has no list of cells.", _RESAVE)
    seen: set[str] = set()
    for index, cell in enumerate(cells):
        _complete(path, index, cell)
        name = cell.get("id")
        if not isinstance(name, str) or not name or name in seen:
            name = digest_text(f"{index} {cell['source']}")[7:15] + f"-{index}"
        seen.add(name)
        cell["id"] = name
    data["nbformat_minor"] = max(5, _integer(data.get("nbformat_minor")))
    if not isinstance(data.get("metadata"), dict):
        data["metadata"] = {}
    try:
        node = nbformat.from_dict(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = nbformat.v4.rwbase.strip_transient(nbformat.v4.rwbase.rejoin_lines(node))
    except (RecursionError, TypeError, AttributeError, KeyError) as error:
        raise NotebookError(f"{path} is not a valid notebook: {error}.", _RESAVE) from None
    return node


def _complete(path: Path, index: int, cell: Any) -> None:
    """Add what a cell must have and many writers leave out."""
    wrong = f"{path} is not a valid notebook: cell {index}"
    if not isinstance(cell, dict):
        raise NotebookError(f"{wrong} is not an object.", _RESAVE)
    if cell.get("cell_type") not in ("code", "markdown", "raw"):
        raise NotebookError(f"{wrong} has the type {cell.get('cell_type')!r}.", _RESAVE)
    source = cell.setdefault("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        cell["source"] = source = "".join(source)
    if not isinstance(source, str):
        raise NotebookError(f"{wrong} has a source that is not text.", _RESAVE)
    if not isinstance(cell.get("metadata"), dict):
        cell["metadata"] = {}
    tags = cell["metadata"].get("tags")
    if tags is not None and not (
        isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    ):
        cell["metadata"].pop("tags")
    if cell["cell_type"] == "code":
        outputs = cell.setdefault("outputs", [])
        if not isinstance(outputs, list) or not all(
            isinstance(output, dict) and isinstance(output.get("output_type"), str)
            for output in outputs
        ):
            raise NotebookError(f"{wrong} has outputs that are none.", _RESAVE)
        for output in outputs:
            shallow(output)
            _complete_output(output)
        if not isinstance(cell.get("execution_count"), int):
            cell["execution_count"] = None


def _complete_output(output: dict[str, Any]) -> None:
    if output["output_type"] == "stream":
        output.setdefault("name", "stdout")
        text = output.get("text", "")
        output["text"] = "".join(map(str, text)) if isinstance(text, list) else str(text)
    elif output["output_type"] == "error":
        for key in ("ename", "evalue"):
            output[key] = str(output.get(key, ""))
        lines = output.get("traceback")
        output["traceback"] = [str(line) for line in lines] if isinstance(lines, list) else []
    else:
        if not isinstance(output.get("data"), dict):
            output["data"] = {}
        if not isinstance(output.get("metadata"), dict):
            output["metadata"] = {}


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else 0
