"""Whether a plan gives the same image again: built anew, nothing reused, and compared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlrepro_nb.connect import index, oci
from mlrepro_nb.errors import UsageError
from mlrepro_nb.image._build import ready
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image._planning import plan, where
from mlrepro_nb.image._predictions import with_predictions
from mlrepro_nb.image._render import containerfile, requirements
from mlrepro_nb.image.builders import NAMES, Wanted
from mlrepro_nb.image.builders._compare import first_difference
from mlrepro_nb.image.builders._image import BuiltImage
from mlrepro_nb.image.builders.docker import (
    REPEATABLE,
    DockerBuilder,
    repeatable,
    unfit,
)
from mlrepro_nb.image.builders.oci import OciBuilder
from mlrepro_nb.model import Image, Report, Step, digest_bytes, short, silent
from mlrepro_nb.store import Store


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """How a rebuild compares."""

    same: bool
    manifest: str
    """Digest of what the plan gives, as a build would reuse it."""
    again: str
    """Digest of what it gives when nothing is reused."""
    before: str | None = None
    """Digest of the image that was built last from this record with these settings."""
    difference: str | None = None
    """The first thing that differs: a file in a layer, or a setting."""


def check(
    target: str,
    *,
    builder: str = "auto",
    ca_bundle: str | Path | None = None,
    store: Store | None = None,
    report: Report = silent,
    **options: Any,
) -> Rebuilt:
    """Build an image twice, the second time reusing nothing but what was downloaded.

    What is compared besides is the image that was last built of the same record
    with the same settings, if the store knows one. Nothing is tagged or pushed.

    Parameters
    ----------
    target, options
        As for `plan`.
    builder
        ``docker``, which needs a BuildKit that can date what it builds; ``oci`` or
        ``auto``, which need nothing.

    Raises
    ------
    UsageError
        There is no such BuildKit: an older engine gives another digest each time.
    """
    if builder not in NAMES:
        raise UsageError(f"There is no builder {builder!r}.", f"Builders are {', '.join(NAMES)}.")
    key: Literal["docker", "oci"] = "docker" if builder == "docker" else "oci"
    if key == "oci":
        oci.check_compressor()
    elif isinstance(kit := repeatable(), str):
        raise UsageError(unfit(kit), REPEATABLE)
    planned = plan(target, store=store, report=report, **options)
    found = ready(planned, target, store, report)
    planned = with_predictions(planned, where(target, store)[1], found, report)
    wanted = Wanted(bundle=index.ca_bundle(ca_bundle))
    cache = oci.Cache()
    first = _built(key, planned, wanted, found, report, cache)
    report(Step(message="building it again, from nothing"))
    with tempfile.TemporaryDirectory(dir=cache.scratch(), prefix="check-") as folder:
        other = oci.Cache(Path(folder))
        second = _built(key, planned, wanted, found, report, other, downloads=cache)

        def find(digest: str) -> Path | None:
            return first.blob(digest) or second.blob(digest)

        difference = first_difference(first.image, second.image, find)
    known = _before(planned, found, key, first.toolchain)
    if difference is None and known is not None and known != first.manifest:
        difference = _since(first, known)
    return Rebuilt(
        same=difference is None,
        manifest=first.manifest,
        again=second.manifest,
        before=known,
        difference=difference,
    )


def _built(
    key: str, planned: Plan, wanted: Wanted, store: Store, report: Report, cache: oci.Cache,
    downloads: oci.Cache | None = None,
) -> BuiltImage:  # fmt: skip
    """Build into a cache; with downloads that are elsewhere, nothing else is used again."""
    if key == "oci":
        return OciBuilder(cache, downloads=downloads).build(planned, wanted, store, report)
    again = DockerBuilder(cache, downloads, fresh=downloads is not None)
    built = again.build(planned, wanted, store, report)
    if not isinstance(built, BuiltImage):  # BuildKit went away since it was asked
        raise UsageError(f"{built.toolchain} cannot give the same digest again.", REPEATABLE)
    return built


def _before(planned: Plan, store: Store, builder: str, toolchain: str) -> str | None:
    """Return the manifest that the same builder made last from an equal plan."""
    lock = digest_bytes(requirements(planned).encode())
    text = digest_bytes(containerfile(planned).encode())
    for digest in store.find_by_key(f"record:{planned.record}", Image):
        image = store.get(Image, digest)
        equal = (image.builder, image.containerfile, image.lock, image.base)
        wanted = (builder, text, lock, planned.base_reference)
        if equal == wanted and image.toolchain in (None, toolchain) and image.manifest:
            return image.manifest
    return None


def _since(first: BuiltImage, known: str) -> str:
    path = first.blob(known)
    if path is None:
        return f"it was {short(known)} before, which is not in the cache any more"
    earlier = oci.image(path.read_bytes(), known)
    return first_difference(earlier, first.image, first.blob) or "nothing that can be told"
