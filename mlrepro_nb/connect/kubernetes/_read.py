"""Read a pod, or what makes pods, as the API server has it."""

from __future__ import annotations

from typing import Any

from mlrepro_nb.connect.kubernetes._cluster import API_VERSIONS, Cluster, resource_path
from mlrepro_nb.connect.kubernetes._config import current_context
from mlrepro_nb.errors import NotFoundError, UsageError

_KINDS = {kind.lower(): kind for kind in ("Pod", *API_VERSIONS)}
_ALIASES = {
    "po": "Pod", "deploy": "Deployment", "rs": "ReplicaSet", "sts": "StatefulSet",
    "ds": "DaemonSet", "cj": "CronJob",
}  # fmt: skip


def parse_kind(text: str) -> str | None:
    """Return a kind's name from any way of writing it (``deploy``, ``pods``), or None."""
    word = text.lower().partition(".")[0]
    return _KINDS.get(word) or _KINDS.get(word.removesuffix("s")) or _ALIASES.get(word)


def read(
    kind: str, name: str, *, namespace: str | None = None, context: str | None = None
) -> dict[str, Any]:
    """Return the manifest and status of a pod, Deployment, Job or other maker of pods.

    Without a namespace it is the context's own, as for kubectl.

    Raises
    ------
    UsageError
        Of a kind that has no pods.
    NotFoundError
        There is none of that name.
    ToolError
        The cluster cannot be reached or refuses.
    """
    known = parse_kind(kind)
    if known is None:
        raise UsageError(f"A {kind!r} has no images.", f"Name one of {', '.join(_KINDS.values())}.")
    if namespace is None:
        found = current_context(context)
        namespace = (found and found.namespace) or "default"
    manifest = Cluster(context).get(resource_path(known, namespace, name))
    if manifest is None:
        raise NotFoundError(
            f"Namespace {namespace} has no {known} {name!r}.",
            f"`kubectl get {known.lower()} --all-namespaces` lists them.",
        )
    return manifest
