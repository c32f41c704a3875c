"""Python interpreters of other versions than this one, which uv finds and fetches."""

from __future__ import annotations

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
    return ended.stdout.strip() or None if ended.ok else None


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
