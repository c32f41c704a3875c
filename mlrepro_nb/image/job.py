"""What runs in a job image: the notebook again, compared with the record that is in the image.

Writes the executed copy and ``verification.json`` to MLREPRO_RESULTS
(``/results``; ``mlflow`` logs them to a run of MLFLOW_TRACKING_URI), prints the
table, and ends with 0 (reproduced), 1 (not) or 3 (could not be run). With
``-p NAME VALUE``, or MLREPRO_PARAMETERS (YAML, or the file that holds it), there is
nothing to compare with: the notebook is recorded anew, and ``record.json`` is what
comes out. Results appear when all is done, each of them whole.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mlrepro_nb.errors import MlreproError, UsageError
from mlrepro_nb.image._places import RESULTS
from mlrepro_nb.image._scratch import APP, lay_out, say, scratch
from mlrepro_nb.model import Record, Verification, canonical
from mlrepro_nb.store import Store, write_atomically

MLFLOW = "mlflow"


def main() -> int:
    """Run the job and return the exit code."""
    arguments, wanted = _arguments(sys.argv[1:])
    with scratch() as folder, _held_together():
        results = _results(wanted)
        place = Path(folder)
        arguments = [*_parameters(place), *arguments]
        project = place / "project"
        # With parameters, what the recorded run read need not be what this one reads.
        record, digest, store = lay_out(project, place, whole=not _has_parameters(arguments))
        notebook = project / record.code.notebook
        executed = place / "executed.ipynb"
        status = _run(
            [
                *_verb(arguments, notebook), *arguments, "-o", str(executed),
                "--kernel", "python3",
            ],
            notebook.parent,
            store,
        )  # fmt: skip
        made = _made(store, digest, executed)
        if results is None:
            pass
        elif results == MLFLOW:
            _log(made, record, digest, status)
        else:
            for name, content in made.items():
                write_atomically(Path(results) / name, content, mode=0o644)
            say(f"results are in {results}: {', '.join(made) or 'none'}")
    return status


def _arguments(given: list[str]) -> tuple[list[str], str | None]:
    """Return what verify or record is told, and where the results shall go."""
    left, wanted = list(given), None
    if "--results" in left:
        at = left.index("--results")
        if at + 1 == len(left):
            raise UsageError("--results says nothing.", "Write --results FOLDER or mlflow.")
        wanted = left[at + 1]
        del left[at : at + 2]
    return left, wanted


def _parameters(folder: Path) -> list[str]:
    """Return the option that names the parameters of the environment."""
    said = os.environ.get("MLREPRO_PARAMETERS")
    if not said:
        return []
    if "\n" not in said and Path(said).is_file():
        return ["-f", said]
    path = folder / "parameters.yaml"
    path.write_text(said, encoding="utf-8")
    return ["-f", str(path)]


def _has_parameters(arguments: list[str]) -> bool:
    return not {"-p", "-f"}.isdisjoint(arguments)


def _verb(arguments: list[str], notebook: Path) -> list[str]:
    if _has_parameters(arguments):
        return ["record", str(notebook)]
    inside = APP / "record"
    return [
        "verify", str(inside / "record.json"), "--notebook", str(notebook),
        "--reference", str(inside / "reference.ipynb"),
    ]  # fmt: skip


def _results(wanted: str | None) -> str | None:
    """Return where the results go: a folder, MLflow, or nowhere.

    Raises
    ------
    UsageError
        They are to go to MLflow, of which the image or the environment lacks something.
    MlreproError
        They were asked for, and their folder cannot be written.
    """
    place = wanted or os.environ.get("MLREPRO_RESULTS") or RESULTS
    if place == MLFLOW:
        from importlib.util import find_spec

        if find_spec("mlflow") is None:
            raise UsageError(
                "The results are to go to MLflow, which is not in this image.",
                'Set results = "mlflow" in [tool.mlrepro] of pyproject.toml and build again, or '
                "mount a folder.",
            )
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            raise UsageError(
                "The results are to go to MLflow, and MLFLOW_TRACKING_URI is not set.",
                "Set it; a folder in this container would be gone with it.",
            )
        return MLFLOW
    if os.access(place, os.W_OK | os.X_OK):
        return place
    # The image itself names RESULTS: who wants what is there mounts something.
    if place != RESULTS or os.path.ismount(place):
        raise MlreproError(
            f"The results are to go to {place}, which cannot be written by user {os.getuid()}.",
            f"Mount a folder there that this user may write to (chown {os.getuid()} FOLDER), or "
            "run as its owner: docker run --user $(id -u).",
        )
    say(f"{place} is not writable for user {os.getuid()}: no result is kept")
    return None


@contextlib.contextmanager
def _held_together() -> Iterator[None]:
    """Let SIGTERM end this process: as the first one of a container it would be ignored."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: list[str], folder: Path, store: Store) -> int:
    with subprocess.Popen(
        [sys.executable, "-m", "mlrepro_nb", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "MLREPRO_STORE": str(store.root),
            "MLREPRO_IMAGE": str(APP / "record" / "record.json"),
        },
    ) as process:
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)  # verify and record clean up on Ctrl-C
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=8)
            process.kill()
            raise


def _made(store: Store, record: str, executed: Path) -> dict[str, bytes]:
    """Return the results by their names; what says that they are complete comes last."""
    found: dict[str, bytes] = {}
    if executed.is_file():
        found["executed.ipynb"] = executed.read_bytes()
    made = [d for d in (e.digest for e in store.entries(Record, limit=2)) if d != record]
    if made:
        found["record.json"] = canonical(store.get(Record, made[0]))
    verified = store.find_by_key(f"record:{record}", Verification)
    if verified:
        # The copy is beside it, and nothing else of this container stays.
        result = store.get(Verification, verified[0])
        result = msgspec.structs.replace(result, executed="executed.ipynb")
        found["verification.json"] = canonical(result)
    return found


def _log(made: dict[str, bytes], record: Record, digest: str, status: int) -> None:
    from mlrepro_nb.connect.mlflow_results import log_results

    stem = Path(record.code.notebook).stem
    run = log_results(made, record=digest, name=f"{stem} (job)", ok=status == 0)
    say(f"results are in MLflow's run {run}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MlreproError as error:
        say(str(error))
        sys.exit(error.exit_code)
