"""Telling MLflow of a record: its digest, itself, its files and its seeds."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from mlrepro_nb.capture import mask
from mlrepro_nb.connect import mlflow
from mlrepro_nb.model import DataAccess, Record, canonical

_MOST = 200
"""Datasets that a run is told of."""


def tell_mlflow(made: Record, digest: str, root: Path | None, *, timeout: float) -> list[str]:
    """Log a record to its MLflow runs; return what went wrong, a sentence each.

    The record itself is kept already: a tracking server that is down or slow
    takes nothing from it, and is waited for no longer than `timeout` seconds.
    """
    wrong: list[str] = []
    if not made.lineage.runs:
        return wrong
    done = threading.Event()

    def tell() -> None:
        record = canonical(made)
        for run in made.lineage.runs:
            try:
                mlflow.log_record(
                    run.run_id,
                    mlflow.absolute_uri(run.tracking_uri, root),
                    digest=digest,
                    record=record,
                    datasets=datasets(made),
                    params=params(made),
                )
            except Exception as error:  # noqa: BLE001, PERF203 - MLflow and its stores raise anything
                wrong.append(f"MLflow run {run.run_id} was not told: {_said(error)}")
        done.set()

    threading.Thread(target=tell, name="mlrepro-tell", daemon=True).start()
    if not done.wait(timeout):
        return [*wrong, f"MLflow did not answer in {timeout:g} seconds; the record is kept."]
    return wrong


def datasets(made: Record) -> list[mlflow.Dataset]:
    """Return the inputs of a record as MLflow is told of them."""
    inputs = [a for a in made.data if a.access == "read" and a.digest and not _is_made(a, made)]
    found = []
    for access in inputs[:_MOST]:
        assert access.digest is not None
        tags = {"mlrepro.digest": access.digest, "mlflow.data.context": "mlrepro"}
        optional = {
            "mlrepro.md5": access.md5, "mlrepro.rows": access.rows,
            "mlrepro.version": access.version, "mlrepro.dvc": access.dvc and access.dvc.file,
            "mlrepro.files": access.files and str(access.files),
        }  # fmt: skip
        tags |= {name: value for name, value in optional.items() if value}
        name = access.repo_path or access.path
        found.append(
            mlflow.Dataset(
                name=name,
                digest=f"b3:{access.digest.partition(':')[2][:32]}",
                source=name,
                tags=tags,
            )
        )
    return found


def params(made: Record) -> dict[str, str]:
    """Return the seeds of a record, and what its run took, as MLflow's parameters."""
    found = {f"mlrepro.seed.{_name(s.generator)}": mask(s.value) for s in made.randomness.seeds}
    peak = made.hardware.peak
    found["mlrepro.duration_s"] = f"{made.results.duration:.3f}"
    if peak.memory:
        found["mlrepro.peak_memory_mib"] = str(peak.memory >> 20)
    if peak.gpu_memory:
        found["mlrepro.peak_gpu_memory_mib"] = str(peak.gpu_memory >> 20)
    return found


def _is_made(access: DataAccess, made: Record) -> bool:
    """Return whether the run wrote a file before it read it."""
    # A record lists its files in the order of their first use.
    return any(
        w.access == "write" and (w.repo_path or w.path) == (access.repo_path or access.path)
        for w in made.data[: made.data.index(access)]
    )


def _name(text: str) -> str:
    """Return a text with the characters that MLflow takes in names."""
    return re.sub(r"[^\w\-. :/]", "_", text, flags=re.ASCII)[:200]


def _said(error: Exception) -> str:
    first = str(error).partition("\n")[0][:200]
    return mask(f"{type(error).__name__}: {first}" if first else type(error).__name__)
