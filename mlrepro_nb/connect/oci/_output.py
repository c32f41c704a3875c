"""Where the user wants something written: refused before the work where it cannot be, else told."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlrepro_nb.errors import ToolError, UsageError

_ELSEWHERE = "name another place with --output"


def check_folder(path: Path) -> None:
    """Refuse to make a folder that is there and holds something, or that cannot be made.

    Raises
    ------
    UsageError
        It holds something, is a file, or lies below one.
    ToolError
        Nothing can be written there.
    """
    there = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if there == path and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is not an empty folder.", "Name one that does not exist yet.")
    if not there.is_dir():
        raise UsageError(f"{path} cannot be a folder: {there} is none.", f"{_capital(_ELSEWHERE)}.")
    check_writable(there, path)


def check_writable(folder: Path, path: Path) -> None:
    """Refuse a path where nothing can be written into the folder that is there.

    It is tried: whether a disk is read-only, or is none (``/proc``), no mode tells.
    """
    with placing(path), tempfile.TemporaryDirectory(dir=folder, prefix=".mlrepro-"):
        pass


@contextlib.contextmanager
def placing(path: Path) -> Iterator[None]:
    """Say what it means that something cannot be written where the user wants it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ToolError(
                f"The disk of {path} is full.",
                f"Free some space, or {_ELSEWHERE}; nothing was tagged, and the next build goes "
                "on from here.",
                tool="disk",
            ) from error
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise UsageError(
                f"{path} was written by another build meanwhile.",
                f"Use what is there, or {_ELSEWHERE}.",
            ) from error
        raise ToolError(
            f"{path} cannot be written: {error.strerror or error}.",
            f"{_capital(_ELSEWHERE)}.",
            tool="disk",
        ) from error


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
