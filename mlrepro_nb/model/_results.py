"""What went in as parameters, and what came out."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters by who was told them. Values are JSON (`plain`); secrets are masked."""

    papermill: dict[str, Any] = {}
    mlflow: dict[str, str] = {}


class CellOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One output of one execution, by digest.

    `data` maps a MIME type to the digest of its content; a stream is
    ``application/vnd.jupyter.stdout`` or ``…stderr``, an exception
    ``application/vnd.jupyter.error``.
    """

    execution: int
    cell: int | None = None
    output_type: str
    data: dict[str, str]


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the run logged to MLflow."""

    path: str
    """In the MLflow run's artifacts."""
    run_id: str
    digest: str | None = None
    size: int | None = None
    cell: int | None = None
    execution: int | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the run logged."""

    name: str
    uri: str
    model_id: str | None = None
    version: str | None = None
    flavor: str | None = None
    digest: str | None = None
    """``sha256:`` over the sorted paths and digests of the model's files."""
    path: str | None = None
    """Where its files are, relative to the repository, when they are on this machine."""
    answer: str | None = None
    """What it answered on its own input example when MLflow tried it, as it was logged: the body
    by MLflow's scoring protocol, JSON. None where MLflow did not, or the answer is long."""
    cell: int | None = None
    execution: int | None = None


Operator = Literal[">=", "<=", ">", "<", "==", "!="]


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a notebook expects of a metric (``%mlrepro expect``), and what the metric was.

    With neither limit nor delta it is a metric that who ran the notebook asked for.
    """

    metric: str
    operator: Operator | None = None
    limit: float | None = None
    delta: float | None = None
    """The smallest difference between runs that matters."""
    value: float | None = None
    """At the end of the run; None where it had no such metric, or one that is no number."""
    source: Literal["mlflow", "scrapbook", "variable"] | None = None
    problem: str | None = None
    """Why there is no value."""
    cell: int | None = None
    execution: int | None = None


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What came out."""

    status: Literal["ok", "error", "interrupted"] = "ok"
    error: str | None = None
    outputs: tuple[CellOutput, ...] = ()
    metrics: dict[str, float] = {}
    """Logged to MLflow."""
    scraps: dict[str, float] = {}
    """Numbers that were glued with scrapbook, or recorded with papermill of before."""
    variables: dict[str, float] = {}
    """Of the notebook's variables, those that something is expected of."""
    expectations: tuple[Expectation, ...] = ()
    models: tuple[Model, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    notebook: str | None = None
    """Digest of the blob that holds the executed notebook (headless runs)."""
    duration: float = 0.0
