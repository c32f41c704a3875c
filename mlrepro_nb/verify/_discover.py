"""Which notebooks are meant: files, folders and patterns, in a stable order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mlrepro_nb.connect import git
from mlrepro_nb.errors import NotFoundError, UsageError

_MAGIC = "*?["
_OTHERS = frozenset({"node_modules", "__pycache__", "site-packages", "_build"})


def discover(targets: Iterable[str]) -> list[str]:
    """Return the notebooks that targets name, each once.

    A folder stands for the notebooks below it, but for those in hidden folders, executed
    copies (``*_executed.ipynb``, ``*.nbconvert.ipynb``) and what git ignores. What is named
    itself is always taken; so is what is no notebook: a record.

    Raises
    ------
    NotFoundError
        A folder or pattern has no notebook.
    """
    found: dict[str, None] = {}
    for target in targets:
        if Path(target).is_dir():
            listed = _kept(_below(target))
        elif not Path(target).exists() and any(mark in target for mark in _MAGIC):
            listed = _kept(
                name for name in glob.glob(target, recursive=True)  # noqa: PTH207 - as a shell
                if name.endswith(".ipynb") and not skipped(Path(name).name)
            )  # fmt: skip
        else:
            found[target] = None
            continue
        if not listed:
            raise NotFoundError(
                f"There is no notebook in {target}.", "Name a folder or pattern that has some."
            )
        found |= dict.fromkeys(listed)
    return list(found)


def shard(targets: Sequence[str], which: str) -> list[str]:
    """Return one of several parts of the notebooks: ``2/5`` is the second of five.

    Raises
    ------
    UsageError
        It is not of that form.
    """
    part, _, parts = which.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"{which!r} is no part.", "Write --shard 2/5 for the second of five.")
    return list(targets[int(part) - 1 :: int(parts)])


def _below(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and name not in _OTHERS
            and not (Path(parent) / name / "pyvenv.cfg").exists()
        )  # fmt: skip
        for name in sorted(files):
            if name.endswith(".ipynb") and not skipped(name):
                yield os.path.normpath(Path(parent) / name)


def skipped(name: str) -> bool:
    """Whether a file of this name is an executed copy, which only who names it means."""
    stem = name.removesuffix(".ipynb")
    return stem.endswith(("_executed", ".nbconvert", "-checkpoint")) or name.startswith(".")


def _kept(names: Iterable[str]) -> list[str]:
    """Return the names that git does not ignore, in order."""
    listed = sorted(set(names))
    by_root: dict[Path, list[str]] = {}
    for name in listed:
        root = git.root(Path(name).absolute())
        if root is not None:
            by_root.setdefault(root, []).append(name)
    ignored: set[str] = set()
    for root, some in by_root.items():
        ignored |= git.ignored(root, [str(Path(name).absolute()) for name in some])
    return [name for name in listed if str(Path(name).absolute()) not in ignored]
