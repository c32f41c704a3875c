"""Events about MLflow runs and models to parts of the record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlrepro_nb.capture.data.paths import relative
from mlrepro_nb.capture.secrets import mask, mask_values
from mlrepro_nb.model import Artifact, DataAccess, MlflowDataset, MlflowRun, Model

if TYPE_CHECKING:
    from mlrepro_nb.capture.cells._match import Cells
    from mlrepro_nb.capture.told import Told


class Runs(msgspec.Struct, frozen=True):
    """What the notebook did in MLflow."""

    runs: tuple[MlflowRun, ...]
    models: tuple[Model, ...]
    artifacts: tuple[Artifact, ...]
    metrics: dict[str, float]
    params: dict[str, str]


def assembled(told: Told, cells: Cells, root: Path | None, data: Sequence[DataAccess]) -> Runs:
    """Return the runs, what was logged to them, and the data of the record that it names."""
    runs: list[MlflowRun] = []
    metrics: dict[str, float] = {}
    params: dict[str, str] = {}
    for (run_id,), run in told.runs.items():
        runs.append(
            MlflowRun(
                run_id=run_id,
                experiment=run.get("experiment"),
                tracking_uri=_local_uri(run.get("tracking_uri"), root),
                cell=cells.index(run.get("order")),
                datasets=tuple(_dataset(one, told, root, data) for one in run.get("datasets", ())),
            )
        )
        # Several runs log the same names: the last run's are the notebook's result.
        metrics |= {k: v for k, v in (run.get("metrics") or {}).items() if _is_number(v)}
        params |= {k: str(v) for k, v in mask_values(run.get("params") or {}).items()}
    models = []
    for model in told.models.values():
        order = model.get("order")
        path = model.get("path")
        models.append(
            Model(
                name=str(model.get("name")),
                uri=str(model["uri"]),
                model_id=model.get("model_id"),
                version=model.get("version"),
                flavor=model.get("flavor"),
                digest=model.get("digest"),
                path=relative(path, root) if path else None,
                answer=model.get("answer"),
                cell=cells.index(order),
                execution=order,
            )
        )
    artifacts = tuple(
        Artifact(
            path=path,
            run_id=run_id,
            digest=artifact.get("digest"),
            size=artifact.get("size"),
            cell=cells.index(artifact.get("order")),
            execution=artifact.get("order"),
        )
        for (run_id, path), artifact in told.artifacts.items()
    )
    return Runs(tuple(runs), tuple(models), artifacts, metrics, params)


def _dataset(
    logged: dict[str, Any], told: Told, root: Path | None, data: Sequence[DataAccess]
) -> MlflowDataset:
    source = logged.get("source")
    content = None
    if source is not None:
        local = source.removeprefix("file://")
        absolute = os.path.join(told.start.get("cwd") or "/", local)  # noqa: PTH118
        place = relative(os.path.normpath(absolute), root) if "://" not in local else None
        named = {source, local, absolute, place} - {None}
        for access in data:
            if {access.path, access.repo_path, access.real} & named:
                content = access.digest
                break
        source = mask(place or source)
    return MlflowDataset(
        name=mask(str(logged["name"])),
        digest=str(logged["digest"]),
        source=source,
        context=logged.get("context"),
        content=content,
    )


def _is_number(value: Any) -> bool:
    # RFC 8785 has no NaN and no infinities; a metric that is one has no value.
    return isinstance(value, int | float) and value == value and abs(value) != float("inf")


def _local_uri(uri: str | None, root: Path | None) -> str | None:
    if uri is None:
        return None
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "", uri
    path = rest[1:] if scheme == "sqlite" and rest.startswith("//") else rest
    if scheme in ("sqlite", "file", "") and Path(path).is_absolute():
        inside = relative(path, root)
        return f"{scheme}:///{inside}" if inside and scheme == "sqlite" else inside or uri
    return mask(uri)
