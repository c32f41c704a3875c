"""OCI image layouts, as a folder or as one tar, written: an image and what refers to it.

An archive also holds the ``manifest.json`` of ``docker save``, so that every engine
loads it (20.10 does not read layouts).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from mlrepro_nb.connect.oci._cache import digest_of
from mlrepro_nb.connect.oci._header import EPOCH
from mlrepro_nb.connect.oci._layout import INDEX, MANIFEST, Descriptor, Image, place
from mlrepro_nb.connect.oci._output import check_folder, check_writable, placing
from mlrepro_nb.connect.registry import EMPTY, Artifact, Manifest, parse
from mlrepro_nb.errors import MlreproError, UsageError
from mlrepro_nb.model import digest_bytes

_PIECE = 1 << 20
_MARK = b'{"imageLayoutVersion":"1.0.0"}'


def check_target(path: Path) -> None:
    """Refuse to write an image over something that is none.

    Raises
    ------
    UsageError
        It is a folder that holds something, or lies in one that is not there.
    ToolError
        Nothing can be written there.
    """
    if is_archive(path):
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written.", "Name a file in a folder that is there.")
        check_writable(path.parent, path)
    else:
        check_folder(path)


def is_archive(path: Path) -> bool:
    """Whether a path means one file rather than a folder."""
    return path.suffix == ".tar"


def write(
    made: Image,
    names: Sequence[str],
    blobs: Mapping[str, Path],
    target: Path,
    artifacts: Sequence[Artifact] = (),
) -> None:
    """Write an image as a layout: a tar where the path ends in ``.tar``, else a folder.

    Parameters
    ----------
    made
        The image.
    names
        What it is called, ``repository:tag``.
    blobs
        Where its blobs are, by digest.
    target
        What to write; it is there whole or not at all.
    artifacts
        What refers to it.
    """
    check_target(target)
    with placing(target):
        if is_archive(target):
            handle, part = tempfile.mkstemp(dir=target.parent, prefix=".mlrepro-")
            try:
                with os.fdopen(handle, "wb") as file:
                    stream(made, names, blobs, file, artifacts)
                os.chmod(part, 0o666 & ~_umask())
                os.replace(part, target)
            except BaseException:
                os.unlink(part)
                raise
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=".mlrepro-"))
        try:
            for name, content in _texts(made, names, artifacts).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            for descriptor in made.blobs:
                _checked_copy(descriptor, blobs, folder / place(descriptor.digest))
            folder.chmod(0o777 & ~_umask())
            folder.rename(target.resolve())  # in place of an empty one, if there is one
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def share(blobs: Mapping[str, Path], target: Path, made: Image, *, listed: bool = True) -> None:
    """Make a layout of an image whose blobs are elsewhere, and stay there.

    It is not `listed` where the layout is to be another image's, of which these blobs are a part.
    """
    for digest in (made.digest, *(b.digest for b in made.blobs)):
        link = target / place(digest)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs[digest].resolve())
    if listed:
        texts = _texts(made, (), ())
        for name in ("oci-layout", "index.json"):
            (target / name).write_bytes(texts[name])


def _umask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found


def _checked_copy(descriptor: Descriptor, blobs: Mapping[str, Path], target: Path) -> None:
    shutil.copyfile(blobs[descriptor.digest], target)
    if digest_of(target) != descriptor.digest:
        raise damaged(blobs[descriptor.digest])


def damaged(path: Path) -> MlreproError:
    """Delete a file of the cache that is not what it was, and return what that means."""
    path.unlink(missing_ok=True)
    return MlreproError(
        f"{path}, in the cache, was damaged.", "It is deleted now: build again to make it anew."
    )


def stream(
    made: Image,
    names: Sequence[str],
    blobs: Mapping[str, Path],
    file: IO[bytes],
    artifacts: Sequence[Artifact] = (),
) -> None:
    """Write the archive into a stream."""
    with tarfile.open(
        fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_PIECE
    ) as archive:
        archive.copybufsize = _PIECE  # type: ignore[attr-defined]  # 16 KiB by default
        for name, content in sorted(_texts(made, names, artifacts).items()):
            entry = _entry(name, len(content))
            archive.addfile(entry, io.BytesIO(content))
        for descriptor in made.blobs:
            with blobs[descriptor.digest].open("rb") as blob:
                checked = _Checked(descriptor, blobs[descriptor.digest], blob)
                archive.addfile(_entry(place(descriptor.digest), descriptor.size), checked)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o644, EPOCH
    return entry


def _texts(made: Image, names: Sequence[str], artifacts: Sequence[Artifact]) -> dict[str, bytes]:
    described = {"mediaType": MANIFEST, "digest": made.digest, "size": len(made.manifest)}
    entries = [
        {
            **described,
            "annotations": {
                "io.containerd.image.name": str(parse(name)),
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            },
        }
        for name in names
    ]
    subject = Manifest(content=made.manifest, media_type=MANIFEST)
    attached: dict[str, bytes] = {}
    listed: list[dict[str, Any]] = []
    for document in artifacts:
        listed.append(document.entry(subject))
        for content in (EMPTY, document.content, document.manifest(subject).content):
            attached[place(digest_bytes(content))] = content
    manifests = [*(entries or [described]), *listed]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    docker = {
        "Config": place(made.configuration.digest),
        "RepoTags": list(names) or None,
        "Layers": [place(layer.digest) for layer in made.layers],
    }
    return {
        "oci-layout": _MARK,
        "index.json": json.dumps(index).encode(),
        "manifest.json": json.dumps([docker]).encode(),
        place(made.digest): made.manifest,
        **attached,
    }


class _Checked:
    """A blob that is read once, and checked at its end."""

    def __init__(self, descriptor: Descriptor, path: Path, file: IO[bytes]) -> None:
        self._descriptor, self._path, self._file = descriptor, path, file
        self._digest = hashlib.sha256()
        self._left = descriptor.size

    def read(self, size: int = -1) -> bytes:
        """Return the next piece."""
        piece = self._file.read(size)
        self._digest.update(piece)
        self._left -= len(piece)
        whole = f"sha256:{self._digest.hexdigest()}" == self._descriptor.digest
        if (self._left <= 0 and not whole) or (self._left > 0 and not piece):
            raise damaged(self._path)
        return piece
