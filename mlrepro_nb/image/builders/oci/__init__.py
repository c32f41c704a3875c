"""The daemonless builder: base image by digest, layers as sorted tars, manifest; no engine.

Nothing of the base image is run. The same plan gives the same digest on every
machine: what else it could depend on (the compressor, the compiler of the
bytecode) is pinned, checked and named on the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlrepro_nb.connect import docker, oci, registry
from mlrepro_nb.connect.command import Ended
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders.oci._base import Base, base
from mlrepro_nb.image.builders.oci._compare import first_difference
from mlrepro_nb.image.builders.oci._layers import layers
from mlrepro_nb.image.builders.oci._manifest import compose
from mlrepro_nb.image.builders.oci._wheels import wheels
from mlrepro_nb.model import Report, Step
from mlrepro_nb.store import Store

__all__ = ["OciBuilder", "OciImage", "first_difference"]


class OciBuilder:
    """Builds without an engine.

    Parameters
    ----------
    cache
        Where layers are kept.
    downloads
        Where wheels and base images are; by default, there too.
    """

    key = "oci"

    def __init__(self, cache: oci.Cache | None = None, downloads: oci.Cache | None = None) -> None:
        self.cache = cache or oci.Cache()
        self.downloads = downloads or self.cache

    def check(self, wanted: Wanted) -> None:
        """Refuse what cannot end well."""
        if not (wanted.output or wanted.push or wanted.load):
            raise UsageError(
                "Built without an engine, the image has no place to be.",
                "Say where it goes: --output FILE.tar (or a folder), --push, or --load into an "
                "engine.",
            )
        if wanted.output is not None:
            oci.check_target(wanted.output)
        oci.check_compressor()
        if wanted.load or wanted.test:
            docker.engine()

    def build(self, plan: Plan, wanted: Wanted, store: Store, report: Report) -> OciImage:
        """Make the image in the cache."""
        with oci.full_disk(self.cache.root):
            found = base(plan, self.downloads, report)
            chosen = wheels(plan, found.facts, self.downloads, wanted.bundle, report)
            made = layers(plan, found.facts, chosen, self.downloads, self.cache, store, report)
            settings, image = compose(plan, found, made)
            self.cache.put(settings)
            self.cache.put(image.manifest)
            self.cache.sweep()
        return OciImage(image, found, (self.cache, self.downloads), wanted)


class OciImage:
    """An image whose blobs are in the cache."""

    def __init__(
        self, image: oci.Image, below: Base, caches: Sequence[oci.Cache], wanted: Wanted
    ) -> None:
        self.image = image
        self._base = below
        self._caches = tuple(caches)
        self._wanted = wanted

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
        return next((c.blob(digest) for c in self._caches if c.has(digest)), None)

    def _blobs(self) -> dict[str, Path]:
        found = {d.digest: self.blob(d.digest) for d in self.image.blobs}
        return {digest: path for digest, path in found.items() if path is not None}

    def _load(self, names: Sequence[str], report: Report) -> str:
        report(Step(message="loading it into the engine"))
        return docker.load(lambda pipe: oci.stream(self.image, names, self._blobs(), pipe))

    def run(self, report: Report) -> Ended:
        """Load it into an engine, without a name, and run it without a network."""
        return docker.run(self._load((), report), report=report)

    def name(self, names: Sequence[str], report: Report) -> None:
        """Write the layout, load it into the engine, as was wanted."""
        if output := self._wanted.output:
            report(Step(message=f"writing {output}"))
            oci.write(self.image, names, self._blobs(), output)
        if self._wanted.load:
            self._load(names, report)

    def push(self, names: Sequence[str], report: Report) -> str:
        """Push it under all its tags."""
        target = registry.parse(names[0])
        below = {layer.digest for layer in self._base.image.layers}
        origin = None
        if self._base.repository:
            parsed = registry.parse(self._base.repository)
            origin = parsed.repository if parsed.registry == target.registry else None
        paths = self._blobs()
        blobs = [
            registry.Blob(
                digest=d.digest, path=paths[d.digest], size=d.size,
                origin=origin if d.digest in below else None,
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
