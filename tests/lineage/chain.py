"""A whole chain made by hand: two notebooks, a model, an image, a rollout."""

from __future__ import annotations

from typing import Any, NamedTuple

from mlrepro_nb.model import (
    Cause,
    CellVerdict,
    Code,
    DataAccess,
    Image,
    MlflowRun,
    Model,
    Origin,
    Record,
    Results,
    Rollout,
    Verification,
)
from mlrepro_nb.store import Store
from tests.records import a_cell, a_record

COMMIT = "3f2c91ab5e6f708192a3b4c5d6e7f8091a2b3c4d"
RAW, CLEAN = f"blake3:{'1a' * 32}", f"blake3:{'2b' * 32}"
RUN = "9d" * 16
MODEL = f"sha256:{'c0' * 32}"
MANIFEST, IMAGE_ID = f"sha256:{'e1' * 32}", f"sha256:{'f2' * 32}"
REPOSITORY = "registry.example/team/wine"


class Chain(NamedTuple):
    """Digests of the documents."""

    clean: str
    train: str
    verification: str
    image: str
    rollout: str


def origin(start: int, **fields: Any) -> Origin:
    """Return when and by whom, `start` minutes into the day."""
    return Origin(
        **{
            "mode": "headless", "who": "ada", "tool": "mlrepro-nb 0",
            "started": f"2026-11-23T10:{start:02}:00Z", "ended": f"2026-11-23T10:{start:02}:30Z",
        } | fields
    )  # fmt: skip


def cleaning(start: int = 0, **fields: Any) -> Record:
    """Return the record of the notebook that writes the table."""
    return a_record(
        **{
            "code": Code(
                notebook="notebooks/clean.ipynb", commit=COMMIT, branch="main",
                cells=(a_cell(0, "import pandas as pd"), a_cell(1, "wines = pd.read_csv(raw)"),
                       a_cell(2, "wines.to_parquet('data/wine.parquet')")),
            ),
            "data": (
                DataAccess(path="../data/raw.csv", repo_path="data/raw.csv", digest=RAW, size=9,
                           access="read", cell=1, execution=1, tracked=True),
                DataAccess(path="../data/wine.parquet", repo_path="data/wine.parquet", digest=CLEAN,
                           size=9_000, access="write", cell=2, execution=2),
            ),
            "results": Results(duration=1.25),
            "lineage": origin(start),
        } | fields
    )  # fmt: skip


def training(start: int = 10, **fields: Any) -> Record:
    """Return the record of the notebook that trains."""
    return a_record(
        **{
            "code": Code(
                notebook="notebooks/train.ipynb", commit=COMMIT, branch="main",
                remote="https://git.example/wine.git",
                cells=(a_cell(0, "import pandas as pd"), a_cell(1, "wines = pd.read_parquet(p)"),
                       a_cell(2, "wines.head()"), a_cell(3, "forest.fit(x, y)", name="train"),
                       a_cell(4, "mlflow.sklearn.log_model(forest, name='wine-forest')")),
            ),
            "data": (
                DataAccess(path="../data/wine.parquet", repo_path="data/wine.parquet", digest=CLEAN,
                           size=9_000, access="read", cell=1, execution=1),
            ),
            "results": Results(
                metrics={"accuracy": 0.978}, duration=83.0,
                models=(Model(name="wine-forest", uri="models:/m-77", model_id="m-77", version="3",
                              flavor="sklearn", digest=MODEL, cell=4, execution=4),),
            ),
            "lineage": origin(start, runs=(MlflowRun(run_id=RUN, experiment="wine", cell=4),)),
        } | fields
    )  # fmt: skip


def image_of(record: str, **fields: Any) -> Image:
    """Return a pushed service image."""
    return Image(
        **{
            "record": record, "notebook": "notebooks/train.ipynb", "image_kind": "service",
            "id": IMAGE_ID, "digest": MANIFEST, "repository": REPOSITORY,
            "tags": ("1.2.0", COMMIT[:12], "build-7"), "base": f"python@sha256:{'aa' * 32}",
            "commit": COMMIT, "dirty": False, "version": "1.2.0", "build_id": "7",
            "containerfile": f"sha256:{'bb' * 32}", "lock": f"sha256:{'dd' * 32}", "model": MODEL,
            "created": "2026-11-23T10:30:00Z",
        } | fields
    )  # fmt: skip


def rollout_of(record: str | None, **fields: Any) -> Rollout:
    """Return a finished rollout."""
    return Rollout(
        **{
            "image": f"{REPOSITORY}@{MANIFEST}", "record": record, "name": "wine",
            "namespace": "prod", "workload": "Deployment", "manifests": f"sha256:{'ee' * 32}",
            "context": "prod-eu", "revision": 4, "status": "complete",
            "created": "2026-11-23T10:40:00Z",
        } | fields
    )  # fmt: skip


def verification_of(record: str, **fields: Any) -> Verification:
    """Return a verification that found something."""
    cause = Cause(kind="unseeded-randomness", cell=3, subject="numpy", evidence="e", fix="f")
    return Verification(
        **{
            "verdict": "consistent", "notebook": "notebooks/train.ipynb", "record": record,
            "cells": (CellVerdict(index=3, verdict="consistent", cause=cause),),
            "causes": (cause,), "created": "2026-11-23T10:20:00Z",
        } | fields
    )  # fmt: skip


def put_chain(store: Store) -> Chain:
    """Put the whole chain into a store."""
    clean, train = store.put(cleaning()), store.put(training())
    return Chain(
        clean, train, store.put(verification_of(train)), store.put(image_of(train)),
        store.put(rollout_of(train)),
    )  # fmt: skip
