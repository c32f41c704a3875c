"""Apply a set of manifests: all of it, or nothing where one of them is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from mlrepro_nb.connect.kubernetes._cluster import Cluster, manifest_path
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import Report, Step, silent

_VOLATILE = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid")


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one manifest."""

    kind: str
    name: str
    outcome: Literal["created", "configured", "unchanged"]


def apply(
    cluster: Cluster,
    manifests: Sequence[Mapping[str, Any]],
    *,
    dry_run: bool = False,
    force: bool = False,
    report: Report = silent,
) -> tuple[Applied, ...]:
    """Apply manifests in order, each tried on the server before any is written.

    Parameters
    ----------
    cluster : Cluster
        Where to.
    manifests : Sequence[Mapping[str, Any]]
        What; a Namespace comes before what lies in it.
    dry_run : bool
        Only try: admission, validation and conflicts are checked, nothing is kept.
    force : bool
        Take over fields that other managers set.
    report : Report
        Told of each manifest.

    Raises
    ------
    ToolError
        The cluster cannot be reached or refuses a manifest. Nothing was written.
    """
    before = [cluster.get(manifest_path(manifest)) for manifest in manifests]
    made: Mapping[str, Any] | None = None
    trial: list[dict[str, Any]] = []
    try:
        for manifest, old in zip(manifests, before, strict=True):
            _tell(report, "Checking", manifest, len(trial), len(manifests))
            trial.append(cluster.apply(manifest, dry_run=True, force=force))
            if manifest["kind"] == "Namespace" and old is None:
                if dry_run:
                    # What would lie in a namespace that is not there cannot be tried.
                    return tuple(
                        Applied(kind=m["kind"], name=m["metadata"]["name"], outcome="created")
                        for m in manifests
                    )
                cluster.apply(manifest)
                made = manifest
    except MlreproError:
        if made is not None:
            cluster.delete(manifest_path(made))
        raise
    after: list[dict[str, Any]] = []
    for manifest, tried in zip(manifests, trial, strict=True):
        if dry_run:
            after.append(tried)
        else:
            _tell(report, "Applying", manifest, len(after), len(manifests))
            after.append(cluster.apply(manifest, force=force))
    return tuple(
        Applied(
            kind=manifest["kind"],
            name=manifest["metadata"]["name"],
            outcome="created"
            if old is None
            else "unchanged"
            if _lasting(old) == _lasting(new)
            else "configured",
        )
        for manifest, old, new in zip(manifests, before, after, strict=True)
    )


def _tell(report: Report, verb: str, manifest: Mapping[str, Any], done: int, total: int) -> None:
    name = manifest["metadata"]["name"]
    report(Step(message=f"{verb} {manifest['kind']} {name}", done=done, total=total))


def _lasting(found: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the server counts and what controllers report."""
    meta = {k: v for k, v in found["metadata"].items() if k not in _VOLATILE}
    return {**{k: v for k, v in found.items() if k != "status"}, "metadata": meta}
