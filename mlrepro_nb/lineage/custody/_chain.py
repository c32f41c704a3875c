"""From what an image says of itself to the record, and from that to lock, notebook and data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlrepro_nb.changes import edited_cell
from mlrepro_nb.connect import git
from mlrepro_nb.errors import NotFoundError, StoreError
from mlrepro_nb.lineage.custody._check import Check, bad, good, unknown
from mlrepro_nb.model import DataAccess, Record, attestation, short
from mlrepro_nb.store import Store, project_root

_LABELS = {
    "record": "io.mlrepro.record",
    "lock": "io.mlrepro.lock",
    "model": "io.mlrepro.model",
    "run": "io.mlrepro.run",
    "notebook": "io.mlrepro.notebook",
    "commit": "org.opencontainers.image.revision",
}
_SHOWN = 12


def labels(statement: attestation.Statement, told: Mapping[str, str]) -> Iterator[Check]:
    """Compare what the provenance says with the image's labels."""
    definition = statement.predicate.get("buildDefinition") or {}
    said: dict[str, Any] = {
        **(definition.get("internalParameters") or {}),
        **(definition.get("externalParameters") or {}),
    }
    for name, key in _LABELS.items():
        here, there = told.get(key), said.get(name)
        if here is None and there is None:
            continue
        if here == there:
            yield good(name, f"{_brief(str(here))}, in the provenance as in the image's label")
        elif here is None:
            yield unknown(name, f"{_brief(str(there))} in the provenance, and no label")
        else:
            yield bad(
                name,
                f"{_brief(str(there or 'none'))} in the provenance, {_brief(here)} in the label",
            )
    # The base image has labels of its own; what mlrepro-nb writes is what it stands on.
    base = told.get("org.opencontainers.image.base.digest")
    named = [
        f"sha256:{entry['digest'].get('sha256')}"
        for entry in definition.get("resolvedDependencies") or ()
        if entry.get("name") == "base" and isinstance(entry.get("digest"), dict)
    ]
    if base and named:
        same = base in named
        yield (good if same else bad)(
            "base", f"{short(base)} in the label, {short(named[0])} named"
        )
    if bool(said.get("dirty")) or told.get("io.mlrepro.dirty") == "true":
        yield unknown("commit", "it was built with changes that are in no commit")


def record(digest: str | None, store: Store | None) -> tuple[Record | None, Check]:
    """Return the record that an image names, if it is here and still what its digest says."""
    if digest is None:
        return None, bad(
            "record in store", "the image names no record: mlrepro-nb did not build it"
        )
    if store is None or not store.exists:
        return None, unknown("record in store", f"{short(digest)}: there is no store here")
    try:
        return store.get(Record, digest), good("record in store", f"{short(digest)} is whole")
    except NotFoundError:
        return None, unknown(
            "record in store", f"{short(digest)} is not in the store at {store.root}"
        )
    except StoreError as error:
        return None, bad("record in store", error.message)


def chain(
    found: Record, told: Mapping[str, str], store: Store, lock: str | None
) -> Iterator[Check]:
    """Check what a record names: the lock, the notebook, the data."""
    if lock:
        yield _blob("lock in store", lock, store)
    if found.results.notebook:
        yield _blob("executed notebook in store", found.results.notebook, store)
    root = store.root.parent if store.root.name == ".mlrepro" else project_root()
    if root is None:
        yield unknown("notebook", "there is no working tree here")
        return
    yield _notebook(found, root)
    yield from _data(found, told, root)


def _blob(name: str, digest: str, store: Store) -> Check:
    try:
        store.blobs.get(digest)
    except NotFoundError:
        return unknown(name, f"{short(digest)} is not in the store")
    except StoreError as error:
        return bad(name, error.message)
    return good(name, f"{short(digest)} is whole")


def _notebook(found: Record, root: Path) -> Check:
    """Check that the cells that ran are those of the commit, or of the working tree."""
    code = found.code
    path = root / code.notebook
    text: str | None = None
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
        if _edited(found, text) is None:
            return good("notebook", f"{code.notebook} in the working tree has the cells that ran")
    committed = git.show(root, code.commit, code.notebook) if code.commit else None
    if committed is not None:
        edited = _edited(found, committed)
        where = f"at commit {str(code.commit)[:12]}"
        if edited is None:
            return good("notebook", f"{code.notebook} {where} has the cells that ran")
        if not code.dirty:
            return bad("notebook", f"{code.notebook} {where}: {edited}")
    if text is None:
        return unknown("notebook", f"{code.notebook} is not here")
    return bad("notebook", f"{code.notebook} in the working tree: {_edited(found, text)}")


def _edited(found: Record, text: str) -> str | None:
    """Return where a notebook's file differs from what ran, None where it does not."""
    try:
        sources = [cell["source"] for cell in json.loads(text)["cells"]]
    except (ValueError, KeyError, TypeError):
        return "it cannot be read as a notebook"
    joined = ["".join(s) if isinstance(s, list) else str(s) for s in sources]
    index = edited_cell(found, joined)
    if index is None:
        return None
    return f"cell {index} is " + ("gone" if index >= len(joined) else "not the one that ran")


def _data(found: Record, told: Mapping[str, str], root: Path) -> Iterator[Check]:
    named = _named(told)
    by_path = {a.repo_path or a.path: a for a in found.data if a.access == "read" and a.digest}
    for path, digest in sorted(named.items()):
        if path in by_path and by_path[path].digest != digest:
            yield bad("data", f"{path}: {short(digest)} in the label, not what the record has")
    missing = []
    for path, access in sorted(by_path.items()):
        if named and path not in named:
            continue  # the run had made it itself
        check = _file(access, path, found, root)
        if check is None:
            missing.append(path)
        else:
            yield check
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        yield unknown("data", f"{', '.join(missing[:_SHOWN])}{more}: not here")


def _file(access: DataAccess, path: str, found: Record, root: Path) -> Check | None:
    """Return whether a file has the recorded content, None where it is not here."""
    from blake3 import blake3

    here = root / path if access.repo_path else Path(path)
    now = None
    if access.files is None and here.is_file():
        now = f"blake3:{blake3(max_threads=blake3.AUTO).update_mmap(here).hexdigest()}"
        if now == access.digest:
            return good("data", f"{path} is {short(now)}, as recorded")
    commit = found.code.commit
    if access.tracked and access.repo_path and commit:
        content = git.content(root, commit, path)
        if content is not None and f"blake3:{blake3(content).hexdigest()}" == access.digest:
            return good("data", f"{path} at commit {commit[:12]} is as recorded")
    if now is None:
        return None
    return bad("data", f"{path} is {short(now)} now, recorded was {short(access.digest or '')}")


def _named(told: Mapping[str, str]) -> dict[str, str]:
    try:
        found = json.loads(told.get("io.mlrepro.data") or "{}")
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _brief(text: str) -> str:
    return short(text) if text.startswith(("sha256:", "blake3:")) else text[:60]
