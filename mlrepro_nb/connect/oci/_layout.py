"""OCI image layouts, as a folder or as one tar, read and written.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md

An archive that we write also holds the ``manifest.json`` of ``docker save``, so
that every engine loads it (20.10 does not read layouts).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from mlrepro_nb.connect.oci._cache import digest_of, full_disk
from mlrepro_nb.connect.oci._layer import EPOCH
from mlrepro_nb.connect.registry import parse
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.model import digest_bytes

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
GZIP = f"{LAYER}+gzip"

_OCI = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
}
_PIECE = 1 << 20
_MARK = b'{"imageLayoutVersion":"1.0.0"}'
_INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A blob: what it is, and its digest."""

    media_type: str
    digest: str
    size: int


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image: its manifest, byte by byte, and what that names."""

    manifest: bytes
    configuration: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def digest(self) -> str:
        """What the image is called by."""
        return digest_bytes(self.manifest)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Everything that belongs to it, each once."""
        return tuple({d.digest: d for d in (*self.layers, self.configuration)}.values())


def image(manifest: bytes, name: str) -> Image:
    """Read a manifest, of OCI or of Docker's older kind.

    Raises
    ------
    ToolError
        It is no image's.
    """
    try:
        content = msgspec.json.decode(manifest)
        configuration = msgspec.convert(content["config"], Descriptor)
        layers = msgspec.convert(content["layers"], tuple[Descriptor, ...])
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise ToolError(
            f"{name} is not a container image.", "Check the reference.", tool="oci"
        ) from None
    return Image(manifest=manifest, configuration=configuration, layers=layers)


def as_oci(layer: Descriptor) -> Descriptor:
    """Return a base image's layer as an OCI manifest names it; the bytes stay."""
    return msgspec.structs.replace(layer, media_type=_OCI.get(layer.media_type, layer.media_type))


# --- reading


class Layout:
    """A layout that is there: a folder, or a tar of one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            if self.path.is_dir():
                with (self.path / name).open("rb") as file:
                    yield file
                return
            with tarfile.open(self.path) as archive:
                member = _member(archive, name)
                found = archive.extractfile(member)
                if found is None:
                    raise KeyError(name)
                with found:
                    yield found
        except (KeyError, FileNotFoundError, NotADirectoryError, tarfile.TarError):
            raise UsageError(
                f"{self.path} is not a whole OCI image layout: {name} is missing.",
                "Make one: skopeo copy docker://NAME oci-archive:FILE.tar, or docker buildx build "
                "--output type=oci,dest=FILE.tar.",
            ) from None

    def _read(self, name: str) -> bytes:
        with self._open(name) as file:
            return file.read()

    def _blob(self, digest: str) -> bytes:
        content = self._read(_place(digest))
        if digest_bytes(content) != digest:
            raise UsageError(
                f"{self.path} is damaged: a blob in it is not {digest}.", "Make it again."
            )
        return content

    def find(self, platform: str) -> tuple[Image, str | None]:
        """Return the image for a platform, and the name that the layout gives it.

        Raises
        ------
        UsageError
            It is no layout, or has no such image, or several.
        """
        try:
            index = json.loads(self._read("index.json"))
            found = list(self._images(index["manifests"], platform))
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self.path}: its index is not one of OCI images.", "Make it again."
            ) from None
        different = {digest: (content, name) for digest, content, name in found}
        if len(different) != 1:
            raise UsageError(
                f"{self.path} holds {len(different) or 'no'} images for {platform}.",
                "Give a layout with exactly one.",
            )
        content, name = next(iter(different.values()))
        return image(content, str(self.path)), name

    def _images(
        self, entries: Sequence[Mapping[str, Any]], platform: str
    ) -> Iterator[tuple[str, bytes, str | None]]:
        for entry in entries:
            annotations = entry.get("annotations") or {}
            name = _called(annotations)
            described = entry.get("platform") or {}
            said = f"{described.get('os')}/{described.get('architecture')}"
            if described and said != platform:
                continue
            content = self._blob(entry["digest"])
            if entry["mediaType"] in _INDEXES:
                inner = json.loads(content)["manifests"]
                for digest, data, deeper in self._images(inner, platform):
                    yield digest, data, deeper or name
            else:
                yield entry["digest"], content, name

    def copy(self, digest: str, target: Path) -> None:
        """Write a blob into a file."""
        with self._open(_place(digest)) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, _PIECE)
        if digest_of(target) != digest:
            target.unlink()
            raise UsageError(
                f"{self.path} is damaged: a blob in it is not {digest}.", "Make it again."
            )


def _called(annotations: Mapping[str, Any]) -> str | None:
    """Return the name that a layout gives an image; a tag alone is none."""
    for key in ("io.containerd.image.name", "org.opencontainers.image.ref.name"):
        name = annotations.get(key)
        if isinstance(name, str) and "/" in name:
            with contextlib.suppress(UsageError):
                return parse(name).name
    return None


def _member(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    try:
        return archive.getmember(name)
    except KeyError:
        return archive.getmember(f"./{name}")


# --- writing


def check_target(path: Path) -> None:
    """Refuse to write an image over something that is none.

    Raises
    ------
    UsageError
        It is a folder that holds something, or lies in one that is not there.
    """
    if is_archive(path):
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written.", "Name a file in a folder that is there.")
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is not an empty folder.", "Name one that does not exist yet.")


def is_archive(path: Path) -> bool:
    """Whether a path means one file rather than a folder."""
    return path.suffix == ".tar"


def write(made: Image, names: Sequence[str], blobs: Mapping[str, Path], target: Path) -> None:
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
    """
    check_target(target)
    with full_disk(target):
        if is_archive(target):
            handle, part = tempfile.mkstemp(dir=target.parent, prefix=".mlrepro-")
            try:
                with os.fdopen(handle, "wb") as file:
                    stream(made, names, blobs, file)
                os.chmod(part, 0o666 & ~_umask())
                os.replace(part, target)
            except BaseException:
                os.unlink(part)
                raise
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=".mlrepro-"))
        try:
            for name, content in _texts(made, names).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            for descriptor in made.blobs:
                _checked_copy(descriptor, blobs, folder / _place(descriptor.digest))
            folder.chmod(0o777 & ~_umask())
            if target.exists():
                target.rmdir()
            folder.rename(target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


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


def stream(made: Image, names: Sequence[str], blobs: Mapping[str, Path], file: IO[bytes]) -> None:
    """Write the archive into a stream."""
    with tarfile.open(
        fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_PIECE
    ) as archive:
        archive.copybufsize = _PIECE  # type: ignore[attr-defined]  # 16 KiB by default
        for name, content in sorted(_texts(made, names).items()):
            entry = _entry(name, len(content))
            archive.addfile(entry, io.BytesIO(content))
        for descriptor in made.blobs:
            with blobs[descriptor.digest].open("rb") as blob:
                checked = _Checked(descriptor, blobs[descriptor.digest], blob)
                archive.addfile(_entry(_place(descriptor.digest), descriptor.size), checked)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o644, EPOCH
    return entry


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"


def _texts(made: Image, names: Sequence[str]) -> dict[str, bytes]:
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
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries or [described]}
    docker = {
        "Config": _place(made.configuration.digest),
        "RepoTags": list(names) or None,
        "Layers": [_place(layer.digest) for layer in made.layers],
    }
    return {
        "oci-layout": _MARK,
        "index.json": json.dumps(index).encode(),
        "manifest.json": json.dumps([docker]).encode(),
        _place(made.digest): made.manifest,
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
