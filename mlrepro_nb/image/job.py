"""What runs in a job image: the notebook again, compared with the record that is in the image.

Writes the executed copy and ``verification.json`` to MLREPRO_RESULTS
(``/results``), prints the table, and ends with 0 (reproduced), 1 (not) or 3
(could not be run). With ``-p NAME VALUE`` there is nothing to compare with: the
notebook is recorded anew, and ``record.json`` is what comes out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import Record, Verification, canonical, decode
from mlrepro_nb.store import Store

APP = Path("/app")
BIG = 64 << 20
"""Bytes from which a file is linked into the writable copy of the project, not copied."""


def main() -> int:
    """Run the job and return the exit code."""
    arguments = sys.argv[1:]
    record = decode(Record, (APP / "record" / "record.json").read_bytes())
    results = _results()
    with _project() as project, _held_together():
        store = Store(project / ".mlrepro")
        digest = store.put(record)
        store.blobs.put((APP / "record" / "reference.ipynb").read_bytes())
        _tell_missing(record, project)
        executed = ["-o", str(results / "executed.ipynb")] if results else []
        notebook = project / record.code.notebook
        status = _run(
            [*_verb(arguments, project, notebook), *arguments, *executed, "--kernel", "python3"],
            notebook.parent,
            store,
        )
        if results:
            _keep(store, digest, results)
    return status


def _verb(arguments: list[str], project: Path, notebook: Path) -> list[str]:
    if {"-p", "-f"} & set(arguments):
        return ["record", str(notebook)]
    # Marks the project's root, as it does where the notebook was recorded.
    (project / ".git").mkdir()
    inside = APP / "record"
    return [
        "verify", str(inside / "record.json"), "--notebook", str(notebook),
        "--reference", str(inside / "reference.ipynb"),
    ]  # fmt: skip


def _results() -> Path | None:
    folder = Path(os.environ.get("MLREPRO_RESULTS", "/results"))
    if os.access(folder, os.W_OK | os.X_OK):
        return folder
    _say(f"{folder} is not writable for user {os.getuid()}: no result is kept")
    return None


@contextlib.contextmanager
def _project() -> Iterator[Path]:
    """Yield a copy of the project that the notebook may write to."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-", ignore_cleanup_errors=True) as folder:
        project = Path(folder) / "project"
        shutil.copytree(APP / "project", project, copy_function=_copy)
        yield project


def _copy(source: str, target: str) -> None:
    if Path(source).stat().st_size >= BIG:
        Path(target).symlink_to(source)
    else:
        shutil.copyfile(source, target)


def _tell_missing(record: Record, project: Path) -> None:
    for access in record.data:
        name = access.repo_path
        if access.access == "read" and name and access.tracked and not (project / name).exists():
            _say(f"{name} is not in the image: mount it at {APP / 'project' / name}")


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
        env={**os.environ, "MLREPRO_STORE": str(store.root)},
    ) as process:
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)  # verify and record clean up on Ctrl-C
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=8)
            process.kill()
            raise


def _keep(store: Store, record: str, results: Path) -> None:
    verified = store.find_by_key(f"record:{record}", Verification)
    if verified:
        data = canonical(store.get(Verification, verified[0]))
        (results / "verification.json").write_bytes(data)
    made = [d for d in (e.digest for e in store.entries(Record, limit=2)) if d != record]
    if made:
        (results / "record.json").write_bytes(canonical(store.get(Record, made[0])))


def _say(message: str) -> None:
    print(f"mlrepro: {message}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MlreproError as error:
        _say(str(error))
        sys.exit(error.exit_code)
