"""Who made it, when, with what."""

from __future__ import annotations

from typing import Literal

import msgspec


class MlflowDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that the notebook logged as an input of an MLflow run."""

    name: str
    digest: str
    """MLflow's own: of a sample, so no proof that the data are the same."""
    source: str | None = None
    """Path or URL, without credentials; None for data that the code made."""
    context: str | None = None
    """``training``…"""
    content: str | None = None
    """`DataAccess.digest` of the file, where the run read or wrote it."""


class MlflowRun(msgspec.Struct, frozen=True, kw_only=True):
    """The MLflow run that the notebook logged to."""

    run_id: str
    experiment: str | None = None
    tracking_uri: str | None = None
    """Without credentials; relative to the repository when it is a local file."""
    cell: int | None = None
    datasets: tuple[MlflowDataset, ...] = ()


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who made the record, when, with what, from what."""

    mode: Literal["interactive", "headless", "verify"]
    who: str
    started: str
    ended: str
    tool: str
    """``mlrepro-nb <version>``."""
    runs: tuple[MlflowRun, ...] = ()
    parent: str | None = None
    """Digest of the record that this run repeats."""
    capture: Literal["complete", "partial"] = "complete"
    gaps: tuple[str, ...] = ()
    """What could not be captured, one sentence each."""
