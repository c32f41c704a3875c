"""``papermill --engine mlrepro``: what papermill does, and a record of it.

Parameters, progress, timeouts, saves in between and what becomes of a cell that raises are
papermill's own. The record is in the project's store, its digest in the output's metadata.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from papermill.engines import NBClientEngine
from papermill.iorw import papermill_io
from papermill.log import logger
from papermill.utils import merge_kwargs, remove_args

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Step, short


class RecordingEngine(NBClientEngine):  # type: ignore[misc]
    """Papermill's own engine, with the recorder in the kernel."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, log_output: bool = False, stdout_file: Any = None,
        stderr_file: Any = None, start_timeout: int = 60, execution_timeout: int | None = None,
        input_path: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Run the notebook and keep its record, also of a run that fails."""
        from mlrepro_nb.execute import read_notebook
        from mlrepro_nb.record import record_managed

        notebook = _file(input_path)
        options = merge_kwargs(
            remove_args(["timeout", "startup_timeout"], **kwargs),
            timeout=execution_timeout or kwargs.get("timeout"),
            startup_timeout=start_timeout,
            log=logger,
            log_output=log_output,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
        )
        digest, _ = record_managed(
            nb_man, kernel_name, notebook, given=len(read_notebook(notebook).cells),
            options=options, report=_say,
        )  # fmt: skip
        logger.info(f"Record: {short(digest)}")


def _say(step: Step) -> None:
    if step.log:
        logger.info(step.message)


def _file(path: str | None) -> Path:
    """Return the file that papermill has read, wherever its --cwd has led it since."""
    # Papermill keeps the folder that paths are relative to in its handler of files.
    base = getattr(papermill_io.get_handler("local"), "_cwd", None)
    found = Path(base or ".", path) if isinstance(path, str) else None
    if found is None or not found.is_file():
        raise UsageError(
            f"{path or 'What papermill was given'} is no file here, so its record would lead "
            "nowhere.",
            "Run a notebook of a project on this machine, or without --engine mlrepro.",
        )
    return found.resolve()
