"""Which files were data, from what was opened."""

# Paths stay strings here: there may be 100,000.
# ruff: noqa: PTH116, PTH119
from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mlrepro_nb.capture.data import trees
from mlrepro_nb.capture.data._folding import Folded, fold
from mlrepro_nb.capture.data._rows import with_rows
from mlrepro_nb.capture.data.hashing import DigestCache, hash_files, regular
from mlrepro_nb.capture.data.paths import is_secret, relative
from mlrepro_nb.capture.data.readers.versions import of_url
from mlrepro_nb.connect import dvc, git
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import DataAccess, DataVersion

if TYPE_CHECKING:
    from mlrepro_nb.capture.cells._match import Cells
    from mlrepro_nb.capture.told import Told


class _Use(msgspec.Struct):
    """A file or URL, and what was done to it."""

    path: str
    """As it was first given."""
    absolute: str | None
    names: set[str]
    """Absolute paths by which it was opened."""
    access: Literal["read", "write"]
    order: int | None
    repo_path: str | None
    layers: dict[str, None]
    orders: set[int]
    """Of all executions that did it."""
    known: dict[str, Any] = {}
    """What its digest event says."""


def accesses(
    told: Told,
    cells: Cells,
    root: Path | None,
    *,
    put_blob: Callable[[bytes], str],
    cache: DigestCache | None = None,
    seconds: float = 0.0,
) -> tuple[DataAccess, ...]:
    """Return one entry a path and kind of access, in the order of first use.

    Parameters
    ----------
    told : Told
        What the recorder reported. What is found missing is added to its gaps.
    cells : Cells
        To find the cells of executions.
    root : Path or None
        The project.
    put_blob : callable
        Keeps the listings of folders.
    cache : DigestCache, optional
        Digests of earlier sessions.
    seconds : float
        How long to read tables for (see `mlrepro_nb.capture.data.tables`).
    """
    uses = _with_digests(_uses(told, root), told, cache)
    tracked = _tracked(root, {use.repo_path for use in uses if use.repo_path})
    places = {(use.repo_path or use.absolute or use.path, use.access): use for use in uses}
    entries: list[tuple[int, DataAccess]] = []
    rank = {key: number for number, key in enumerate(places)}
    aliases = _Aliases(root)
    for access in ("read", "write"):
        some = {place: use for (place, kind), use in places.items() if kind == access}
        alone = {p: u for p, u in some.items() if not u.absolute or u.known.get("kept")}
        found: list[tuple[str, _Use] | Folded[_Use]] = list(alone.items())
        for inside in (True, False):
            found += fold(
                {p: u for p, u in some.items()
                 if p not in alone and (u.repo_path is not None) == inside}
            )  # fmt: skip
        for one in found:
            if isinstance(one, Folded):
                entry = _folder(one, cells, root, tracked, put_blob)
                first = min(rank[use.repo_path or use.absolute or use.path, access]
                            for use in one.files.values())  # fmt: skip
            else:
                place, use = one
                entry = _file(use, cells, root, tracked, aliases)
                first = rank[place, access]
            entries.append((first, entry))
    entries.sort(key=lambda pair: pair[0])
    found_all = [_with_content(_with_version(entry, told), told) for _, entry in entries]
    absolute = {
        (use.repo_path or use.path, use.access): use for use in uses if use.absolute
    }  # fmt: skip
    return tuple(
        with_rows(
            found_all,
            lambda entry: _where(absolute.get((entry.repo_path or entry.path, entry.access))),
            cache,
            seconds,
        )
    )


def _with_version(entry: DataAccess, told: Told) -> DataAccess:
    """Return an entry with what the outside store called it, or the table that it is part of."""
    version = told.versions.get(entry.path)
    if version is None and "://" in entry.path and (found := of_url(entry.path)):
        version = found
    if version is None and "://" not in entry.path:
        folders = {place for place in told.versions if "://" not in place}
        version = next((told.versions[f] for f in folders if entry.path.startswith(f"{f}/")), None)
    return entry if version is None else msgspec.structs.replace(entry, version=version)


def _with_content(entry: DataAccess, told: Told) -> DataAccess:
    """Return the entry of a URL with what was read there, if that was all of it."""
    reads = told.contents.get(entry.path, ())
    if not reads or entry.access != "read" or entry.digest is not None:
        return entry
    return msgspec.structs.replace(
        entry, digest=reads[-1]["digest"], size=reads[-1]["size"], versions=_versions(reads)
    )


# --- what was opened


def _uses(told: Told, root: Path | None) -> list[_Use]:
    inside = _Inside(root)
    found: dict[tuple[str, str], _Use] = {}
    own = told.start.get("notebook")
    for opened in told.opens:
        absolute, access = opened.get("absolute"), opened["access"]
        if absolute and (absolute == own or (access == "write" and absolute in told.removed)):
            continue
        repo_path = inside(absolute) if absolute else None
        # A file that is reached through a linked folder is the same file.
        key = (repo_path or absolute or opened["path"], access)
        use = found.get(key)
        if use is None:
            use = found[key] = _Use(
                path=opened["path"], absolute=absolute, names=set(), access=access,
                order=opened.get("order"), repo_path=repo_path, layers={}, orders=set(),
            )  # fmt: skip
        use.layers.setdefault(opened["layer"])
        order = opened.get("order")
        if order is not None:
            use.orders.add(order)
            if use.order is not None and order < use.order:
                use.order = order  # a layer that reports late saw it earlier
        if absolute:
            use.names.add(absolute)
    return list(found.values())


class _Inside:
    """Paths as they are in the project; what holds for a folder holds for its files."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._folders: dict[str, str | None] = {}

    def __call__(self, absolute: str) -> str | None:
        folder, name = os.path.split(absolute)
        if folder not in self._folders:
            found = relative(f"{folder}/.", self._root)
            self._folders[folder] = (
                "" if folder == str(self._root) else None if found is None else f"{found}/"
            )
        start = self._folders[folder]
        if start is None:
            return relative(absolute, self._root)
        return _normal(start + name)


def _normal(path: str) -> str:
    return path.replace("/./", "/").removeprefix("./")


# --- what it held


def _with_digests(uses: list[_Use], told: Told, cache: DigestCache | None) -> list[_Use]:
    """Return the uses with what is known of their content, without scratch files."""
    digests = _digests(told)
    late: dict[bool, list[_Use]] = {False: [], True: []}
    for use in uses:
        for name in sorted(use.names, key=lambda name: name != use.absolute):
            if (name, use.access) in digests:
                use.known = digests[name, use.access]
                break
        else:
            if use.absolute and is_secret(use.absolute):
                status = regular(use.absolute)
                use.known = {"size": status.st_size} if status is not None else {}
            elif use.absolute:
                late[dvc.is_tracked(use.absolute)].append(use)
    after: list[str] = []
    gone: set[int] = set()
    for md5, some in late.items():
        paths = [str(use.absolute) for use in some]
        for use, found in zip(some, hash_files(paths, md5=md5, cache=cache), strict=True):
            name = os.path.basename(str(use.absolute))
            if found is not None:
                use.known = {"digest": found.digest, "md5": found.md5, "size": found.size}
                after.append(name)
            elif use.access == "write":
                gone.add(id(use))
            else:
                told.gaps.setdefault(f"{name} was gone before its digest could be taken.")
    if after and told.start.get("time"):
        names = after[0] if len(after) == 1 else f"{len(after)} files ({', '.join(after[:3])}…)"
        told.gaps.setdefault(f"The digest of {names} was taken after the run, not during it.")
    return [use for use in uses if id(use) not in gone]


def _digests(told: Told) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what is known of each file: what it held when read, what was left in it when written.

    A file that the run itself wrote and read again is an input only by what it
    held before that; one that others changed meanwhile counts as it was last.
    """
    written: set[str] = set()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    reads: dict[str, list[dict[str, Any]]] = {}
    for file in told.files:
        key = (file["absolute"], file["access"])
        if file["access"] == "read":
            reads.setdefault(file["absolute"], []).append(file)
        if file["access"] == "write":
            written.add(file["absolute"])
        elif key in found:
            if file.get("kept") and found[key]["digest"] == file["digest"]:
                found[key] = {**found[key], "kept": file["kept"]}
            if found[key]["digest"] == file["digest"] or file["absolute"] in written:
                continue
            told.gaps.setdefault(
                f"{Path(file['absolute']).name} was changed by another program while it was in use."
            )
        found[key] = file
    for absolute, some in reads.items():
        found[absolute, "read"] = {**found[absolute, "read"], "reads": some}
    return found


def _versions(reads: Iterable[dict[str, Any]]) -> tuple[DataVersion, ...]:
    """Return what a file held when it was read, if that changed."""
    found: list[DataVersion] = []
    orders = ((-1 if (order := read.get("order")) is None else order, read) for read in reads)
    for order, read in sorted(orders, key=lambda pair: pair[0]):
        if not found or found[-1].digest != read["digest"]:
            found.append(DataVersion(digest=read["digest"], execution=None if order < 0 else order))
    return tuple(found) if len(found) > 1 else ()


# --- entries


def _file(
    use: _Use, cells: Cells, root: Path | None, tracked: set[str], aliases: _Aliases
) -> DataAccess:
    inside = root is not None and use.absolute and use.repo_path
    return DataAccess(
        path=use.path,
        repo_path=use.repo_path,
        real=aliases.real(use) if use.absolute else None,
        digest=use.known.get("digest"),
        versions=_versions(use.known.get("reads", ())),
        md5=use.known.get("md5"),
        size=use.known.get("size"),
        kept=use.known.get("kept"),
        access=use.access,
        cell=cells.index(use.order),
        execution=use.order,
        executions=_several(use.orders),
        tracked=use.repo_path in tracked,
        dvc=dvc.pointer(root, root / str(use.repo_path)) if inside and root else None,
        layers=tuple(use.layers),
    )


def _folder(
    folded: Folded[_Use], cells: Cells, root: Path | None, tracked: set[str],
    put_blob: Callable[[bytes], str],
) -> DataAccess:  # fmt: skip
    uses = folded.files
    first = next(iter(uses.values()))
    orders = [use.order for use in uses.values()]
    order = min((o for o in orders if o is not None), default=None)
    listing = trees.listing({name: use.known.get("digest") for name, use in uses.items()})
    repo_path = folded.folder if first.repo_path else None
    tail = f"/{next(iter(uses))}"
    pointer = dvc.pointer(root, root / repo_path) if root and repo_path not in (None, ".") else None
    return DataAccess(
        path=first.path.removesuffix(tail) if first.path.endswith(tail) else folded.folder,
        repo_path=repo_path,
        digest=trees.digest_of_listing(listing),
        md5=trees.dvc_md5({name: use.known.get("md5") for name, use in uses.items()}),
        size=sum(use.known.get("size") or 0 for use in uses.values()),
        files=len(uses),
        tree=put_blob(listing),
        access=first.access,
        cell=cells.index(order),
        execution=order,
        executions=_several(set().union(*(use.orders for use in uses.values()))),
        tracked=all(use.repo_path in tracked for use in uses.values()),
        dvc=pointer,
        layers=tuple(dict.fromkeys(layer for use in uses.values() for layer in use.layers)),
    )


def _several(orders: set[int]) -> tuple[int, ...]:
    return tuple(sorted(orders)) if len(orders) > 1 else ()


class _Aliases:
    """Which names lead to a file that has another."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._inodes: dict[tuple[int, int], str] = {}

    def real(self, use: _Use) -> str | None:
        """Return the place of a file in or outside the project, if the name is not that."""
        assert use.absolute is not None
        real = os.path.realpath(use.absolute)
        place = relative(real, self._root) or real
        name = use.repo_path or use.absolute
        if place != name and not _is_cache(real):
            return place
        try:
            status = os.stat(use.absolute)
        except (OSError, ValueError):
            return None
        if status.st_nlink == 1:
            return None
        other = self._inodes.setdefault((status.st_dev, status.st_ino), name)
        return other if other != name else None


def _is_cache(path: str) -> bool:
    """Return whether a link leads into a store of contents: DVC's, git-annex's."""
    return "/.dvc/cache/" in path or "/.git/annex/" in path or "/files/md5/" in path


def _where(use: _Use | None) -> tuple[str, list[int] | None] | None:
    return (str(use.absolute), use.known.get("stat")) if use is not None else None


def _tracked(root: Path | None, paths: Iterable[str]) -> set[str]:
    wanted = set(paths)
    if root is None or not wanted or git.root(root) is None:
        return set()
    try:
        return git.tracked(root, wanted)
    except MlreproError:
        return set()
