"""Pods and Deployments as Kubernetes writes them: pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

KINDS = frozenset({"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob"})


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A pod, Deployment or Job, as far as its origin goes."""

    kind: str
    name: str
    namespace: str = "default"
    app: str | None = None
    """``app.kubernetes.io/name``, or the name of what owns it."""
    annotations: dict[str, str] = {}
    images: tuple[str, ...] = ()
    """References of its containers' images; by digest where the node told it."""


def workloads(text: str) -> list[Workload]:
    """Return the workloads of a manifest file, JSON or YAML, of one or many documents.

    Anything else gives an empty list.
    """
    import yaml

    try:
        documents = [json.loads(text)]
    except ValueError:
        try:
            documents = list(yaml.safe_load_all(text))
        except (yaml.YAMLError, ValueError, RecursionError):
            return []
    except RecursionError:
        return []
    return [workload(item) for document in documents for item in _items(document)]


def workload(manifest: dict[str, Any]) -> Workload:
    """Read one manifest, with or without the status that the API server adds."""
    meta = _map(manifest.get("metadata"))
    spec = _map(manifest.get("spec"))
    if manifest.get("kind") == "CronJob":
        spec = _map(_map(spec.get("jobTemplate")).get("spec"))
    template = manifest if manifest.get("kind") == "Pod" else _map(spec.get("template"))
    template_meta = _map(template.get("metadata"))
    annotations = {**_map(template_meta.get("annotations")), **_map(meta.get("annotations"))}
    owners = [o for o in meta.get("ownerReferences") or [] if isinstance(o, dict)]
    labels = _map(meta.get("labels"))
    pulled = {
        status.get("name"): _reference(str(status.get("image", "")), str(status.get("imageID", "")))
        for status in _map(manifest.get("status")).get("containerStatuses") or []
        if isinstance(status, dict)
    }
    containers = _map(template.get("spec")).get("containers") or []
    return Workload(
        kind=str(manifest.get("kind", "")),
        name=str(meta.get("name", "")),
        namespace=str(meta.get("namespace") or "default"),
        app=labels.get("app.kubernetes.io/name") or (owners[0].get("name") if owners else None),
        annotations={str(k): str(v) for k, v in annotations.items()},
        images=tuple(
            pulled.get(container.get("name")) or str(container.get("image", ""))
            for container in containers
            if isinstance(container, dict)
        ),
    )


def _items(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    if isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _items(item)
    elif document.get("kind") in KINDS:
        yield document


def _reference(image: str, image_id: str) -> str:
    """Return what a node pulled, by digest where `imageID` is one of a manifest."""
    pulled = image_id.rpartition("://")[2]
    if "@sha256:" in pulled:
        return pulled
    if "@sha256:" in image:
        return image
    # Some runtimes name the configuration, which the store knows as well.
    return pulled if pulled.startswith("sha256:") else image


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
