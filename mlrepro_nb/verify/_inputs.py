"""The inputs of the recorded run, put into the scratch copy where what is there is not the same."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from mlrepro_nb.capture.data.hashing import hash_file
from mlrepro_nb.connect import dvc, git
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.execute import Workspace
from mlrepro_nb.model import DataAccess, Report, Step
from mlrepro_nb.store import write_atomically
from mlrepro_nb.verify._reference import Reference


def restore_inputs(reference: Reference, scratch: Workspace, report: Report) -> tuple[str, ...]:
    """Put what the recorded run read into the copy; return what cannot be had, a sentence each.

    It comes from what the record kept, from git's history, or from DVC's cache.
    """
    record = reference.record
    if record is None:
        return ("There is no record that would say what the data were.",)
    made: set[str] = set()
    wrong = []
    for access in record.data:
        name = access.repo_path
        if access.access == "write" and name:
            made.add(name)
            continue
        if name is None or name in made or access.files is not None:
            if access.files is not None and access.digest and name not in made:
                wrong += _folder(access, reference, scratch)
            elif name is None and not access.path.startswith(("http:", "https:")):
                wrong += _outside(access, reference)
            elif name is None:
                wrong.append(f"{access.path} is from the network: it is as it is now.")
            continue
        md5 = access.md5 or (access.dvc.md5 if access.dvc is not None else None)
        wrong += _file(name, access.digest, md5, access.kept, reference, scratch)
    for sentence in wrong:
        report(Step(message=sentence, log=True))
    return tuple(wrong)


def _file(
    name: str, digest: str | None, md5: str | None, kept: str | None, reference: Reference,
    scratch: Workspace,
) -> list[str]:  # fmt: skip
    path = scratch.path(reference.root) / name
    if digest is None or _digest(path) == digest:
        return []
    record, store = reference.record, reference.store
    assert record is not None
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(scratch.base):
        return [f"{name} was not restored: its folder is not copied."]
    with contextlib.suppress(MlreproError, OSError):
        if kept is not None and store is not None:
            write_atomically(path, store.blobs.get(kept))
            return []
    with contextlib.suppress(MlreproError, OSError):
        if record.code.commit:
            found = git.content(reference.root, record.code.commit, name)
            if found is not None and _put(path, found, digest):
                return []
    for cached in dvc.cached(reference.root, md5) if md5 else ():
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            shutil.copyfile(cached, path)
            if _digest(path) == digest:
                return []
    _back(path, reference.root / name)
    return [
        f"{name} could not be restored: neither the record, nor git, nor DVC's cache has "
        f"{digest[:19]}…; it is as it is now."
    ]


def _folder(access: DataAccess, reference: Reference, scratch: Workspace) -> list[str]:
    """Restore the files of a folder that the record lists."""
    if access.tree is None or reference.store is None or access.repo_path is None:
        return [f"{access.path} could not be restored: the record does not list its files."]
    import json

    try:
        listed = json.loads(reference.store.blobs.get(access.tree))
    except (MlreproError, ValueError):
        return [f"{access.path} could not be restored: the list of its files is gone."]
    wrong: list[str] = []
    for name, digest in listed.items() if isinstance(listed, dict) else ():
        wrong += _file(f"{access.repo_path}/{name}", str(digest), None, None, reference, scratch)
    return wrong if len(wrong) < 4 else [*wrong[:3], f"… and {len(wrong) - 3} more files."]


def _outside(access: DataAccess, reference: Reference) -> list[str]:
    path = Path(os.path.normpath(reference.folder / Path(access.path).expanduser()))
    if access.digest is None or _digest(path) == access.digest:
        return []
    return [f"{access.path} is outside the project and has changed: it is as it is now."]


def _put(path: Path, content: bytes, digest: str) -> bool:
    write_atomically(path, content)
    return _digest(path) == digest


def _back(path: Path, original: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        if original.is_file():
            shutil.copy2(original, path)


def _digest(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        found = hash_file(str(path))
        return found.digest if found is not None else None
    return None
