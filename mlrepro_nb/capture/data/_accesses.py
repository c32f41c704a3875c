"""Which files were data, from what was opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrepro_nb.capture.data.hashing import hash_file
from mlrepro_nb.capture.data.paths import relative
from mlrepro_nb.connect import dvc, git
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import DataAccess

if TYPE_CHECKING:
    from mlrepro_nb.capture.cells._match import Cells
    from mlrepro_nb.capture.told import Told


def accesses(told: Told, cells: Cells, root: Path | None) -> tuple[DataAccess, ...]:
    """Return one entry a path and kind of access, in the order of first use."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    layers: dict[tuple[str, str], dict[str, None]] = {}
    for opened in told.opens:
        where = opened.get("absolute") or opened["path"]
        key = (where, opened["access"])
        first.setdefault(key, opened)
        layers.setdefault(key, {}).setdefault(opened["layer"])
    digests = _digests(told)
    notebook = _own_files(told)
    kept = {
        key: opened
        for key, opened in first.items()
        if key[0] not in notebook and not (key[1] == "write" and key[0] in told.removed)
    }
    inside = {key: _inside(opened.get("absolute"), root) for key, opened in kept.items()}
    under_git = _tracked(root, {path for path in inside.values() if path})
    found = []
    for key, opened in kept.items():
        known: dict[str, Any] = digests.get(key) or {}
        absolute, order, repo_path = opened.get("absolute"), opened.get("order"), inside[key]
        if absolute and not known:
            late = _late(absolute, opened, told)
            if late is None:
                continue
            known = late
        pointer = dvc.pointer(root, Path(absolute)) if root and absolute and repo_path else None
        md5 = known.get("md5")
        found.append(
            DataAccess(
                path=opened["path"],
                repo_path=repo_path,
                digest=known.get("digest"),
                md5=md5,
                size=known.get("size"),
                access=opened["access"],
                cell=cells.index(order),
                execution=order,
                tracked=repo_path in under_git,
                dvc=pointer,
                layers=tuple(layers[key]),
            )
        )
    return tuple(found)


def _digests(told: Told) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what is known of each file: what it held when read, what was left in it when written.

    A file that the run itself wrote and read again is an input only by what it
    held before that; one that others changed meanwhile counts as it was last.
    """
    written: set[str] = set()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for file in told.files:
        key = (file["absolute"], file["access"])
        if file["access"] == "write":
            written.add(file["absolute"])
        elif key in found:
            if found[key]["digest"] == file["digest"] or file["absolute"] in written:
                continue
            told.gaps.setdefault(
                f"{Path(file['absolute']).name} was changed by another program while it was in use."
            )
        found[key] = file
    return found


def _late(absolute: str, opened: dict[str, Any], told: Told) -> dict[str, Any] | None:
    """Hash what the kernel could not hash before it ended, or say that it is missing."""
    name = Path(absolute).name
    late = hash_file(absolute, md5=dvc.is_tracked(absolute))
    if late is None:
        if opened["access"] == "write":
            return None
        told.gaps.setdefault(f"{name} was gone before its digest could be taken.")
        return {}
    if told.start.get("time"):
        told.gaps.setdefault(f"The digest of {name} was taken after the run, not during it.")
    return {"digest": late.digest, "md5": late.md5, "size": late.size}


def _own_files(told: Told) -> set[str]:
    notebook = told.start.get("notebook")
    return {notebook} if notebook else set()


def _inside(absolute: str | None, root: Path | None) -> str | None:
    return relative(absolute, root) if absolute else None


def _tracked(root: Path | None, paths: set[str]) -> set[str]:
    if root is None or not paths or git.root(root) is None:
        return set()
    try:
        return git.tracked(root, paths)
    except MlreproError:
        return set()
