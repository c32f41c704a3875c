"""OCI images and image layouts, as a folder or as one tar: what they are, and read.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from mlrepro_nb.connect.oci._cache import digest_of
from mlrepro_nb.connect.registry import Artifact, Referrer, artifact, parse
from mlrepro_nb.errors import ToolError, UsageError
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
        content = self._read(place(digest))
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
            if "artifactType" in entry:
                continue  # it says something of an image
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

    def blob(self, digest: str) -> bytes:
        """Return a blob, checked against its digest.

        Raises
        ------
        UsageError
            It is missing or damaged.
        """
        return self._blob(digest)

    def referrers(self, digest: str) -> tuple[Referrer, ...]:
        """Return what of the layout refers to an image."""
        try:
            entries = json.loads(self._read("index.json"))["manifests"]
            listed = msgspec.convert([e for e in entries if "artifactType" in e], list[Referrer])
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self.path}: its index is not one of OCI images.", "Make it again."
            ) from None
        refers = {e.digest: json.loads(self._blob(e.digest)).get("subject") for e in listed}
        return tuple(e for e in listed if (refers[e.digest] or {}).get("digest") == digest)

    def artifact(self, referrer: Referrer, subject: str) -> Artifact:
        """Return an artifact that refers to an image.

        Raises
        ------
        ToolError
            It refers to another one.
        """
        manifest = json.loads(self._blob(referrer.digest))
        return artifact(manifest, subject, referrer.digest, self._blob)

    def copy(self, digest: str, target: Path) -> None:
        """Write a blob into a file."""
        with self._open(place(digest)) as source, target.open("wb") as file:
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


def place(digest: str) -> str:
    """Return where a layout has a blob."""
    return f"blobs/{digest.replace(':', '/', 1)}"
