"""Which data is copied into an image, and where the rest comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import Literal

import msgspec

from mlrepro_nb.connect import command, dvc, git
from mlrepro_nb.errors import StoreError, UsageError
from mlrepro_nb.image._contents import ContextFile, Layer, in_project, inside
from mlrepro_nb.image._secrets import holds_secret
from mlrepro_nb.image.data._item import FOLDER, Item, few
from mlrepro_nb.model import DataAccess, DvcPointer, Record
from mlrepro_nb.store import Store

SMALL = 10 * 2**20
"""Bytes up to which data that git does not track has the layer of what git tracks."""

Reason = Literal["untracked", "no git", "dvc", "secret", "unrecorded", "outside"]
_WHY: dict[Reason, tuple[str, str]] = {
    "untracked": ("git does not track it", "git does not track them"),
    "no git": ("the project is not in git", "the project is not in git"),
    "dvc": ("DVC tracks it", "DVC tracks them"),
    "secret": ("it seems to hold a secret", "they seem to hold secrets"),
    "unrecorded": ("what it held is not recorded", "what they held is not recorded"),
    "outside": ("it lies outside the project", "they lie outside the project"),
}
"""In words, of one file and of several."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """Data that a container needs and the image does not have."""

    path: str
    where: str | None
    """Path in the container; None where there is none that the notebook would find."""
    reason: Reason
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

    What git tracks goes in, as it is part of the commit, and what was asked for by name; all
    with `bake_data`, but nothing that seems to hold a secret. The rest is fetched when a
    container starts: from DVC's remote, from the URL that ``dvc import-url`` took it from or
    the project's settings name, or from what is mounted.

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
    in_git = git.root(root) is not None
    committed = _committed(root, found, store) if in_git else set[str]()
    files: dict[str, ContextFile] = {}
    items: dict[str, Item] = {}
    mounts: dict[str, Mount] = {}
    for access in found:
        name = access.repo_path
        if name is None or not in_project(name):
            mounts[access.path] = mount = _outside(access)
            if mount.where is not None and access.digest:
                items |= {item.path: item for item in _items(access, None, store, ())}
            continue
        where = str(PurePosixPath(FOLDER, name))
        if access.digest is None and access.tree is None:
            # A file of secrets (`.env`), or one that was gone before it could be hashed.
            mounts[name] = Mount(path=name, where=where, reason="unrecorded")
            items[name] = Item(path=inside(name), optional=True)
            continue
        pointer = _pointer(access, root)
        absent: Reason = "dvc" if pointer else "untracked" if in_git else "no git"
        out: dict[str, Reason] = {}
        within = []
        for file in _files(access, store):
            tracked = file in committed
            goes_in = bake_data or tracked or file in asked
            # Of a folder's thousands, only those that would be copied are looked into.
            looked_into = file not in asked and (goes_in or access.tree is None)
            if looked_into and holds_secret(root / file, tracked=tracked):
                out[file] = "secret"
            elif not goes_in:
                out[file] = absent
            else:
                within.append(file)
                # Apart, so that an edit of what is small does not move what is big.
                layer: Layer = "data" if tracked or (access.size or 0) <= SMALL else "bulk"
                files[file] = ContextFile(
                    layer=layer, path=inside(file), source=str(root / file)
                )  # fmt: skip
        if within:
            _check(root, access, store, None if not out else within)
        if not out:
            continue
        made = {
            item.path: item
            for item in _items(access, pointer, store, _urls(access, pointer, root, urls))
            if item.path in out
        }
        items |= made
        reasons = set(out.values())
        if len(reasons) == 1 and not within:
            sources = _sources(made.values())
            mounts[name] = Mount(
                path=name, where=where, reason=reasons.pop(), size=access.size, sources=sources
            )
            continue
        for file, why in out.items():
            mounts[file] = Mount(
                path=file, where=f"{FOLDER}/{file}", reason=why, size=_size(root / file),
                sources=_sources([made[file]]),
            )  # fmt: skip
    notes = [_note(alike) for alike in _alike(mounts.values())]
    if inside_ := _baked(tuple(files.values()), committed, bake_data=bake_data):
        notes.insert(0, inside_)
    notes += [
        f"{url} is not in the image: the notebook itself reads it there when it runs."
        for url in sorted({command.redact(a.path) for a in record.data if _is_remote(a)})
    ]
    return Inputs(
        files=tuple(files.values()), items=tuple(items.values()), mounts=tuple(mounts.values()),
        notes=tuple(notes),
    )  # fmt: skip


def _committed(root: Path, found: Iterable[DataAccess], store: Store) -> set[str]:
    """Return those files of some data that git tracks, now or when the run read them."""
    names: set[str] = set()
    before: set[str] = set()
    for access in found:
        if access.repo_path is not None and in_project(access.repo_path):
            (before if access.tracked else names).update(_files(access, store))
    # Of a link git has where it leads to, and not what is there.
    links = {n: _target(root, n) for n in (*names, *before) if (root / n).is_symlink()}
    there = git.tracked(root, {*names, *(target for target in links.values() if target)}) | before
    return {n for n in (*names, *before) if links.get(n, n) in there}


def _target(root: Path, name: str) -> str | None:
    target = (root / name).resolve()
    real = root.resolve()
    return target.relative_to(real).as_posix() if target.is_relative_to(real) else None


def _pointer(access: DataAccess, root: Path) -> DvcPointer | None:
    """Return what says that DVC keeps some data: the recorded run's, else that of today."""
    found = access.dvc or dvc.pointer(root, root / str(access.repo_path))
    # What a stage only reads is not in its remote.
    return found if found is not None and found.role not in ("dep", "param") else None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


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
    return Mount(path=access.path, where=where, reason="outside", size=access.size)


def _alike(mounts: Iterable[Mount]) -> Iterator[list[Mount]]:
    """Yield the mounts of which the same is to be said."""
    found: dict[tuple[object, ...], list[Mount]] = {}
    for mount in mounts:
        about = (mount.reason, mount.where is None, bool(mount.sources))
        found.setdefault(about, []).append(mount)
    yield from found.values()


def _note(mounts: Sequence[Mount]) -> str:
    """Return one note on mounts that are not in the image for one reason."""
    first, one = mounts[0], len(mounts) == 1
    it = "it" if one else "them"
    size = sum(mount.size or 0 for mount in mounts)
    what = (
        f"{few([m.path for m in mounts])}{f' ({_amount(size)})' if size else ''} "
        f"{'is' if one else 'are'} not in the image ({_WHY[first.reason][not one]}): "
    )
    if first.where is None:
        return f"{what}move {it} into the project and record again."
    if one:
        where = f"at {first.where}"
    else:
        where = "where they lie" if first.reason == "outside" else f"below {FOLDER}"
    sources = list(dict.fromkeys(source for mount in mounts for source in mount.sources))
    fetched = f"fetches {it} from {few(sources, ' or ')}, or " if sources else ""
    ways: dict[Reason, str] = {
        "untracked": f"; git add or dvc add {it}, or --bake-data puts {it} in",
        "no git": f"; --bake-data puts {it} in",
        "dvc": f"; --bake-data puts {it} in",
        "secret": f"; name {it} under `files` to copy {it}",
    }
    return f"{what}a container {fetched}finds {it} mounted {where}{ways.get(first.reason, '')}."


def _baked(
    files: tuple[ContextFile, ...], tracked: Collection[str], *, bake_data: bool
) -> str | None:
    if not files:
        return None
    size = sum(Path(f.source).stat().st_size for f in files if f.source is not None)
    what = "1 data file" if len(files) == 1 else f"{len(files)} data files"
    asked = ", and what --bake-data asked for" if bake_data else ""
    others = [file.path for file in files if file.path not in tracked]
    told = f" Git does not track {few(others)}." if others else ""
    return (
        f"{what} ({_amount(size)}) {'is' if len(files) == 1 else 'are'} in the image: what git "
        f"tracks{asked}.{told}"
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


def _items(
    access: DataAccess, pointer: DvcPointer | None, store: Store, urls: tuple[str, ...]
) -> Iterator[Item]:
    name = access.path if access.repo_path is None else access.repo_path
    remote = pointer.remote if pointer else None
    tracked = (pointer.md5 or "").removeprefix("md5:") if pointer else ""
    is_folder = tracked.endswith(".dir")
    for inner, digest in _listing(access, store).items():
        own = (access.md5 or "").removeprefix("md5:") if not inner else ""
        if pointer and tracked and not is_folder:
            own = tracked
        path = str(PurePosixPath(name, inner))
        yield Item(
            path=path if path.startswith("/") else inside(path),
            digest=digest,
            size=access.size if not inner else None,
            # Only what DVC has is to be found by its MD5.
            md5=own if pointer and own and not own.endswith(".dir") else None,
            folder=tracked if is_folder else None,
            remote=remote,
            urls=tuple(f"{url.rstrip('/')}/{inner}" if inner else url for url in urls),
        )


def _urls(
    access: DataAccess, pointer: DvcPointer | None, root: Path, said: Mapping[str, str]
) -> tuple[str, ...]:
    name = access.repo_path or ""
    found = [said[name]] if name in said else []
    if pointer is not None and (url := dvc.imported_from(root / pointer.file, root / name)):
        found.append(url)
    return tuple(dict.fromkeys(found))


def _sources(items: Iterable[Item]) -> tuple[str, ...]:
    """Return where items come from, each place once."""
    places: list[str] = []
    for item in islice(items, 1):
        if item.remote and (item.md5 or item.folder):
            places.append(f"DVC's remote {item.remote}")
        places += item.urls
    return tuple(places)


def _check(root: Path, access: DataAccess, store: Store, only: Sequence[str] | None) -> None:
    """Refuse what is not as the run read it; of a folder's files, perhaps only some count."""
    path = root / str(access.repo_path)
    if only is not None:
        listing = _listing(access, store)
        for name in only:
            known = listing[PurePosixPath(name).relative_to(str(access.repo_path)).as_posix()]
            _check_file(root / name, name, known, access, store)
    elif access.tree is None:
        _check_file(path, str(access.repo_path), access.digest, access, store)
    elif not path.is_dir():
        raise _gone(str(access.repo_path), access)
    else:
        # Not above: a service imports this package, and has no need of what capture needs.
        from mlrepro_nb.capture.data.trees import hash_tree

        tree = hash_tree(str(path), _listing(access, store), cache=store.digests)
        if access.digest is not None and (tree is None or tree.digest != access.digest):
            raise _differs(str(access.repo_path))


def _check_file(
    path: Path, name: str, digest: str | None, access: DataAccess, store: Store
) -> None:
    if not path.is_file():
        raise _gone(name, access)
    if digest is not None and not is_as_recorded(path, digest, store):
        raise _differs(name)


def is_as_recorded(path: Path, digest: str, store: Store) -> bool:
    """Whether a file holds what the run read; one that did not change is not read again."""
    from mlrepro_nb.capture.data.hashing import hash_file

    found = hash_file(str(path), cache=store.digests)
    return found is not None and found.digest == digest


def _gone(name: str, access: DataAccess) -> UsageError:
    pull = f" (dvc pull {quote(access.dvc.file)})" if access.dvc else ""
    return UsageError(
        f"{name}, which the run read, is gone.", f"Restore it{pull}, or record again."
    )


def _differs(name: str) -> UsageError:
    return UsageError(
        f"{name} is not what the run read: its content has changed since.",
        "Restore it, or record again with the new content.",
    )
