"""What an image's labels or a pod's annotations say, where the store does not have it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from mlrepro_nb.lineage._documents import draw_commit, name_record
from mlrepro_nb.lineage.graph import Graph
from mlrepro_nb.model import short


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The chain in short, as it travels with an image or a workload."""

    record: str | None = None
    notebook: str | None = None
    commit: str | None = None
    source: str | None = None
    run: str | None = None
    cell: str | None = None
    data: dict[str, str] = {}


def from_labels(labels: Mapping[str, str]) -> Told:
    """Read an image's labels."""
    return Told(
        record=_digest(labels.get("io.mlrepro.record")),
        notebook=labels.get("io.mlrepro.notebook") or None,
        commit=labels.get("org.opencontainers.image.revision") or None,
        source=labels.get("org.opencontainers.image.source") or None,
        run=labels.get("io.mlrepro.run") or None,
        cell=labels.get("io.mlrepro.cell") or None,
        data=_files(labels.get("io.mlrepro.data")),
    )


def from_annotations(annotations: Mapping[str, str]) -> Told:
    """Read a workload's annotations."""
    return Told(
        record=_digest(annotations.get("mlrepro.io/record")),
        notebook=annotations.get("mlrepro.io/notebook") or None,
        commit=annotations.get("mlrepro.io/commit") or None,
    )


def draw_told(graph: Graph, told: Told, whose: str) -> str | None:
    """Draw what was told as missing nodes; return the one nearest to the teller.

    Nothing of it is in the store, and the notes say so.
    """
    record = name_record(graph, told.record) if told.record else None
    if told.record:
        graph.note(
            f"{whose} names record {short(told.record)}, which is not in this store: "
            "what follows is what it says itself."
        )
    notebook = commit = None
    if told.notebook:
        notebook = graph.add(
            f"notebook:{told.notebook}",
            "entity",
            "notebook",
            told.notebook,
            present=False,
            path=told.notebook,
        )
    if told.commit:
        commit = draw_commit(graph, told.commit, told.source, None, present=False)
    if notebook and commit:
        graph.join(notebook, "wasDerivedFrom", commit)
    nearest = record or notebook or commit
    if nearest is None:
        return None
    doer = None
    if told.cell:
        doer = graph.add(
            f"cell:{told.record or whose}#{told.cell}",
            "activity",
            "cell",
            f"Cell {told.cell}" if told.cell.isdecimal() else told.cell,
            "trained the model",
            present=False,
            **({"index": int(told.cell)} if told.cell.isdecimal() else {"name": told.cell}),
        )
        if notebook:
            graph.join(doer, "used", notebook)
        graph.join(nearest, "wasGeneratedBy", doer)
    elif record and (notebook or commit):
        graph.join(record, "wasDerivedFrom", notebook or commit or "")
    if told.run:
        run = graph.add(
            f"run:{told.run}",
            "activity",
            "run",
            short(told.run),
            "MLflow",
            present=False,
            run_id=told.run,
        )
        if doer:
            graph.join(run, "wasInformedBy", doer)
        graph.join(nearest, "wasGeneratedBy", run)
    for path, digest in sorted(told.data.items()):
        file = graph.add(
            f"file:{digest}",
            "entity",
            "data",
            path,
            short(digest),
            present=False,
            path=path,
            digest=digest,
        )
        if doer:
            graph.join(doer, "used", file)
        else:
            graph.join(nearest, "wasDerivedFrom", file)
    return nearest


def _digest(text: str | None) -> str | None:
    return text if text and text.startswith("sha256:") else None


def _files(text: str | None) -> dict[str, str]:
    try:
        return msgspec.convert(json.loads(text), dict[str, str]) if text else {}
    except (ValueError, msgspec.ValidationError):
        return {}
