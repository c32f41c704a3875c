"""Runs a notebook several times, and says whether its metrics are what they were."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal

import msgspec

from mlrepro_nb.errors import MlreproError, UsageError
from mlrepro_nb.execute import Limits
from mlrepro_nb.metrics import expectation, find
from mlrepro_nb.model import (
    Expectation,
    MetricVerdict,
    Record,
    Report,
    Sampled,
    Step,
    Verification,
    silent,
    timestamp,
)
from mlrepro_nb.store import Store
from mlrepro_nb.verify._many import Update, verify_many
from mlrepro_nb.verify._reference import Reference, locate
from mlrepro_nb.verify._task import Outcome, Task
from mlrepro_nb.verify.statistical._judge import Drawn, judge, overall
from mlrepro_nb.verify.statistical._reference import References, references
from mlrepro_nb.verify.statistical._sample import Measured, Sample, is_seeded, measured

_EXPECT = re.compile(r"^[ \t]*%mlrepro[ \t]+expect[ \t]+(.+?)[ \t]*$", re.MULTILINE)
_ENOUGH = 5
"""Runs of fewer than this are seldom enough to tell anything."""


def verify_runs(
    target: str | Path,
    *,
    runs: int,
    deltas: Mapping[str, float] = {},
    store: Store | None = None,
    jobs: int | None = None,
    kernel: str | None = None,
    timeout: float | None = None,
    total_timeout: float | None = None,
    notebook: Path | None = None,
    environment: Literal["current", "recorded"] = "current",
    data: Literal["current", "recorded"] = "current",
    commit: Literal["current", "recorded"] = "current",
    limits: Limits | None = None,
    report: Report = silent,
) -> Verification:
    """Run a notebook several times with varied seeds, and say whether its metrics are the same.

    The reference is the notebook's record and all earlier runs of the same code, data,
    parameters and packages that the store has.

    Parameters
    ----------
    target : str or Path
        A notebook or a record, as `verify` takes it.
    runs : int
        How often.
    deltas : mapping
        By metric, the smallest difference that matters; the notebook may declare it itself
        (``%mlrepro expect accuracy delta 0.01``).
    store : Store, optional
        Where records are; by default the project's.
    jobs : int, optional
        How many runs at a time; by default one a core.
    kernel, timeout, total_timeout, notebook, environment, data, commit, limits
        As `verify` has them.

    Raises
    ------
    UsageError
        No delta is declared, or there is no record of a run that succeeded.
    NotebookError, NotFoundError, KernelError, StoreError
        There is nothing to run, or nothing to run it with.
    """
    begun = time.monotonic()
    if runs < 1:
        raise UsageError(f"{runs} runs are none.", "Say how many: --runs 10")
    found = locate(target, store=store, notebook=notebook, outputs=None)
    if found.record is None:
        raise UsageError(
            f"{found.name} has no record that runs could be held against.",
            "Record it first: mlrepro record NOTEBOOK",
        )
    if found.record.results.status != "ok":
        raise UsageError(
            f"The recorded run of {found.name} failed: its metrics are no reference.",
            "Record a run that succeeds: mlrepro record NOTEBOOK",
        )
    expected = _expected(found, deltas)
    _declared(expected, found)
    known = references(found)
    tasks = [
        Task(
            target=str(target), run=number, metrics=tuple(expected), kernel=kernel,
            timeout=timeout, total_timeout=total_timeout, limits=limits or Limits(),
            notebook=None if notebook is None else str(notebook), environment=environment,
            data=data, commit=commit, store=None if store is None else str(store.root),
        )
        for number in range(1, runs + 1)
    ]  # fmt: skip
    samples = _run(tasks, jobs, report)
    good = [one for one in samples if one.problem is None]
    expected = _expected(found, deltas, (e for one in good for e in one.expectations))
    metrics = _judged(expected, known, good)
    failed = len(samples) - len(good)
    result = Verification(
        verdict=overall(metrics, runs=len(samples), failed=failed),
        notebook=found.name,
        record=found.digest,
        metrics=tuple(metrics),
        runs=tuple(
            Sampled(run=s.run, record=s.record, problem=s.problem, duration=s.duration)
            for s in samples
        ),
        notes=tuple(dict.fromkeys(_notes(known, samples, expected, metrics))),
        created=timestamp(),
        duration=round(time.monotonic() - begun, 3),
    )
    if found.store is not None:
        found.store.put(result)
    return result


def _expected(
    found: Reference, deltas: Mapping[str, float], seen: Iterable[Expectation] = ()
) -> dict[str, Expectation]:
    """Return what is expected: as the record has it, as the notebook says now, as is asked for."""
    assert found.record is not None
    expected = {one.metric: one for one in found.record.results.expectations}
    written: list[Expectation] = []
    for cell in found.nb.cells:
        for line in _EXPECT.findall(cell.source) if cell.cell_type == "code" else ():
            if "{" not in line and "$" not in line:
                try:
                    written.append(expectation(line))
                except MlreproError:
                    continue  # the run says what is wrong with it
    for one in (*written, *seen):
        before = expected.get(one.metric, one)
        if one.delta is not None or one.operator is not None:
            expected[one.metric] = one
        else:
            expected[one.metric] = before
    for name, delta in deltas.items():
        before = expected.get(name, Expectation(metric=name))
        expected[name] = msgspec.structs.replace(before, delta=delta)
    return expected


def _declared(expected: Mapping[str, Expectation], found: Reference) -> None:
    """Insist that somebody says what difference matters, before anything runs."""
    if any(one.delta is not None for one in expected.values()):
        return
    assert found.record is not None
    results = found.record.results
    names = sorted({*results.metrics, *results.scraps, *results.variables, *expected})
    said = "It has no metric yet: log one to MLflow, or expect one of a variable."
    if names:
        name = next((n for n in names if expected.get(n)), names[0])
        limit = expected[name].limit if name in expected else None
        value = find(results, name)
        apart = abs(value[0] - limit) if value is not None and limit is not None else 0.0
        hint = (
            f" A difference of {apart:.3g} would take {name} to its limit: less than that."
            if apart else ""
        )  # fmt: skip
        said = f"Its metrics: {', '.join(names[:12])}.{hint}"
    raise UsageError(
        "Runs that chance is part of are compared within a delta, the smallest difference that "
        f"matters, and none is declared. {said}",
        "In the notebook: %mlrepro expect NAME delta 0.01; or here: --delta NAME=0.01",
    )


def _run(tasks: Sequence[Task], jobs: int | None, report: Report) -> list[Sample]:
    """Run all; what fails is a sample of its own."""
    total, done = len(tasks), dict[int, Sample]()
    report(Step(message=f"run 1 of {total}", done=0, total=total))

    def told(update: Update) -> None:
        if update.outcome is not None:
            one = done[update.index] = _sampled(tasks[update.index], update.outcome)
            if one.problem is not None:
                report(Step(message=f"run {one.run} of {total} failed: {one.problem}", log=True))
            what = f"{len(done)} of {total} runs done"
            report(Step(message=what, done=len(done), total=total))
        elif update.step is not None and update.step.log:
            report(update.step)

    try:
        verify_many(tasks, jobs=jobs, report=told)
    except KeyboardInterrupt:
        kept = sum(one.record is not None for one in done.values())
        said = f"interrupted: {len(done)} of {total} runs were done"
        if kept:
            said += f"; the records of {kept} are kept, and count as reference from now on"
        report(Step(message=said, log=True))
        raise
    return [done[index] for index in sorted(done)]


def _sampled(task: Task, outcome: Outcome) -> Sample:
    if outcome.sample is not None:
        return outcome.sample
    problem = outcome.problem.message if outcome.problem else "it ended without an outcome"
    return Sample(run=task.run or 0, problem=problem)


def _judged(
    expected: Mapping[str, Expectation], known: References, samples: Sequence[Sample]
) -> list[MetricVerdict]:
    if not samples:
        return []
    own, *others = known.records
    found = []
    for name, one in sorted(expected.items()):
        earlier = [
            Drawn(metric=measured(r, name), variation=_variation(r), rerun=_is_rerun(r))
            for r in others
        ]
        rerun = [
            Drawn(metric=_metric(s, name), variation=s.run if s.seeded else None, rerun=True)
            for s in samples
        ]
        if (verdict := judge(one, measured(own, name), earlier, rerun)) is not None:
            found.append(verdict)
    return found


def _metric(of: Sample, name: str) -> Measured:
    """Return a metric of a run, also one of which only the run itself said that it counts."""
    late = next((e for e in of.expectations if e.metric == name), Expectation(metric=name))
    other = Measured(value=late.value, source=late.source, problem=late.problem)
    return of.metrics.get(name, other)


def _is_rerun(record: Record) -> bool:
    return record.lineage.mode == "verify"


def _variation(record: Record) -> int | None:
    return record.randomness.variation if is_seeded(record) else None


def _notes(
    known: References, samples: Sequence[Sample], expected: Mapping[str, Expectation],
    metrics: Sequence[MetricVerdict],
) -> Iterable[str]:  # fmt: skip
    for one in samples:
        if one.problem is not None:
            yield f"Run {one.run} failed: {one.problem}"
    yield from known.notes
    good = [one for one in samples if one.problem is None]
    if good and len(samples) > len(good):
        yield "The runs that did not fail are a selection: more than inconclusive is not said."
    if 1 < len(samples) < _ENOUGH and any(one.verdict == "inconclusive" for one in metrics):
        yield f"{len(samples)} runs seldom tell anything: take {_ENOUGH} at least, or 10."
    for found in metrics:
        if len(found.rerun) > 1 and len(set(found.rerun)) == 1:
            yield (
                f"All runs gave the same {found.metric}: nothing of it hangs on chance, or on "
                "seeds that could be varied."
            )
        if found.met is not None and 0 < found.met < len(found.rerun):
            yield (
                f"{found.met} of {len(found.rerun)} runs have {found.metric} {found.operator} "
                f"{found.limit:g}; their mean is {fmean(found.rerun):.6g}."
            )
    for name in expected:
        others = next((m.others for s in good if (m := s.metrics.get(name)) and m.others), ())
        if others:
            also = " and a ".join("scrap" if kind == "scrapbook" else kind for kind in others)
            yield f"{name} is also a {also} of another value, which does not count."
    judged = {name for name, one in expected.items() if one.delta or one.operator}
    left = sorted({name for one in good for name in one.known} - judged)
    if left:
        yield f"Not judged, since no delta is declared: {', '.join(left[:12])}."
    yield from (note for one in samples for note in one.notes)
