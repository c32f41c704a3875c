"""DVC's files, read as they are: the ``dvc`` program is not needed to look things up."""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH110, PTH118, PTH120
from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import Any

from mlrepro_nb.connect.command import redact
from mlrepro_nb.model import DvcPointer


def is_tracked(path: str) -> bool:
    """Return, quickly, whether DVC may track a file: a pointer lies beside it or above."""
    if os.path.exists(f"{path}.dvc"):
        return True
    folder = os.path.dirname(path)
    while True:
        if os.path.exists(f"{folder}.dvc") or os.path.exists(os.path.join(folder, "dvc.lock")):
            return True
        if os.path.exists(os.path.join(folder, ".git")) or folder == os.path.dirname(folder):
            return False
        folder = os.path.dirname(folder)


def pointer(root: Path, path: Path) -> DvcPointer | None:
    """Return what DVC knows of a file, or None.

    It is told by the ``.dvc`` file beside it or beside a folder that holds it,
    or by a stage of a ``dvc.lock`` in its folder or above, up to `root`.
    """
    for candidate in (path, *path.parents):
        if candidate == root or not candidate.is_relative_to(root):
            break
        sidecar = candidate.with_name(f"{candidate.name}.dvc")
        for out in _listed(_load(sidecar), "outs"):
            if _names(out, sidecar.parent, path):
                return _pointer(root, sidecar, out)
        lock = candidate.parent / "dvc.lock"
        stages = _load(lock).get("stages")
        for stage in stages.values() if isinstance(stages, dict) else ():
            for out in (*_listed(stage, "outs"), *_listed(stage, "deps")):
                if _names(out, lock.parent, path):
                    return _pointer(root, lock, out)
    return None


def _pointer(root: Path, file: Path, out: dict[str, Any]) -> DvcPointer:
    return DvcPointer(
        file=file.relative_to(root).as_posix(), md5=str(out["md5"]), remote=_remote(root)
    )


def _listed(owner: Any, key: str) -> list[Any]:
    found = owner.get(key) if isinstance(owner, dict) else None
    return found if isinstance(found, list) else []


def _names(out: Any, folder: Path, path: Path) -> bool:
    if not isinstance(out, dict) or not out.get("md5") or not out.get("path"):
        return False
    named = Path(os.path.normpath(folder / str(out["path"])))
    return path == named or (str(out["md5"]).endswith(".dir") and path.is_relative_to(named))


def _load(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _remote(root: Path) -> str | None:
    config = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return None
    name = config.get("core", "remote", fallback=None)
    if name is None:
        return None
    url = config.get(f"'remote \"{name}\"'", "url", fallback=None)
    return redact(url) if url else name
