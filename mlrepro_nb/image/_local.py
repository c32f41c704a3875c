"""Wheels of what comes from no index: a folder, a git commit, a file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from mlrepro_nb.connect import git, uv
from mlrepro_nb.connect.oci import EPOCH, Cache, damaged
from mlrepro_nb.errors import MlreproError, ToolError
from mlrepro_nb.model import Distribution, Report, Step, digest_bytes
from mlrepro_nb.store import Store

_MOST_FILES = 20_000
_MOST_BYTES = 200 << 20
_NO_SOURCE = frozenset(
    {"__pycache__", "node_modules", ".git", ".hg", ".svn", ".mlrepro", "build", "dist"}
)
_FORMAT = 1


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel in the cache."""

    distribution: str
    filename: str
    digest: str
    size: int


def archived(distributions: Iterable[Distribution], store: Store) -> dict[str, str]:
    """Return where the store has the wheels that were made of what ran, by name."""
    found = {}
    for distribution in distributions:
        path = store.blobs.path(distribution.wheel) if distribution.wheel else None
        if path is not None and path.is_file():
            found[distribution.name] = str(path)
    return found


def wheel(
    distribution: Distribution, cache: Cache, report: Report, archived: str | None = None
) -> Wheel:
    """Return the wheel of a distribution, built anew only where its source changed.

    Parameters
    ----------
    archived
        Where the wheel is that was made of what ran: then no other is built.

    Raises
    ------
    ToolError
        What it was installed from is not here, or cannot be built.
    """
    if archived is not None:
        return _archived(distribution, Path(archived), cache)
    source = None if distribution.origin == "git" else _source(distribution)
    if source is not None and source.suffix == ".whl":
        return _kept(distribution, source, cache)
    known = _identity(distribution, source)
    about = known and {"local-wheel": _FORMAT, "version": distribution.version, "source": known}
    noted = about and cache.note(about)
    if noted:
        with contextlib.suppress(msgspec.ValidationError):
            found = msgspec.convert(noted, Wheel)
            if cache.has(found.digest, found.size):
                return found
    report(Step(message=f"building the wheel of {distribution.name}"))
    with tempfile.TemporaryDirectory(prefix="mlrepro-wheel-") as name:
        found = _kept(distribution, _built(distribution, source, Path(name)), cache)
    if about and _identity(distribution, source) == known:  # nobody edited it meanwhile
        cache.write_note(about, found)
    return found


def _archived(distribution: Distribution, path: Path, cache: Cache) -> Wheel:
    from mlrepro_nb.capture.environment import archive

    content = path.read_bytes()
    if digest_bytes(content) != distribution.wheel:
        raise damaged(path)
    return Wheel(
        distribution=distribution.name, filename=archive.file_name(content),
        digest=cache.put(content), size=len(content),
    )  # fmt: skip


def _kept(distribution: Distribution, path: Path, cache: Cache) -> Wheel:
    content = path.read_bytes()
    return Wheel(
        distribution=distribution.name,
        filename=path.name,
        digest=cache.put(content),
        size=len(content),
    )


def _built(distribution: Distribution, source: Path | None, scratch: Path) -> Path:
    if source is None:
        if not distribution.source or not distribution.commit:
            raise _gone(distribution)
        source = scratch / "source"
        git.checkout(distribution.source, distribution.commit, source)
        return uv.build_wheel(source, scratch / "wheel", epoch=EPOCH)
    made = uv.build_wheel(source, scratch / "wheel", epoch=EPOCH)
    if f"-{distribution.version.replace('-', '_')}-" not in made.name:
        raise MlreproError(
            f"{source} builds {made.name}, but the run used {distribution.name} "
            f"{distribution.version}.",
            "Check out that version, or install this one and record again.",
        )
    return made


def _identity(distribution: Distribution, source: Path | None) -> str | None:
    """Return what tells a source from another one, wherever it lies; None where it is too big."""
    if source is None:
        return f"{distribution.source} {distribution.commit}"
    if source.is_file():
        return digest_bytes(source.read_bytes())
    found = hashlib.sha256()
    count = size = 0
    for path in _sources(source):
        status = path.lstat()
        count, size = count + 1, size + status.st_size
        if count > _MOST_FILES or size > _MOST_BYTES:
            return None
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        name = path.relative_to(source).as_posix().encode("utf-8", "surrogateescape")
        found.update(b"%d %s %d\0" % (status.st_mode & 0o100, name, len(content)))
        found.update(content)
    return f"sha256:{found.hexdigest()}"


def _sources(folder: Path) -> Iterator[Path]:
    """Yield the files that a wheel may be made of: not caches, environments, what was built."""
    for parent, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files and parent != str(folder):
            folders.clear()
            continue
        folders[:] = sorted(
            name for name in folders
            if name not in _NO_SOURCE and not name.endswith(("_cache", ".egg-info"))
        )  # fmt: skip
        for name in sorted(files):
            path = Path(parent) / name
            if not name.endswith((".pyc", ".pyo")) and (path.is_file() or path.is_symlink()):
                yield path


def _source(distribution: Distribution) -> Path:
    """Return the folder or archive that a distribution was installed from."""
    candidates = [distribution.source or "", _installed_from(distribution)]
    for candidate in candidates:
        named = urlsplit(candidate)
        path = Path(unquote(named.path) if named.scheme == "file" else candidate)
        if candidate and path.is_absolute() and path.exists():
            return path
    raise _gone(distribution)


def _installed_from(distribution: Distribution) -> str:
    import json

    with contextlib.suppress(metadata.PackageNotFoundError, ValueError, TypeError):
        found = metadata.distribution(distribution.name)
        if found.version == distribution.version:
            return str(json.loads(found.read_text("direct_url.json") or "{}").get("url", ""))
    return ""


def _gone(distribution: Distribution) -> ToolError:
    return ToolError(
        f"{distribution.name} {distribution.version} was installed from "
        f"{distribution.source or 'a folder'}, which is not on this machine.",
        "Build where it is, or install it from an index and record again.",
        tool="uv",
    )


def copy(found: Wheel, cache: Cache, folder: Path) -> Path:
    """Copy a wheel into a folder, under its own name."""
    target = folder / found.filename
    shutil.copyfile(cache.blob(found.digest), target)
    return target
