"""The environment of a record, built again from its lock and kept for the next time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

import mlrepro_nb
from mlrepro_nb.capture.environment import lock
from mlrepro_nb.connect import command, interpreters, uv
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.model import Record, Report, Step, digest, short, silent
from mlrepro_nb.store import Store, user_cache, write_atomically

_RECORDER = (
    "anywidget", "blake3", "click", "ipykernel", "msgspec", "nbformat", "packaging", "psutil",
    "yaml", "requests", "rfc8785", "threadpoolctl",
)  # fmt: skip
"""Modules that a kernel and the recorder in it need."""
_DISTRIBUTIONS = {"yaml": "pyyaml"}
_PROBE = (
    "import importlib.util as u, json, sys; "
    "print(json.dumps([n for n in sys.argv[1:] if u.find_spec(n) is None]))"
)
_FORMAT = 2
RECORDING = (3, 10)
"""The oldest Python that the recorder runs in."""


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that was built."""

    python: str
    """Its interpreter."""
    extra: tuple[str, ...]
    """Folders that hold what it lacks of what a kernel and the recorder need; to be put at the
    end of ``sys.path``, so that no recorded version changes."""
    notes: tuple[str, ...] = ()
    """What of it is not as it was asked for, one sentence each."""


def build(
    record: Record, store: Store | None, report: Report = silent, *, root: Path | None = None
) -> Built:
    """Build the environment of a record, unless it is there.

    Parameters
    ----------
    record : Record
        With the lock of its environment, or enough to resolve it.
    store : Store, optional
        Where its lock and wheels are.
    report : callable
        Is told the progress.
    root : Path, optional
        Where environments are kept; by default the user's cache folder.

    Raises
    ------
    UsageError
        There is no lock and none can be resolved.
    ToolError
        uv or the recorded Python is missing, or the index cannot be reached.
    """
    if store is None:
        raise UsageError("There is no store that would hold the record's lock.", "Use it in git.")
    environment = record.environment
    if environment.lock is None:
        environment = lock.locked(record, store, report=report).environment
    if environment.lock is None:
        raise UsageError(
            "The recorded environment was never locked, and it cannot be now.",
            "Lock it where uv and the package index are: mlrepro record NOTEBOOK",
        )
    version = re.sub(r"[^0-9.].*$", "", environment.python)
    key = digest([_FORMAT, environment.lock, version, mlrepro_nb.__version__])
    folder = (root or user_cache()) / "environments" / short(key, 32)
    done = folder / "built.json"
    with alone(folder):
        if not stands(folder):
            _make(folder, version, environment.lock, store, report)
            missing = add_recorder(folder, report)
            write_atomically(done, json.dumps({"apart": missing}).encode())
        os.utime(done)
    return Built(
        python=str(folder / "env" / "bin" / "python"),
        extra=(str(folder / "apart"), this_package(root)),
    )


def stands(folder: Path) -> bool:
    """Whether an environment was built there, and the interpreter it was made from is still."""
    return (folder / "built.json").exists() and (folder / "env" / "bin" / "python").exists()


def this_package(root: Path | None = None) -> str:
    """Return a folder that holds this package and nothing beside it.

    It is no part of an environment: those outlive the place that one mlrepro was installed in.
    """
    installed = Path(mlrepro_nb.__file__).parent
    folder = (root or user_cache()) / "recorders" / short(digest(str(installed)), 32)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / installed.name).symlink_to(installed)
    return str(folder)


def _make(folder: Path, version: str, blob: str, store: Store, report: Report) -> None:
    report(Step(message=f"building the recorded environment (Python {version})"))
    shutil.rmtree(folder / "env", ignore_errors=True)
    found = interpreters.find(version) or interpreters.fetch(version)
    if found is None:
        raise ToolError(
            f"The record's Python {version} is not on this machine, and uv cannot fetch it.",
            f"Connect and fetch it: uv python install {version}",
            tool="uv",
        )
    python = uv.make_environment(folder / "env", found)
    with tempfile.TemporaryDirectory(prefix="mlrepro-lock-") as name:
        requirements = lock.write(store, blob, Path(name))
        if any(
            line and not line.startswith(("#", " "))
            for line in requirements.read_text(encoding="utf-8").splitlines()
        ):
            report(Step(message="installing what the lock lists"))
            uv.install(python, requirements)


def add_recorder(folder: Path, report: Report, modules: Sequence[str] = _RECORDER) -> list[str]:
    """Put what a recording kernel needs and an environment lacks into a folder apart.

    Parameters
    ----------
    folder : Path
        Holds the environment, ``env``, and gets the other one, ``apart``.
    report : callable
        Is told the progress.
    modules : sequence of str
        What is needed.
    """
    missing = _missing(folder, modules)
    _add(folder, missing, report)
    return missing


def _missing(folder: Path, modules: Sequence[str]) -> list[str]:
    python = str(folder / "env" / "bin" / "python")
    ended = command.run([python, "-I", "-c", _PROBE, *modules], cwd=Path("/"), timeout=120)
    if not ended.ok:
        raise ToolError(
            "The recorded environment's Python does not run.", "See what it says.",
            tool="python", output=ended.stderr,
        )  # fmt: skip
    found: list[str] = json.loads(ended.stdout)
    return found


def _add(folder: Path, missing: list[str], report: Report) -> None:
    apart = folder / "apart"
    shutil.rmtree(apart, ignore_errors=True)
    apart.mkdir()
    if missing:
        names = [_DISTRIBUTIONS.get(name, name) for name in missing]
        report(Step(message=f"adding apart what the record lacks: {', '.join(names)}"))
        uv.install(folder / "env" / "bin" / "python", names, target=apart)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time build an environment."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
