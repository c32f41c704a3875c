"""Which folders the cross-check looks at, and what an event in one of them says. No state."""

# Paths stay strings here: a project may have 100,000 files.
# ruff: noqa: PTH110, PTH111, PTH112, PTH116, PTH119
from __future__ import annotations

import os
import stat
import tempfile

from mlrepro_nb.capture.data.audit import Access
from mlrepro_nb.capture.data.hashing import regular
from mlrepro_nb.capture.data.inotify import CLOSE_WRITE, CREATE, MOVED_TO, OPEN
from mlrepro_nb.capture.data.paths import is_ignored

_COARSE_NS = 10_000_000
"""How far a file's times may lag behind the clock: the kernel stamps files once a tick."""

# Files that other programs open in a project as they please.
_NOT_DATA = (
    ".ipynb", ".dvc", ".lock", ".swp", ".swx", "~", ".code-workspace", ".orig", ".rej",
)  # fmt: skip
_NAMES = frozenset(
    {"pyproject.toml", "setup.cfg", "setup.py", "requirements.txt", "environment.yml", "Makefile",
     "dvc.yaml", "dvc.lock", "params.yaml", "pixi.toml", "tox.ini", "package.json", "Dockerfile",
     "LICENSE", "README.md", "4913"}
)  # fmt: skip


def done_to(path: str, mask: int, begun: int) -> Access | None:
    """Return what was done to a file since a moment (ns), or None if it is there no more."""
    status = regular(path)
    if status is None:
        return None
    if mask & (CLOSE_WRITE | CREATE | MOVED_TO) and status.st_ctime_ns >= begun - _COARSE_NS:
        return "write"
    if mask & OPEN and status.st_mtime_ns >= begun and not mask & CLOSE_WRITE:
        return "write"  # still open, and changed
    return "read"


def is_others(path: str) -> bool:
    """Return whether a file is of a sort that other programs open in a project as they please."""
    name = os.path.basename(path)
    return name.endswith(_NOT_DATA) or name in _NAMES or name.startswith((".", "#"))


def is_private(folder: str) -> bool:
    """Return whether a folder is one project's, rather than everybody's like /tmp."""
    try:
        status = os.stat(folder)
    except OSError:
        return False
    everybodys = ("/", os.path.expanduser("~"), os.path.realpath(tempfile.gettempdir()))
    if is_ignored(folder.rstrip("/") + "/x") or os.path.realpath(folder) in everybodys:
        return False
    return stat.S_ISDIR(status.st_mode) and not status.st_mode & (stat.S_ISVTX | stat.S_IWOTH)


def below(folder: str) -> list[str]:
    """Return the folders in a folder in which a project's data may lie."""
    try:
        if os.stat(folder).st_nlink == 2:
            return []  # a leaf: a folder's links are its name, itself, and each one below
        with os.scandir(folder) as entries:
            found = [e.path for e in entries
                     if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)]  # fmt: skip
    except OSError:
        return []
    return [path for path in sorted(found)
            if os.path.basename(path) != "node_modules" and not is_ignored(path + "/x")
            and not os.path.exists(path + "/pyvenv.cfg")
            and not os.path.isdir(path + "/conda-meta")]  # fmt: skip
