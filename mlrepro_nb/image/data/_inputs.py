"""Which data is copied into an image, and where the rest comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from shlex import quote

import msgspec

from mlrepro_nb.connect import command, dvc, git
from mlrepro_nb.errors import StoreError, UsageError
from mlrepro_nb.image._contents import ContextFile, Layer, in_project, inside
from mlrepro_nb.image._secrets import holds_secret
from mlrepro_nb.image.data._item import FOLDER, Item
from mlrepro_nb.model import DataAccess, Record
from mlrepro_nb.store import Store

_SHOWN = 6
SMALL = 10 * 2**20
"""Bytes up to which data that git does not track is copied into an image unasked."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """Data that a container needs and the image does not have."""

    path: str
    where: str | None
    """Path in the container; None where there is none that the notebook would find."""
    reason: str
    size: int | None = None
    sources: tuple[str, ...] = ()
    """Where a container fetches it from."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """The data of an image."""

    files: tuple[ContextFile, ...] = ()
    """What is copied into it."""
    items: tuple[Item, ...] = ()
    """What is fetched when a container starts, or mounted; file by file."""
    mounts: tuple[Mount, ...] = ()
    """The same, as the run read it: a folder is one."""
    notes: tuple[str, ...] = ()


def read_by(record: Record) -> dict[str, str]:
    """Return the digests of the data that went into a run, by path."""
    return {
        a.repo_path or a.path: a.digest for a in record.data if a.digest and _is_input(a, record)
    }


def inputs(
    record: Record, root: Path, store: Store, *, bake_data: bool,
    urls: Mapping[str, str] = {}, asked: Collection[str] = (),
) -> Inputs:  # fmt: skip
    """Decide what of a run's data goes into its image.

    What git tracks and what is small goes in; all of it with `bake_data`, but nothing that
    seems to hold a secret. The rest is fetched when a container starts: from DVC's remote,
    from the URL that ``dvc import-url`` took it from or the project's settings name, or
    from what is mounted.

    Parameters
    ----------
    urls
        Where files can be downloaded, by their path in the project.
    asked
        Paths in the project of files that go in whatever they hold.

    Raises
    ------
    UsageError
        A file that goes in is gone, or is not what the run read.
    """
    own = {record.code.notebook, *(m.path for m in record.code.modules)}
    found = [
        a
        for a in record.data
        if _is_input(a, record) and a.repo_path not in own and "://" not in a.path
    ]
    tracked: set[str] = set()
    if git.root(root) is not None:
        tracked = git.tracked(root, [a.repo_path for a in found if a.repo_path])
    files: dict[str, ContextFile] = {}
    items: dict[str, Item] = {}
    mounts: dict[str, Mount] = {}
    for access in found:
        name = access.repo_path
        if name is None or not in_project(name):
            mount = _outside(access)
            mounts[access.path] = mount
            if mount.where is not None and access.tree is None and access.digest:
                items[access.path] = Item(
                    path=access.path, digest=access.digest, size=access.size
                )  # fmt: skip
            continue
        if access.digest is None and access.tree is None:
            # A file of secrets (`.env`), or one that was gone before it could be hashed.
            mounts[name] = Mount(
                path=name, where=f"{FOLDER}/{name}", reason="what it held is not recorded"
            )
            continue
        size = access.size or 0
        under_git = name in tracked or access.tracked
        reason, secret = None, False
        if not (bake_data or under_git or size <= SMALL):
            reason = f"{_amount(size)} that git does not track"
        elif not bake_data and access.dvc is not None and not (root / name).exists():
            reason = "DVC tracks it, and it is not here"
        elif (found_in := _secret(root, access, store, asked, tracked=under_git)) is not None:
            reason = f"{found_in} seems to hold a secret; name it under `files` to copy it"
            secret = True
        if reason is None:
            _check(root / name, access, store)
            # Apart, so that an edit of what is small does not move what is big.
            layer: Layer = "data" if under_git or size <= SMALL else "bulk"
            for file in _files(access, store):
                files[file] = ContextFile(
                    layer=layer, path=inside(file), source=str(root / file)
                )  # fmt: skip
            continue
        made = tuple(_items(access, store, _urls(access, root, urls)))
        items |= {item.path: item for item in made}
        mounts[name] = Mount(
            path=name, where=f"{FOLDER}/{name}", reason=reason, size=None if secret else size,
            sources=_sources(made),
        )  # fmt: skip
    notes = [_note(mount) for mount in mounts.values()]
    if inside_ := _baked(tuple(files.values()), tracked):
        notes.insert(0, inside_)
    notes += [
        f"{url} is not in the image: the notebook itself reads it there when it runs."
        for url in sorted({command.redact(a.path) for a in record.data if _is_remote(a)})
    ]
    return Inputs(
        files=tuple(files.values()), items=tuple(items.values()), mounts=tuple(mounts.values()),
        notes=tuple(notes),
    )  # fmt: skip


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


def _is_remote(access: DataAccess) -> bool:
    scheme, separator, _ = access.path.partition("://")
    return access.access == "read" and bool(separator) and scheme not in ("file", "memory")


def _outside(access: DataAccess) -> Mount:
    where = access.path if access.path.startswith("/") else None
    return Mount(path=access.path, where=where, reason="it lies outside the project")


def _note(mount: Mount) -> str:
    what = f"{mount.path} is not in the image ({mount.reason}): "
    if mount.where is None:
        return f"{what}move it into the project and record again."
    if mount.sources:
        return (
            f"{what}a container fetches it from {' or '.join(mount.sources)}, or finds it mounted "
            f"at {mount.where}; --bake-data puts it in."
        )
    return f"{what}mount it at {mount.where}{'' if mount.size is None else ', or --bake-data'}."


def _secret(
    root: Path, access: DataAccess, store: Store, asked: Collection[str], *, tracked: bool
) -> str | None:
    """Return the first file of an entry that seems to hold a secret, None if there is none."""
    for file in _files(access, store):
        if file not in asked and holds_secret(root / file, tracked=tracked):
            return file
    return None


def _baked(files: tuple[ContextFile, ...], tracked: Collection[str]) -> str | None:
    if not files:
        return None
    size = sum(Path(f.source).stat().st_size for f in files if f.source is not None)
    what = "1 data file" if len(files) == 1 else f"{len(files)} data files"
    others = [file.path for file in files if file.path not in tracked]
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    told = f" Git does not track {', '.join(others[:_SHOWN])}{more}." if others else ""
    return (
        f"{what} ({_amount(size)}) {'is' if len(files) == 1 else 'are'} in the image: what git "
        f"tracks, what has at most {_amount(SMALL)}, and what --bake-data asked for.{told}"
    )


def _amount(size: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.0f} {unit}"
    return f"{size} B"


def _files(access: DataAccess, store: Store) -> Iterator[str]:
    """Yield the files of an entry, by their paths in the project."""
    name = access.repo_path or access.path
    for inner in _listing(access, store):
        yield str(PurePosixPath(name, inner))


def _listing(access: DataAccess, store: Store) -> Mapping[str, str | None]:
    """Return the files of an entry with their digests; the file itself has no name."""
    if access.tree is None:
        return {"": access.digest}
    from mlrepro_nb.capture.data.trees import stored_listing

    found = stored_listing(store, access.tree)
    if found is None:
        raise StoreError(
            f"The store lacks the listing of {access.repo_path}.", "Record the notebook again."
        )
    return found


def _items(access: DataAccess, store: Store, urls: tuple[str, ...]) -> Iterator[Item]:
    pointer = access.dvc
    remote = pointer.remote if pointer else None
    tracked = (pointer.md5 or "").removeprefix("md5:") if pointer else ""
    is_folder = tracked.endswith(".dir")
    for inner, digest in _listing(access, store).items():
        own = (access.md5 or "").removeprefix("md5:") if not inner else ""
        if pointer and tracked and not is_folder:
            own = tracked
        yield Item(
            path=inside(str(PurePosixPath(access.repo_path or "", inner))),
            digest=digest,
            size=access.size if not inner else None,
            # Only what DVC has is to be found by its MD5.
            md5=own if pointer and own and not own.endswith(".dir") else None,
            folder=tracked if is_folder else None,
            remote=remote,
            urls=tuple(f"{url.rstrip('/')}/{inner}" if inner else url for url in urls),
        )


def _urls(access: DataAccess, root: Path, said: Mapping[str, str]) -> tuple[str, ...]:
    name = access.repo_path or ""
    found = [said[name]] if name in said else []
    if access.dvc is not None and (url := dvc.imported_from(root / access.dvc.file, root / name)):
        found.append(url)
    return tuple(dict.fromkeys(found))


def _sources(items: tuple[Item, ...]) -> tuple[str, ...]:
    """Return where items come from, each place once."""
    places: list[str] = []
    for item in items[:1]:
        if item.remote and (item.md5 or item.folder):
            places.append(f"DVC's remote {item.remote}")
        places += item.urls
    return tuple(places)


def _check(path: Path, access: DataAccess, store: Store) -> None:
    if not (path.is_file() if access.tree is None else path.is_dir()):
        raise UsageError(
            f"{access.repo_path}, which the run read, is gone.",
            "Restore it"
            + (f" (dvc pull {quote(access.dvc.file)})" if access.dvc else "")
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
        tree = hash_tree(str(path), _listing(access, store), cache=store.digests)
        return tree is None or tree.digest != access.digest
    found = hash_file(str(path), cache=store.digests)
    return found is None or found.digest != access.digest
