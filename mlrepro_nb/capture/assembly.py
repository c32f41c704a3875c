"""Events to a record."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlrepro_nb.capture import environment, hardware, metrics, randomness, runs
from mlrepro_nb.capture.cells import _assemble as state
from mlrepro_nb.capture.cells._match import Cells
from mlrepro_nb.capture.cells.outputs import output_digests
from mlrepro_nb.capture.data._accesses import accesses
from mlrepro_nb.capture.data.audit import unwatched
from mlrepro_nb.capture.data.hashing import DigestCache, hash_file
from mlrepro_nb.capture.data.paths import relative
from mlrepro_nb.capture.secrets import mask, mask_values, scrub, secrets_in
from mlrepro_nb.capture.told import Event, Told, sort
from mlrepro_nb.connect import git
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import (
    CellOutput,
    Code,
    LocalModule,
    ModuleVersion,
    Origin,
    Parameters,
    Record,
    Results,
    decode,
    moment,
    plain,
    timestamp,
)

_SECONDS = {"interactive": 2.0, "headless": 60.0, "verify": 0.0}
"""How long tables are read for: who shuts a kernel down does not wait for long."""


def assemble(
    events: Iterable[Event],
    *,
    notebook: str,
    root: Path | None,
    mode: Literal["interactive", "headless", "verify"],
    nb: Mapping[str, Any] | None = None,
    positions: Sequence[int | None] | None = None,
    saved: str | None = None,
    parent: str | None = None,
    gaps: Sequence[str] = (),
    put_blob: Callable[[bytes], str],
    cache: DigestCache | None = None,
    tables: bool = False,
) -> Record:
    """Turn what a recorder reported into a record.

    Works on events that were cut short by a kernel's death: a cell without an
    end was interrupted, what was to come only at the end is a gap.

    Parameters
    ----------
    events : iterable of (kind, data)
        What the sink of a `Recorder` received.
    notebook : str
        Name of the notebook in the record.
    root : Path or None
        The project's folder.
    mode : str
        How the notebook was run.
    nb : mapping, optional
        The notebook, to find the cells' indices; if it was executed in these
        very events, its outputs are the record's.
    positions : sequence, optional
        For each cell of `nb`, its index in the notebook file, where that is not the same.
    saved : str, optional
        When `nb` was written (RFC 3339, UTC), where it is a file that a person edits.
    parent : str, optional
        Digest of the record that was run again.
    gaps : sequence of str
        What else is known to be missing.
    put_blob : callable
        Keeps bytes and returns their digest.
    cache : DigestCache, optional
        Digests of files from earlier sessions.
    tables : bool
        Whether to take some time for the digests of the tables' rows.
    """
    told = sort(events)
    for gap in gaps:
        told.gaps.setdefault(gap)
    cells = Cells(
        told.begins, told.ends, nb, positions, running=told.seal.get("running"), saved=saved
    )
    executed = state.with_state(told, cells.executed(told.seal), cells, root)
    if told.ends.keys() - told.looked:
        told.gaps.setdefault(
            "The kernel ended right after its last cell: what the cell read and drew is not known."
        )
    if not told.seal:
        told.gaps.setdefault(
            "The kernel ended before its last report: modules and peak use may be missing."
            if told.start
            else "Nothing was reported by the kernel."
        )
    data = accesses(
        told, cells, root, put_blob=put_blob, cache=cache, seconds=_SECONDS[mode] if tables else 0.0
    )
    status, error = _status(executed, told)
    outputs = _outputs(told, cells, nb if mode != "interactive" else None)
    made = runs.assembled(told, cells, root, data)
    measured = metrics.assembled(told, cells, made.metrics)
    record = Record(
        code=_code(told, executed, cells, notebook, root, put_blob),
        data=data,
        parameters=Parameters(papermill=_papermill(nb), mlflow=made.params),
        environment=environment.assembled(told, put_blob),
        randomness=randomness.assembled(told, cells, put_blob),
        hardware=hardware.assembled(told),
        results=Results(
            status=status,
            error=error,
            outputs=outputs,
            metrics=made.metrics,
            scraps=measured.scraps,
            variables=measured.variables,
            expectations=measured.expectations,
            models=made.models,
            artifacts=made.artifacts,
            duration=_duration(told, executed),
        ),
        lineage=Origin(
            mode=mode,
            who=str(told.start.get("who", "")),
            started=told.start.get("time") or timestamp(),
            ended=told.seal.get("ended")
            or _last_seen(executed)
            or told.start.get("time")
            or timestamp(),
            tool=told.start.get("tool") or environment.tool(),
            runs=made.runs,
            parent=parent,
            capture="partial" if told.gaps else "complete",
            gaps=tuple(told.gaps),
        ),
    )
    return _without_secrets(record, nb)


def _without_secrets(record: Record, nb: Mapping[str, Any] | None) -> Record:
    """Return the record without what no watch has masked: the last net."""
    told = ((nb or {}).get("metadata") or {}).get("papermill") or {}
    known = secrets_in(nb or {"cells": []}, told.get("parameters") or {})
    data = msgspec.to_builtins(record)
    clean = scrub(data, known)
    return record if clean == data else msgspec.convert(clean, Record)


def _status(executed: Any, told: Told) -> tuple[Literal["ok", "error", "interrupted"], str | None]:
    for cell in reversed(executed):
        if cell.status != "ok":
            # In a live kernel an error that was put right later is history.
            later = [c for c in executed if c.order > cell.order and c.digest == cell.digest]
            if any(c.status == "ok" for c in later):
                continue
            if cell.order != executed[-1].order and told.start.get("mode") == "interactive":
                continue
            return cell.status, (told.ends.get(cell.order) or {}).get("error")
    return "ok", None


def _code(
    told: Told, executed: Any, cells: Cells, notebook: str, root: Path | None,
    put_blob: Callable[[bytes], str],
) -> Code:  # fmt: skip
    found = _of_image() or _of_repository(told, notebook, root)
    diff = put_blob(mask(found.diff).encode()) if found.diff else None
    installed = _installed(told)
    modules = [
        _module(module, root, put_blob)
        for module in told.modules
        if relative(module["absolute"], root) is not None
        or not any(module["absolute"].startswith(place) for place in _places(module, installed))
    ]
    return Code(
        remote=found.remote,
        commit=found.commit,
        branch=found.branch,
        dirty=found.dirty,
        diff=diff,
        notebook=notebook,
        cells=executed,
        modules=tuple(sorted(modules, key=lambda module: module.path)),
        unexecuted=cells.unexecuted(),
        outside=state.outside(told),
        widgets=state.widgets(told),
    )


def _of_repository(told: Told, notebook: str, root: Path | None) -> git.GitState:
    """Return the state of the notebook's repository, nothing where there is none."""
    if root is not None and git.root(root) is not None:
        try:
            return git.state(root, notebook)
        except MlreproError as error:
            told.gaps.setdefault(f"The state of git is unknown: {error.message}")
    return git.GitState()


def _of_image() -> git.GitState | None:
    """Return the state that the image was built of which this runs in, if it does.

    There is no repository there, only an empty ``.git`` by which the project is found.
    """
    own = Path(os.environ.get("MLREPRO_IMAGE", ""))
    if not own.is_file():
        return None
    built = decode(Record, own.read_bytes()).code
    return git.GitState(
        remote=built.remote, commit=built.commit, branch=built.branch, dirty=built.dirty
    )


def _installed(told: Told) -> dict[str, list[str]]:
    """Return for top-level modules the folders of the distributions that have them."""
    found: dict[str, list[str]] = {}
    for distribution in told.distributions.get("distributions", ()):
        for module in distribution.get("modules", ()):
            found.setdefault(module, []).append(f"{Path(distribution['location']).parent}/")
    return found


def _places(module: Mapping[str, Any], installed: Mapping[str, list[str]]) -> list[str]:
    return installed.get(module["name"].partition(".")[0], [])


def _module(
    told: Mapping[str, Any], root: Path | None, put_blob: Callable[[bytes], str]
) -> LocalModule:
    path = relative(told["absolute"], root)
    return LocalModule(
        name=told["name"],
        path=path or told["absolute"],
        digest=told["digest"],
        kept=_kept(told, put_blob) if path is None else None,
        versions=tuple(ModuleVersion(**version) for version in told.get("versions", ())),
    )


def _kept(told: Mapping[str, Any], put_blob: Callable[[bytes], str]) -> str | None:
    """Keep a module's source, if it still is what ran."""
    with unwatched(), contextlib.suppress(OSError, UnicodeDecodeError):
        now = hash_file(told["absolute"])
        if now is not None and now.digest == told["digest"]:
            return put_blob(mask(Path(told["absolute"]).read_text(encoding="utf-8")).encode())
    return None


def _outputs(told: Told, cells: Any, nb: Mapping[str, Any] | None) -> tuple[CellOutput, ...]:
    found = []
    for order in sorted(told.begins):
        listed = told.outputs.get(order, [])
        position = cells.position(order)
        if nb is not None and position is not None:
            # What the file holds is what a rerun is compared with.
            listed = [
                {"output_type": output["output_type"], "data": output_digests(output)}
                for output in nb["cells"][position].get("outputs") or ()
            ]
        found += [
            CellOutput(execution=order, cell=cells.index(order), **output) for output in listed
        ]
    return tuple(found)


def _papermill(nb: Mapping[str, Any] | None) -> dict[str, Any]:
    told = ((nb or {}).get("metadata") or {}).get("papermill") or {}
    parameters = {**(told.get("default_parameters") or {}), **(told.get("parameters") or {})}
    masked = mask_values(plain(parameters))
    return masked if isinstance(masked, dict) else {}


def _duration(told: Told, executed: Any) -> float:
    begun, ended = told.start.get("time"), told.seal.get("ended") or _last_seen(executed)
    if not begun or not ended:
        return 0.0
    return max(0.0, round((moment(ended) - moment(begun)).total_seconds(), 3))


def _last_seen(executed: Any) -> str | None:
    return executed[-1].started if executed else None
