"""Which image a target means, and what is attached to it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from mlrepro_nb.connect import oci, registry
from mlrepro_nb.errors import NotFoundError, UsageError
from mlrepro_nb.lineage._workloads import Workload, workload, workloads
from mlrepro_nb.lineage.custody._check import Check, bad, good
from mlrepro_nb.model import Image, Report, Step, short
from mlrepro_nb.store import Store

_MANIFEST_SIZE = 4 << 20


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact that refers to the image, or why it cannot be believed."""

    digest: str
    artifact: registry.Artifact | None = None
    trouble: str | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An image and what is attached to it."""

    reference: str
    digest: str
    """Of its manifest for one platform."""
    labels: dict[str, str]
    attached: tuple[Attached, ...]


def locate(
    target: str, store: Store | None, namespace: str | None, context: str | None, report: Report
) -> tuple[str, list[Check]]:
    """Return the reference of the image that a target means, and what was checked on the way.

    Raises
    ------
    NotFoundError
        It means none.
    """
    from mlrepro_nb.connect.kubernetes import parse_kind

    if is_layout(target):
        return target, []
    kind, _, name = target.partition("/")
    file = os.path.isfile(target)  # noqa: PTH113  (a target may be longer than any path)
    if not file and name and "/" not in name and (known := parse_kind(kind)):
        from mlrepro_nb.connect import kubernetes

        report(Step(message=f"asking Kubernetes for {known} {name}"))
        manifest = kubernetes.read(known, name, namespace=namespace, context=context)
        return _of_workload(workload({"kind": known, **manifest}))
    if file and Path(target).suffix in (".json", ".yaml", ".yml"):
        path = Path(target)
        small = path.stat().st_size <= _MANIFEST_SIZE
        found = workloads(path.read_text(encoding="utf-8", errors="replace")) if small else []
        if found:
            return _of_workload(next((w for w in found if w.images), found[0]))
    stored = _stored(target, store)
    if stored is not None:
        return stored, []
    if ("/" in target or ":" in target) and not target.startswith("sha256:"):
        return str(registry.parse(target)), []
    raise NotFoundError(
        f"{target!r} means no image that a registry has.",
        "Give REGISTRY/NAME@sha256:…, a pod or Deployment, an OCI layout (oci:PATH), or the digest "
        "of an image that was pushed from here.",
    )


def is_layout(target: str) -> bool:
    """Whether a target is an OCI layout."""
    if target.startswith("oci:"):
        return True
    if target.endswith(".tar"):
        return os.path.isfile(target)  # noqa: PTH113
    return os.path.isfile(os.path.join(target, "oci-layout"))  # noqa: PTH113, PTH118


def _of_workload(found: Workload) -> tuple[str, list[Check]]:
    name = f"{found.kind} {found.name}"
    told = found.annotations.get("mlrepro.io/image", "")
    digested = [image for image in found.images if "@sha256:" in image]
    image = digested[0] if digested else next(iter(found.images), "")
    if not image:
        raise NotFoundError(f"{name} runs no image.", "Trace another one.")
    if "@sha256:" not in image:
        return image, [bad("workload", f"{name} names {image} by its tag, which may move")]
    if told and told.rpartition("@")[2] != image.rpartition("@")[2]:
        said = f"{name} says it runs {short(told)} but runs {short(image)}"
        return image, [bad("workload", said)]
    return image, [good("workload", f"{name} runs {image}")]


def _stored(target: str, store: Store | None) -> str | None:
    """Return the reference by digest of an image that was pushed from here."""
    if store is None or not store.exists:
        return None
    keys = [f"image:{target}"]
    if re.fullmatch(r"(?:sha256:)?[0-9a-f]{4,64}", target):
        keys += store.find_keys(f"image:sha256:{target.removeprefix('sha256:')}")
    documents = [digest for key in keys for digest in store.find_by_key(key, Image)]
    if not documents and target.endswith(".ipynb"):
        documents = store.find_by_key(f"record:{store.find_record(target)[0]}", Image)
    images = [image for digest in documents if (image := store.get(Image, digest)).digest]
    # The same image may be in several repositories, and something beside it only in one.
    images.sort(key=lambda image: not image.referrers)
    return f"{images[0].repository}@{images[0].digest}" if images else None


def read(reference: str, report: Report) -> Found:
    """Return an image and what is attached to it, each by the digest that it was asked for by.

    Raises
    ------
    ToolError
        Its registry is unreachable, refuses, or does not have it.
    UsageError
        The layout is not whole.
    """
    return _from_layout(reference) if is_layout(reference) else _from_registry(reference, report)


def _from_registry(reference: str, report: Report) -> Found:
    report(Step(message=f"asking the registry for {reference}"))
    parsed = registry.parse(reference)
    info = registry.inspect(reference)
    platform = f"linux/{info.architecture or 'amd64'}"
    manifest = registry.manifest(f"{parsed.name}@{info.digest}", platform=platform)
    report(Step(message="asking for what is attached to it"))
    attached: dict[str, Attached] = {}
    # Some attach to the list of platforms, we to the image itself.
    for subject in dict.fromkeys((manifest.digest, info.digest)):
        for listed in registry.referrers(parsed.name, subject):
            fetch = functools.partial(registry.fetch, parsed.name, listed, subject)
            attached.setdefault(listed.digest, _attached(listed.digest, fetch))
    return Found(
        reference=f"{parsed.name}@{info.digest}",
        digest=manifest.digest,
        labels=info.labels,
        attached=tuple(attached.values()),
    )


def _from_layout(reference: str) -> Found:
    layout = oci.Layout(Path(reference.removeprefix("oci:")))
    image, name = layout.find("linux/amd64")
    configuration = msgspec.json.decode(layout.blob(image.configuration.digest))
    return Found(
        reference=f"{name or reference}@{image.digest}",
        digest=image.digest,
        labels=(configuration.get("config") or {}).get("Labels") or {},
        attached=tuple(
            _attached(listed.digest, functools.partial(layout.artifact, listed, image.digest))
            for listed in layout.referrers(image.digest)
        ),
    )


def _attached(digest: str, fetch: Callable[[], registry.Artifact]) -> Attached:
    try:
        return Attached(digest=digest, artifact=fetch())
    except (registry.WrongContentError, UsageError) as error:
        return Attached(digest=digest, trouble=error.message)
