"""The daemonless builder: base image by digest, layers as sorted tars, manifest; no engine.

Nothing of the base image is run. The same plan gives the same digest on every
machine: what else it could depend on (the compressor, the compiler of the
bytecode) is pinned, checked and named on the image.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlrepro_nb.connect import docker, oci, registry
from mlrepro_nb.errors import UsageError
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders._image import BuiltImage
from mlrepro_nb.image.builders.oci._base import Base, base
from mlrepro_nb.image.builders.oci._layers import dependencies, project
from mlrepro_nb.image.builders.oci._manifest import builder, compose, compose_below
from mlrepro_nb.image.builders.oci._skeleton import Made
from mlrepro_nb.image.builders.oci._wheels import wheels
from mlrepro_nb.model import Report
from mlrepro_nb.store import Store

__all__ = ["OciBuilder", "below", "builder"]


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

    def prepare(self, plan: Plan, wanted: Wanted, report: Report) -> None:
        """Make the layers of the dependencies."""
        with oci.full_disk(self.cache.root):
            _dependencies(plan, wanted, self.cache, self.downloads, report)

    def build(self, plan: Plan, wanted: Wanted, store: Store, report: Report) -> BuiltImage:
        """Make the image in the cache."""
        with oci.full_disk(self.cache.root):
            found, made = _dependencies(plan, wanted, self.cache, self.downloads, report)
            made = (*made, *project(plan, self.cache, store, report))
            image = _kept(compose(plan, found, made), self.cache)
            self.cache.sweep()
        return BuiltImage(
            image, (self.cache, self.downloads), wanted, toolchain=builder(plan),
            below=frozenset(layer.digest for layer in found.image.layers),
            above=_above(made),
            origin=None if plan.base_layout else registry.parse(plan.base).name,
        )  # fmt: skip


def below(
    plan: Plan, wanted: Wanted, cache: oci.Cache, downloads: oci.Cache, report: Report
) -> tuple[oci.Image, frozenset[str]]:
    """Return the base image with a plan's dependencies on it, for who puts the project on top.

    Beside it are those of its layers that have nothing of the operating system.

    Raises
    ------
    NeedsEngineError
        Something of it has to be run, or is only to be had, where an engine is.
    """
    found, made = _dependencies(plan, wanted, cache, downloads, report)
    return _kept(compose_below(plan, found, made), cache), _above(made)


def _dependencies(
    plan: Plan, wanted: Wanted, cache: oci.Cache, downloads: oci.Cache, report: Report
) -> tuple[Base, tuple[Made, ...]]:
    found = base(plan, downloads, report)
    chosen, lab = (
        wheels(lock or "", plan, found.facts, downloads, wanted.bundle, report)
        for lock in (plan.lock, plan.lab)
    )
    return found, dependencies(plan, found.facts, chosen, lab, downloads, cache, report)


def _above(made: Iterable[Made]) -> frozenset[str]:
    return frozenset(m.layer.digest for m in made if not m.system)


def _kept(composed: tuple[bytes, oci.Image], cache: oci.Cache) -> oci.Image:
    settings, image = composed
    cache.put(settings)
    cache.put(image.manifest)
    return image
