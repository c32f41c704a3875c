"""A notebook that papermill runs, observed: its client, its manager, its semantics."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlrepro_nb.execute._environment import heard, not_recorded, prepare
from mlrepro_nb.execute._run import CellError, Execution, first_error
from mlrepro_nb.model import timestamp


def run_managed(
    manager: Any, kernel: str, *, given: int, environment: Mapping[str, str],
    options: Mapping[str, Any],
) -> tuple[Execution, BaseException | None]:  # fmt: skip
    """Run papermill's client with the recorder in the kernel.

    What papermill would let through (a timeout, a dead kernel, Ctrl-C) is returned beside
    what is known of the run until then.

    Parameters
    ----------
    manager : NotebookExecutionManager
        Papermill's; its notebook is the one that is run.
    kernel : str
        The kernelspec.
    given : int
        How many cells the notebook had before papermill put one with parameters into it.
    environment : mapping
        Environment variables to set for the kernel.
    options : mapping
        Of papermill's client.
    """
    from papermill.clientwrap import PapermillNotebookClient

    from mlrepro_nb.execute._prompt import PromptManager

    options = {"kernel_manager_class": PromptManager, **options}
    started, clock, key = datetime.now(timezone.utc), time.monotonic(), os.urandom(32).hex()
    ended: BaseException | None = None
    with tempfile.TemporaryDirectory(prefix="mlrepro-", ignore_cleanup_errors=True) as folder:
        journal = Path(folder) / "events.jsonl"
        variables = prepare(
            Path(folder), recorded=True, startup="", users=True,
            variables={
                **environment, "MLREPRO_EVENTS": str(journal), "MLREPRO_MODE": "headless",
                "MLREPRO_KEY": key,
            },
        )  # fmt: skip
        try:
            PapermillNotebookClient(manager, kernel_name=kernel, **options).execute(env=variables)
        except BaseException as error:  # noqa: BLE001 - it is given back, once the run is kept
            ended = error
        events, secrets = heard(journal, key)
    nb = manager.nb
    positions = _positions(nb, given)
    return Execution(
        nb=nb,
        positions=positions,
        events=events,
        error=_error(nb, positions, ended),
        started=timestamp(started),
        duration=round(time.monotonic() - clock, 6),
        kernel=kernel,
        gaps=() if events else (not_recorded(kernel),),
        secrets=secrets,
    ), ended  # fmt: skip


def _positions(nb: Any, given: int) -> tuple[int | None, ...]:
    """Return for each cell its index in the file, which may lack the one with parameters."""
    if len(nb.cells) == given:
        return tuple(range(given))
    found: list[int | None] = []
    for cell in nb.cells:
        new = "injected-parameters" in (cell.metadata.get("tags") or ())
        found.append(None if new else len(found) - found.count(None))
    return tuple(found)


def _error(
    nb: Any, positions: tuple[int | None, ...], ended: BaseException | None
) -> CellError | None:
    found = first_error(nb)
    if found is None and ended is None:
        return None
    if found is not None:
        index, ename, evalue, traceback = found
    else:
        assert ended is not None
        name = type(ended).__name__
        ename, evalue, traceback = _NAMES.get(name, name), str(ended), ()
        counts = [i for i, c in enumerate(nb.cells) if _state(c) in ("running", "failed")]
        index = counts[0] if counts else 0
    at = positions[index] if index < len(positions) else None
    return CellError(index=at, ename=ename, evalue=evalue, traceback=traceback)


_NAMES = {"CellTimeoutError": "TimeoutError"}


def _state(cell: Any) -> str:
    return str((cell.metadata.get("papermill") or {}).get("status"))
