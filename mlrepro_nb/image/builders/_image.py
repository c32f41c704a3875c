"""An image that was built into the cache: loaded into an engine, written or pushed from there."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.connect import docker, oci, registry
from mlrepro_nb.connect.command import Ended
from mlrepro_nb.errors import ToolError
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.model import Report, Step, short


class BuiltImage:
    """An image whose blobs are in the cache.

    Parameters
    ----------
    caches
        Where its blobs are, the first that has one.
    toolchain
        What, besides the plan, its digest depends on.
    below
        The layers of its base image.
    above
        Layers that have nothing of the operating system: none of its files is looked for there.
    origin
        Repository that the base image was pulled from, ``registry/name``.
    """

    def __init__(
        self, image: oci.Image, caches: Sequence[oci.Cache], wanted: Wanted, *, toolchain: str,
        below: Container[str] = (), above: Container[str] = (), origin: str | None = None,
    ) -> None:  # fmt: skip
        self.image = image
        self.toolchain = toolchain
        self._caches = tuple(caches)
        self._wanted = wanted
        self._below = below
        self._above = above
        self._origin = origin

    @property
    def id(self) -> str:
        """Digest of its configuration."""
        return self.image.configuration.digest

    @property
    def manifest(self) -> str:
        """Digest of its manifest."""
        return self.image.digest

    def is_same(self, there: registry.ImageInfo) -> bool:
        """Whether it is byte for byte this one."""
        return there.digest == self.image.digest

    def blob(self, digest: str) -> Path | None:
        """Return where a blob is, None where it is not in the caches."""
        return oci.located([digest], self._caches).get(digest)

    def _blobs(self) -> dict[str, Path]:
        return oci.located((d.digest for d in self.image.blobs), self._caches)

    def _load(self, names: Sequence[str], report: Report) -> str:
        report(Step(message="loading it into the engine"))
        return docker.load(lambda pipe: oci.stream(self.image, names, self._blobs(), pipe))

    def local(self, report: Report) -> str:
        """Load it into an engine, without a name."""
        return self._load((), report)

    def run(self, arguments: Sequence[str], report: Report, data: Mapping[str, Path]) -> Ended:
        """Load it into an engine, without a name, and run it without a network."""
        return docker.run(self._load((), report), arguments, given=data, report=report)

    def texts(self, wanted: re.Pattern[str], report: Report) -> dict[str, str]:
        """Return those small text files of its operating system whose absolute path matches."""
        cache = self._caches[0]
        layers = []
        for layer in (found for found in self.image.layers if found.digest not in self._above):
            about = {"texts": 1, "layer": layer.digest, "wanted": wanted.pattern}
            noted = cache.note(about)
            if noted is None and (path := self.blob(layer.digest)) is not None:
                report(Step(message=f"looking through layer {short(layer.digest)}"))
                noted = oci.texts_in(path, wanted)
                cache.write_note(about, noted)
            layers.append(msgspec.convert(noted or {}, dict[str, str | None]))
        return oci.stacked(layers)

    def name(
        self, names: Sequence[str], report: Report, artifacts: Sequence[registry.Artifact] = ()
    ) -> None:
        """Write the layout, load it into the engine, as was wanted."""
        if output := self._wanted.output:
            report(Step(message=f"writing {output}"))
            oci.write(self.image, names, self._blobs(), output, artifacts)
        if self._wanted.load:
            self._load(names, report)

    def push(self, names: Sequence[str], report: Report) -> str:
        """Push it under all its tags."""
        target = registry.parse(names[0])
        origin = None
        if self._origin:
            parsed = registry.parse(self._origin)
            origin = parsed.repository if parsed.registry == target.registry else None
        paths = self._blobs()
        blobs = [
            registry.Blob(
                digest=d.digest, path=paths[d.digest], size=d.size,
                origin=origin if d.digest in self._below else None,
            )
            for d in self.image.blobs
        ]  # fmt: skip
        manifest = registry.Manifest(content=self.image.manifest, media_type=oci.MANIFEST)
        tags = [str(registry.parse(name).tag) for name in names]
        try:
            registry.push(target.name, manifest, blobs, tags, report=report)
        except ToolError:
            for blob in blobs:
                if oci.digest_of(blob.path) != blob.digest:
                    raise oci.damaged(blob.path) from None
            raise
        return self.image.digest
