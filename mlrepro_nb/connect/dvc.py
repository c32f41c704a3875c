"""DVC's files, read as they are: the ``dvc`` program is not needed to look things up.

A pointer is a ``.dvc`` file beside what it tracks, or a stage of a ``dvc.lock``.
Each such file is parsed once, and again when it changes.
"""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH111, PTH116, PTH118, PTH120
from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mlrepro_nb.connect.command import redact
from mlrepro_nb.model import DvcPointer

if TYPE_CHECKING:
    import configparser

Role = Literal["out", "dep", "param", "metric", "plot"]
_State = tuple[int, int, int]


class _Entry(msgspec.Struct, frozen=True):
    """A file or folder that a pointer names."""

    md5: str | None
    stage: str | None
    role: Role
    remote: str | None = None
    """Of its own, where it is not the repository's default."""


def is_tracked(path: str) -> bool:
    """Return, quickly, whether a pointer of DVC names a file, or a folder that holds it."""
    return _find(path, None) is not None


def pointer(root: Path, path: Path) -> DvcPointer | None:
    """Return what DVC knows of a file or folder, or None.

    It is told by the ``.dvc`` file beside it or beside a folder that holds it,
    or by a stage of a ``dvc.lock`` in its folder or above, up to `root`.
    """
    base = str(root)
    if not str(path).startswith(base.rstrip("/") + "/"):
        return None
    found = _find(str(path), base)
    if found is None:
        return None
    file, entry = found
    return DvcPointer(
        file=Path(file).relative_to(root).as_posix(),
        md5=entry.md5,
        remote=_remote(os.path.dirname(file), entry.remote),
        stage=entry.stage,
        role=entry.role,
    )


def imported_from(pointer: Path, path: Path) -> str | None:
    """Return the URL that ``dvc import-url`` took a file or folder from, without credentials.

    Parameters
    ----------
    pointer : Path
        Its ``.dvc`` file.
    path : Path
        The file or folder, or a file in that folder.
    """
    document = _load(pointer) if pointer.suffix == ".dvc" else {}
    outs, deps = document.get("outs"), document.get("deps")
    if not isinstance(outs, list) or not isinstance(deps, list) or len(outs) != 1 or len(deps) != 1:
        return None
    out, dep = outs[0], deps[0]
    url = dep.get("path") if isinstance(dep, dict) else None
    name = out.get("path") if isinstance(out, dict) else None
    if not isinstance(url, str) or not isinstance(name, str) or "repo" in dep or "://" not in url:
        return None
    wdir = document.get("wdir")
    top = os.path.normpath(
        os.path.join(pointer.parent, wdir if isinstance(wdir, str) else "", name)
    )
    inner = os.path.relpath(path, top)
    if inner.startswith(".."):
        return None
    return redact(url if inner == "." else f"{url.rstrip('/')}/{inner}")


def objects(remote: str, md5: str) -> tuple[str, str]:
    """Return where a remote has an object: as DVC 3 lays it out, and as DVC 2 did."""
    root = remote.rstrip("/")
    name = f"{md5[:2]}/{md5[2:]}"
    return f"{root}/files/md5/{name}", f"{root}/{name}"


def folder_objects(data: bytes) -> dict[str, str]:
    """Return the MD5s of a folder's files by their paths in it, from its ``.dir`` object.

    Raises
    ------
    ValueError
        It is none.
    """
    import json

    try:
        return {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(data)}
    except (TypeError, KeyError) as error:
        raise ValueError(f"no listing of a folder: {error}") from None


def cached(root: Path, md5: str) -> Iterator[Path]:
    """Yield where DVC's cache on this machine has a file, by its MD5.

    Parameters
    ----------
    root
        The folder of the repository, with ``.dvc``.
    """
    md5 = md5.removeprefix("md5:")
    folders = [f"{root}/.dvc/cache"]
    for file in (f"{root}/.dvc/config", f"{root}/.dvc/config.local"):
        if named := _configuration(file).get("cache", "dir", fallback=None):
            folders.insert(0, os.path.join(os.path.dirname(file), named))
    for folder in folders:
        # DVC 3's place, then that of the versions before it.
        for below in ("files/md5/", ""):
            path = Path(f"{folder}/{below}{md5[:2]}/{md5[2:]}")
            if path.is_file():
                yield path


def _find(path: str, root: str | None) -> tuple[str, _Entry] | None:
    """Return the pointer that names a path, and what it says, looking up to `root`."""
    own = f"{path}.dvc"
    state = _state(own)
    if state is not None and (entry := _named(own, state).get(path)) is not None:
        return own, entry
    for file, then in _above(os.path.dirname(path), root, int(time.monotonic())):
        named = _named(file, then)
        for candidate in _with_folders(path, os.path.dirname(file)):
            entry = named.get(candidate)
            if entry is not None and (candidate == path or _is_folder(entry)):
                return file, entry
    return None


@functools.lru_cache(maxsize=4096)
def _above(
    folder: str,
    root: str | None,
    second: int,  # noqa: ARG001 - what is found counts for that long: 100,000 files may ask
) -> tuple[tuple[str, _State], ...]:
    """Return the pointers that may name files of a folder, the nearest first."""
    found: list[tuple[str, _State]] = []
    while True:
        found += [
            (file, state)
            for file in (f"{folder}/dvc.lock", f"{folder}.dvc")
            if (state := _state(file)) is not None
        ]
        top = os.path.dirname(folder)
        if folder in (root, top) or (root is None and _state(f"{folder}/.git") is not None):
            return tuple(found)
        folder = top


def _with_folders(path: str, top: str) -> Iterator[str]:
    """Yield a path and the folders that hold it, below `top`."""
    while path != top and len(path) > len(top):
        yield path
        path = os.path.dirname(path)


def _is_folder(entry: _Entry) -> bool:
    return entry.md5 is not None and entry.md5.endswith(".dir")


def _state(file: str) -> _State | None:
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=256)
def _named(file: str, state: _State) -> dict[str, _Entry]:  # noqa: ARG001 - a key
    """Return what a ``.dvc`` file or a ``dvc.lock`` names, by absolute path."""
    folder = os.path.dirname(file)
    document = _load(Path(file))
    if file.endswith(".dvc"):
        wdir = document.get("wdir")
        if isinstance(wdir, str):
            folder = os.path.join(folder, wdir)
        return dict(_entries(folder, document, None, {}))
    found: dict[str, _Entry] = {}
    stages = document.get("stages")
    roles = _roles(f"{folder}/dvc.yaml")
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        if isinstance(stage, dict):
            for path, entry in _entries(folder, stage, str(name), roles):
                # What one stage makes and another takes is the first one's.
                if path not in found or (entry.role != "dep" and found[path].role == "dep"):
                    found[path] = entry
    return found


def _entries(
    folder: str, owner: dict[str, Any], stage: str | None, roles: dict[str, Role]
) -> Iterator[tuple[str, _Entry]]:
    kinds: tuple[tuple[str, Role], ...] = (("outs", "out"), ("deps", "dep"))
    for key, role in kinds:
        listed = owner.get(key)
        for one in listed if isinstance(listed, list) else ():
            # A dependency of a `.dvc` file is where it was imported from, elsewhere.
            if not isinstance(one, dict) or (stage is None and role == "dep"):
                continue
            path, md5, remote = one.get("path"), one.get("md5"), one.get("remote")
            if md5 and isinstance(path, str):
                there = os.path.normpath(os.path.join(folder, path))
                yield there, _Entry(
                    str(md5), stage, role if role == "dep" else roles.get(there, role),
                    str(remote) if remote else None,
                )  # fmt: skip
    params = owner.get("params")
    for path in params if isinstance(params, dict) and stage is not None else ():
        yield os.path.normpath(os.path.join(folder, str(path))), _Entry(None, stage, "param")


def _roles(file: str) -> dict[str, Role]:
    """Return which outputs of a pipeline are metrics and plots: only ``dvc.yaml`` says so."""
    found: dict[str, Role] = {}
    stages = _load(Path(file)).get("stages")
    kinds: tuple[tuple[str, Role], ...] = (("metrics", "metric"), ("plots", "plot"))
    for stage in stages.values() if isinstance(stages, dict) else ():
        for key, role in kinds:
            listed = stage.get(key) if isinstance(stage, dict) else None
            for one in listed if isinstance(listed, list) else ():
                path = next(iter(one), None) if isinstance(one, dict) else one
                if isinstance(path, str):
                    found[os.path.normpath(os.path.join(os.path.dirname(file), path))] = role
    return found


def _load(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(text, loader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remote(folder: str, name: str | None) -> str | None:
    """Return the URL of a remote without credentials, by default that of the default remote.

    As DVC does, the system's, the user's, the repository's and this checkout's
    configurations are laid over each other. Its ``.dvc`` folder is looked for upwards.
    """
    while not os.path.isdir(f"{folder}/.dvc"):  # noqa: PTH112
        if folder == os.path.dirname(folder):
            return name
        folder = os.path.dirname(folder)
    user = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    config = _configuration("/etc/xdg/dvc/config", f"{user}/dvc/config", f"{folder}/.dvc/config",
                            f"{folder}/.dvc/config.local")  # fmt: skip
    name = name or config.get("core", "remote", fallback=None)
    if name is None:
        return None
    url = config.get(f"'remote \"{name}\"'", "url", fallback=None) or config.get(
        f'remote "{name}"', "url", fallback=None
    )
    return redact(url) if url else name


def _configuration(*files: str) -> configparser.ConfigParser:
    """Return what configurations say, each laid over those before it."""
    import configparser  # big, and without DVC there is none

    config = configparser.ConfigParser(strict=False, interpolation=None)
    for file in files:
        with contextlib.suppress(configparser.Error, UnicodeDecodeError):
            config.read(file, encoding="utf-8")
    return config
