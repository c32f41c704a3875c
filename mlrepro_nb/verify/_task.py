"""One notebook to verify, and what came of it: values that travel between processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.execute import Limits, Nursery
from mlrepro_nb.model import REPRODUCED, Report, Verification, silent
from mlrepro_nb.store import Store
from mlrepro_nb.verify._evidence import CellEvidence, collect
from mlrepro_nb.verify._verify import verify
from mlrepro_nb.verify.statistical._sample import Sample, sample


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notebook to verify, and how; the fields are the parameters of `verify`."""

    target: str
    output: str | None = None
    kernel: str | None = None
    timeout: float | None = None
    total_timeout: float | None = None
    notebook: str | None = None
    reference: str | None = None
    rtol: float = 1e-9
    atol: float = 1e-12
    sanitize: str | None = None
    lax: bool = False
    ignore: tuple[str, ...] = ()
    mocks: bool = False
    replay: bool = False
    restore: bool = False
    rehash: bool = False
    environment: Literal["current", "recorded", "image"] = "current"
    data: Literal["current", "recorded"] = "current"
    commit: Literal["current", "recorded"] = "current"
    limits: Limits = Limits()
    reruns: int | None = None
    bisecting: bool = False
    exclude_newer: str | None = None
    index: bool | None = None
    evidence: bool = False
    """Whether the outputs that differ are wanted, too."""
    store: str | None = None
    """Folder of the store, where it is not the project's."""
    run: int | None = None
    """One of several runs with varied seeds, of which only the metrics are wanted."""
    metrics: tuple[str, ...] = ()
    """Which metrics."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a notebook could not be verified at all."""

    message: str
    remedy: str = ""
    exit_code: int = 3


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task: a verification, or why there is none."""

    target: str
    verification: Verification | None = None
    problem: Problem | None = None
    evidence: tuple[CellEvidence, ...] = ()
    sample: Sample | None = None
    """What a run with varied seeds gave."""

    @property
    def notebook(self) -> str:
        """The notebook's name."""
        return self.verification.notebook if self.verification else self.target

    @property
    def exit_code(self) -> int:
        """What `mlrepro verify` exits with for this notebook alone."""
        if self.verification is None:
            return self.problem.exit_code if self.problem else 3
        return 0 if self.verification.verdict in REPRODUCED else 1


def perform(task: Task, *, nursery: Nursery | None = None, report: Report = silent) -> Outcome:
    """Verify one notebook; what goes wrong is part of the outcome.

    Parameters
    ----------
    task : Task
        The notebook.
    nursery : Nursery, optional
        Where kernels come from.
    report : callable
        Is told the progress.
    """
    found: list[CellEvidence] = []

    def observe(case: Any) -> None:
        if task.evidence:
            found.extend(collect(case))

    try:
        if task.environment == "image":
            from mlrepro_nb.verify._image import verify_in_image

            done = verify_in_image(task.target, report=report)
        elif task.run is not None:
            return Outcome(target=task.target, sample=sample(
                task.target, run=task.run, metrics=task.metrics, store=_store(task.store),
                kernel=task.kernel, timeout=task.timeout, total_timeout=task.total_timeout,
                notebook=_path(task.notebook), environment=task.environment, data=task.data,
                commit=task.commit, limits=task.limits, nursery=nursery, report=report,
            ))  # fmt: skip
        else:
            done = verify(
                task.target, store=_store(task.store), output=_path(task.output),
                kernel=task.kernel, timeout=task.timeout,
                total_timeout=task.total_timeout, notebook=_path(task.notebook),
                reference=_path(task.reference), rtol=task.rtol, atol=task.atol,
                sanitize=_path(task.sanitize), lax=task.lax,
                ignore=task.ignore, mocks=task.mocks, replay=task.replay,
                restore=task.restore, rehash=task.rehash, environment=task.environment,
                data=task.data, commit=task.commit, limits=task.limits, nursery=nursery,
                reruns=task.reruns, bisecting=task.bisecting,
                exclude_newer=task.exclude_newer, index=task.index, observe=observe, report=report,
            )  # fmt: skip
    except MlreproError as error:
        problem = Problem(message=error.message, remedy=error.remedy, exit_code=error.exit_code)
        return Outcome(target=task.target, problem=problem)
    except Exception as error:  # noqa: BLE001 - one notebook must not cost the others' verdicts
        return Outcome(target=task.target, problem=Problem(
            message=f"mlrepro-nb itself failed: {type(error).__name__}: {error}"[:500],
            remedy="Report it, with the notebook: this is never the notebook's fault.",
        ))  # fmt: skip
    return Outcome(target=task.target, verification=done, evidence=tuple(found))


def _store(folder: str | None) -> Store | None:
    return None if folder is None else Store(Path(folder))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
