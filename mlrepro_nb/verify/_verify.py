"""`verify`: from a target to a verdict."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from mlrepro_nb import stamp
from mlrepro_nb.errors import UsageError
from mlrepro_nb.execute import Limits, Nursery, missing_kernel, portable
from mlrepro_nb.model import (
    Report,
    Step,
    Trial,
    Verification,
    silent,
    timestamp,
)
from mlrepro_nb.store import Store, write_atomically
from mlrepro_nb.verify._dated import dated_environment
from mlrepro_nb.verify._expected import with_expectations
from mlrepro_nb.verify._judge import (
    besides,
    distinct,
    hold_against,
    overall,
    repeat,
    sameness,
    verdict_of,
)
from mlrepro_nb.verify._kernel import without_kernel
from mlrepro_nb.verify._reference import (
    Reference,
    check_output,
    locate,
    reference_cells,
)
from mlrepro_nb.verify._rerun import Rerun, recorded_entropy, rerun
from mlrepro_nb.verify._surroundings import Surroundings, patience, surroundings
from mlrepro_nb.verify._variants import Variants
from mlrepro_nb.verify.attribute import Case, attribute, needs_second_run, without_effect
from mlrepro_nb.verify.compare import (
    Context,
    widget_states,
)
from mlrepro_nb.verify.differential import Budget, Held, bisect, investigate
from mlrepro_nb.verify.sanitize import read_sanitize

_RERUNS = 6
_RERUNS_SECONDS = 600.0


def verify(
    target: str | Path,
    *,
    store: Store | None = None,
    output: Path | None = None,
    kernel: str | None = None,
    timeout: float | None = None,
    total_timeout: float | None = None,
    notebook: Path | None = None,
    reference: Path | None = None,
    rtol: float = 1e-9,
    atol: float = 1e-12,
    sanitize: Path | None = None,
    lax: bool = False,
    ignore: Collection[str] = (),
    mocks: bool = False,
    replay: bool = False,
    restore: bool = False,
    rehash: bool = False,
    environment: Literal["current", "recorded"] = "current",
    data: Literal["current", "recorded"] = "current",
    commit: Literal["current", "recorded"] = "current",
    limits: Limits | None = None,
    nursery: Nursery | None = None,
    reruns: int | None = None,
    bisecting: bool = False,
    exclude_newer: str | None = None,
    index: bool | None = None,
    requirements: Sequence[str] = (),
    observe: Callable[[Case], object] | None = None,
    report: Report = silent,
) -> Verification:
    """Run a notebook again in a fresh kernel and say whether it gives the same.

    Neither the notebook nor any other file of the project is changed: it runs in
    a scratch copy.

    Parameters
    ----------
    target : str or Path
        A notebook, the digest of a record or the beginning of one, or a JSON
        file that holds a record.
    store : Store, optional
        Where records are; by default the project's, and none outside git.
    output : Path, optional
        Where to write the executed copy.
    kernel : str, optional
        Kernelspec to use instead of the notebook's.
    timeout, total_timeout : float, optional
        Seconds that one cell, and the notebook, may take.
    notebook : Path, optional
        The notebook of a record, where it is not at the recorded place.
    reference : Path, optional
        An executed notebook whose outputs are the reference.
    rtol, atol : float
        Floats agree within ``atol + rtol`` times the greater magnitude of the two.
    sanitize : Path, optional
        A file of regular expressions and what to put in place of what they match, before
        outputs are compared, as ``pytest --nbval --nbval-sanitize-with`` reads it.
    lax : bool
        Compare the outputs of those cells only that are marked with ``NBVAL_CHECK_OUTPUT``.
    ignore : collection of str
        Streams and MIME types that are not compared, nbval's ``skip_compare``.
    mocks : bool
        Run after each cell what nbmake would: its metadata's ``mock`` and ``post_cell_execute``.
    replay : bool
        Feed the entropy of the recorded run back, so that what it drew from
        unseeded generators is drawn again.
    restore : bool
        Start from the inputs as the recorded run read them, where it overwrote
        them itself and they were kept.
    rehash : bool
        Read every file again to see whether it changed, also those whose status
        says that they did not.
    environment : str
        Where ``recorded``, run in an environment that is built from the record's lock.
    data : str
        Where ``recorded``, start from the inputs that the recorded run read; what cannot
        be had is in the verification's notes.
    commit : str
        Where ``recorded``, run in a working copy of the record's commit.
    limits : Limits, optional
        What the notebook may take.
    nursery : Nursery, optional
        Where kernels come from; by default it is made for this one notebook.
    reruns : int, optional
        How many more runs there may be to tell the causes of what differs; by default as
        many as take ten minutes, and six at most.
    bisecting : bool
        Where a rerun confirms that another version of a library is the cause, find the release
        that changed it, with more runs.
    exclude_newer : str, optional
        Run in an environment of what the notebook imports and its project requires as the
        package index was at this ISO date, or with ``auto`` when the notebook was last changed.
    index : bool, optional
        Whether the package index may be asked, and installed from, for another environment or a
        fix; by default unless the notebook is to run without a network.
    requirements : sequence of str, optional
        What is installed for the runs over the environment, which stays as it is.
    observe : callable, optional
        Is given the cells with their outputs, once they are judged.

    Raises
    ------
    NotebookError, NotFoundError, UsageError, KernelError, StoreError
        There is nothing to run, or nothing to run it with.
    """
    begun = time.monotonic()
    told = Context(
        rtol=rtol, atol=atol, sanitize=read_sanitize(sanitize) if sanitize else (),
        ignore=frozenset(ignore),
    )  # fmt: skip
    asks = index if index is not None else not (limits or Limits()).offline
    found = locate(target, store=store, notebook=notebook, outputs=reference)
    check_output(output, found)
    with contextlib.ExitStack() as until:
        where = surroundings(
            found, nursery=nursery or until.enter_context(Nursery()), limits=limits or Limits(),
            environment=environment, data=data, commit=commit, report=report,
        )  # fmt: skip
        if exclude_newer is not None:
            if environment == "recorded":
                raise UsageError(
                    "The recorded environment has its own versions: --exclude-newer is for "
                    "notebooks that have none.", "Drop one of the two.",
                )  # fmt: skip
            where = dated_environment(found, where, exclude_newer, report, index=asks)
        variants = until.enter_context(
            Variants(found, where, kernel=kernel, report=report, index=asks)
        )
        pins: Sequence[str] = where.pins
        if requirements:
            variables, pins = variants.require(requirements)
            where = replace(where, variables=variables)
        cells = reference_cells(found, lax=lax)
        absent = missing_kernel(found.nb) if not (kernel or where.kernel) else None
        if absent is not None:
            return without_kernel(found, cells, absent)
        run_again = functools.partial(
            rerun, found, kernel=kernel, timeout=timeout, total=patience(found, total_timeout),
            report=report, surroundings=where, restore=restore, mocks=mocks,
            fed=recorded_entropy(found, report) if replay else None,
        )  # fmt: skip
        first = run_again()
        variants.now = first.record.environment if first.record else None
        case = Case(
            cells, record=found.record, rerun=first.record, root=found.root, folder=found.folder,
            notebook=found.path, prefix=first.prefix, store=found.store, rehash=rehash,
            language=_written_by(found.nb), asks=asks,
            installed=pins, at_commit=commit == "recorded",
            in_image=bool(os.environ.get("MLREPRO_IMAGE")),
        )  # fmt: skip
        before = widget_states(found.outputs.metadata if found.outputs else found.nb.metadata)
        told = replace(told, widgets=(before, widget_states(first.nb.metadata)))
        hold_against(case, first, told)
        budget = Budget(left=_affordable(first.duration) if reruns is None else reruns)
        trials: list[Trial] = []
        if needs_second_run(case) and budget.allows():
            report(Step(message="running once more, to tell chance from change"))
            budget.left -= 1
            trials.append(Trial(why="to tell chance from change"))
            repeat(case, run_again(fresh=True), told)
        go, same = (
            _under_conditions(run_again, variants, where, found, report),
            sameness(case, told),
        )
        trials += investigate(case, go, same, budget)
        if bisecting:
            trials += bisect(case, go, same, tell=lambda said: report(Step(message=said)))
    causes = attribute(case)
    verdicts = [verdict_of(cell, case, causes) for cell in case.cells.values()]
    verdicts, missed = with_expectations(verdicts, first.record)
    verdict = overall(case, verdicts)
    again = found.store.put(first.record) if found.store and first.record else None
    if again is not None:
        first.nb.metadata[stamp.KEY] = str(stamp.Stamp(record=again, verdict=verdict))
    executed = _write(first, found, output)
    result = Verification(
        verdict=verdict,
        notebook=found.name,
        record=found.digest,
        rerun=again,
        cells=tuple(verdicts),
        causes=distinct([*causes.values(), *besides(case, causes)])
        or distinct(without_effect(case)),
        trials=tuple(trials),
        executed=str(executed),
        notes=(*first.notes, *missed),
        created=timestamp(),
        duration=round(time.monotonic() - begun, 3),
    )
    if found.store is not None:
        found.store.put(result)
    if observe is not None:
        observe(case)
    return result


def _written_by(nb: Any) -> dict[str, Any]:
    """Return what a notebook's file says of the kernel that it ran with."""
    formerly = nb.metadata.get("orig_nbformat")
    told = dict(nb.metadata.get("language_info") or {})
    return {**told, **({"orig_nbformat": formerly} if formerly else {})}


def _affordable(seconds: float) -> int:
    """Return how many more runs of a notebook nobody minds who did not ask for them."""
    return max(2, min(_RERUNS, int(_RERUNS_SECONDS / max(seconds, 1.0))))


def _under_conditions(
    run_again: Callable[..., Rerun], variants: Variants, where: Surroundings, found: Reference,
    report: Report,
) -> Callable[[Held], dict[int, list[Mapping[str, Any]]]]:  # fmt: skip
    def go(held: Held) -> dict[int, list[Mapping[str, Any]]]:
        under = ", ".join(held.conditions)
        report(Step(message=f"running under conditions: {under}" if under else
                    "running the cells as their execution counts tell" if held.order else
                    "running once more, to tell chance from change"))  # fmt: skip
        more: dict[str, Any] = {}
        if "replay" in held.conditions:
            more["fed"] = recorded_entropy(found, report)
        here = where
        if held.versions:
            held = replace(
                held, variables={**held.variables, **variants.with_versions(held.versions)}
            )
        elif "environment" in held.conditions:
            here = variants.recorded()
        if "data" in held.conditions:
            here = replace(here, data="recorded")
        if here is not where:
            more["surroundings"] = here
        return run_again(fresh=True, held=held, **more).outputs

    return go


@functools.cache
def elsewhere() -> Path:
    """Return where this process leaves executed copies of notebooks that have no store."""
    return Path(tempfile.mkdtemp(prefix="mlrepro-executed-"))


def _write(first: Rerun, found: Reference, output: Path | None) -> Path:
    """Write the executed copy, whole or not at all."""
    import nbformat

    if output is None:
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        folder = found.store.root / "executed" if found.store else elsewhere()
        folder.mkdir(parents=True, exist_ok=True)
        output = folder / f"{found.path.stem}-{stamp}-{os.urandom(3).hex()}.ipynb"
    text = nbformat.writes(_plain(first.nb)) + "\n"
    write_atomically(output, text.encode("utf-8", "surrogatepass"))
    return output


def _plain(nb: Any) -> Any:
    if "papermill" in nb.metadata:
        nb.metadata["papermill"] = portable(nb)["metadata"]["papermill"]
    nb.nbformat, nb.nbformat_minor = 4, max(5, nb.get("nbformat_minor", 5))
    return nb
