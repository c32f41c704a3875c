"""Whether a plan gives the same image again: built anew, nothing reused, and compared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.connect import index, oci
from mlrepro_nb.errors import UsageError
from mlrepro_nb.image._build import ready
from mlrepro_nb.image._plan import Plan, plan
from mlrepro_nb.image._render import containerfile, requirements
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders.oci import OciBuilder, OciImage, first_difference
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
        ``oci`` or ``auto``: that of the engine cannot do it.

    Raises
    ------
    UsageError
        The engine's builder is asked for.
    """
    if builder == "docker":
        raise UsageError(
            "The Docker Engine's builder dates what it builds anew, so its images cannot be "
            "compared by digest.",
            "Use --builder oci.",
        )
    oci.check_compressor()
    planned = plan(target, store=store, report=report, **options)
    found = ready(planned, target, store, report)
    wanted = Wanted(bundle=index.ca_bundle(ca_bundle))
    cache = oci.Cache()
    first = OciBuilder(cache).build(planned, wanted, found, report)
    report(Step(message="building it again, from nothing"))
    with tempfile.TemporaryDirectory(dir=cache.scratch(), prefix="check-") as folder:
        again = OciBuilder(oci.Cache(Path(folder)), downloads=cache)
        second = again.build(planned, wanted, found, report)

        def find(digest: str) -> Path | None:
            return first.blob(digest) or second.blob(digest)

        difference = first_difference(first.image, second.image, find)
    known = _before(planned, found)
    if difference is None and known is not None and known != first.manifest:
        difference = _since(first, known)
    return Rebuilt(
        same=difference is None,
        manifest=first.manifest,
        again=second.manifest,
        before=known,
        difference=difference,
    )


def _before(planned: Plan, store: Store) -> str | None:
    """Return the manifest that was last built without an engine from an equal plan."""
    lock = digest_bytes(requirements(planned).encode())
    text = digest_bytes(containerfile(planned).encode())
    for digest in store.find_by_key(f"record:{planned.record}", Image):
        image = store.get(Image, digest)
        equal = (image.builder, image.containerfile, image.lock, image.base)
        if equal == ("oci", text, lock, planned.base_reference) and image.manifest:
            return image.manifest
    return None


def _since(first: OciImage, known: str) -> str:
    path = first.blob(known)
    if path is None:
        return f"it was {short(known)} before, which is not in the cache any more"
    earlier = oci.image(path.read_bytes(), known)
    return first_difference(earlier, first.image, first.blob) or "nothing that can be told"
