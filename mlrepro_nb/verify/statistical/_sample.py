"""One run of a notebook with seeds of its own, and the metrics that it gave."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from mlrepro_nb.capture.metrics.watch import VARIABLE
from mlrepro_nb.execute import Limits, Nursery
from mlrepro_nb.metrics import Source, find
from mlrepro_nb.model import Expectation, Record, Report
from mlrepro_nb.store import Store
from mlrepro_nb.verify._reference import Reference, locate, raised, reference_cells
from mlrepro_nb.verify._rerun import Rerun, rerun
from mlrepro_nb.verify._surroundings import patience, surroundings
from mlrepro_nb.verify.differential import Held
from mlrepro_nb.verify.statistical._seeds import varying


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A metric in one run."""

    value: float | None = None
    source: Source | None = None
    problem: str | None = None
    """Why there is no value."""
    others: tuple[Source, ...] = ()
    """Where else there is one of that name, which is another number."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one run gave."""

    run: int
    metrics: dict[str, Measured] = {}
    expectations: tuple[Expectation, ...] = ()
    seeded: bool = False
    """Whether it drew nothing that its seeds do not give again."""
    known: tuple[str, ...] = ()
    """All metrics of its record."""
    record: str | None = None
    problem: str | None = None
    duration: float = 0.0
    notes: tuple[str, ...] = ()


def sample(
    target: str, *, run: int, metrics: Sequence[str], store: Store | None = None,
    kernel: str | None = None, timeout: float | None = None, total_timeout: float | None = None,
    notebook: Path | None = None, environment: Literal["current", "recorded"] = "current",
    data: Literal["current", "recorded"] = "current",
    commit: Literal["current", "recorded"] = "current",
    limits: Limits | None = None, nursery: Nursery | None = None, report: Report,
) -> Sample:  # fmt: skip
    """Run a notebook once, its seeds varied, and return what its metrics were.

    Raises
    ------
    MlreproError
        There is nothing to run, or nothing to run it with.
    """
    found = locate(target, store=store, notebook=notebook, outputs=None)
    with contextlib.ExitStack() as until:
        where = surroundings(
            found, nursery=nursery or until.enter_context(Nursery()), limits=limits or Limits(),
            environment=environment, data=data, commit=commit, report=report,
        )  # fmt: skip
        done = rerun(
            found, kernel=kernel, timeout=timeout, total=patience(found, total_timeout),
            report=report, surroundings=where, fresh=True,
            held=Held(variables={VARIABLE: "\n".join(metrics)}, startup=varying(run)),
        )  # fmt: skip
    problem = _problem(found, done)
    record = done.record
    if record is None:
        return Sample(
            run=run, duration=done.duration, notes=done.notes,
            problem=problem or next(iter(done.gaps), "the run was not recorded"),
        )  # fmt: skip
    record = msgspec.structs.replace(
        record, randomness=msgspec.structs.replace(record.randomness, variation=run),
        # An error that the run went over is none of the record's, which says how it ended.
        results=msgspec.structs.replace(record.results, status="error" if problem else "ok"),
    )  # fmt: skip
    results = record.results
    return Sample(
        run=run,
        metrics={name: measured(record, name) for name in metrics},
        expectations=results.expectations,
        seeded=is_seeded(record),
        known=tuple(sorted({*results.metrics, *results.scraps, *results.variables})),
        record=found.store.put(record) if found.store is not None else None,
        problem=problem,
        duration=done.duration,
        notes=done.notes,
    )


def measured(record: Record, name: str) -> Measured:
    """Return a metric of a record."""
    results = record.results
    expected = next((one for one in results.expectations if one.metric == name), None)
    found = find(results, name)
    if found is None or (expected is not None and expected.value is None):
        # What was logged last is no number: a scrap or a variable does not stand for it.
        problem, source = (expected.problem, expected.source) if expected else (None, None)
        return Measured(problem=problem, source=source)
    value, source = found
    elsewhere: tuple[tuple[Source, dict[str, float]], ...] = (
        ("scrapbook", results.scraps), ("variable", results.variables)
    )  # fmt: skip
    others = tuple(kind for kind, values in elsewhere if values.get(name, value) != value)
    return Measured(value=value, source=source, others=others)


def is_seeded(record: Record) -> bool:
    """Whether a run drew nothing that its seeds do not give again."""
    return "unseeded" not in record.randomness.cells.values()


def _problem(found: Reference, done: Rerun) -> str | None:
    """Return where a run failed."""
    if done.error is not None:
        where = "the parameters" if done.error.index is None else f"cell {done.error.index}"
        return f"{where}: {done.error.ename}: {done.error.evalue}"[:500]
    cells = reference_cells(found)
    for index, outputs in sorted(done.outputs.items()):
        error = raised(outputs)
        if error is not None and not (index in cells and cells[index].may_raise):
            return f"cell {index}: {error['ename']}: {error['evalue']}"[:500]
    return None
