"""Python interpreters of other versions than this one, which uv finds and fetches."""

from __future__ import annotations

import os
from pathlib import Path

from mlrepro_nb.connect import command, uv


def find(version: str) -> str | None:
    """Return the path of an interpreter of exactly this version, None where there is none.

    Raises
    ------
    ToolError
        uv is not installed.
    """
    ended = command.run(
        [uv.program(), "python", "find", "--no-python-downloads", "--no-project", "--system",
         f"cpython=={version}"],
        cwd=Path("/"), timeout=60,
    )  # fmt: skip
    found = ended.stdout.strip() if ended.ok else ""
    return found or _of_pyenv(version)


def _of_pyenv(version: str) -> str | None:
    """Return the newest fitting one of those that pyenv keeps, which are not on the PATH."""
    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    wanted = version.removesuffix("*").rstrip(".")
    fitting = []
    for folder in (root / "versions").glob(f"{wanted}*"):
        # 3.1 is not 3.10, and what has letters is a development version or PyPy.
        exact = folder.name == wanted or folder.name.startswith(f"{wanted}.")
        program = folder / "bin" / "python"
        if exact and folder.name.replace(".", "").isdecimal() and os.access(program, os.X_OK):
            fitting.append((tuple(int(part) for part in folder.name.split(".")), str(program)))
    return max(fitting)[1] if fitting else None


def fetch(version: str) -> str | None:
    """Install uv's own build of a version, out of the way of the PATH, and return its path.

    uv knows the digest of what it fetches. None where it has no such version or
    cannot reach it.
    """
    ended = command.run(
        [uv.program(), "python", "install", "--no-bin", "--quiet", version],
        cwd=Path("/"), timeout=600,
    )  # fmt: skip
    return find(version) if ended.ok else None
