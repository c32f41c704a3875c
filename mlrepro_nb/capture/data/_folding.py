"""Many files of one folder are one thing: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

MOST = 100
"""Entries that a folder may take in a record before it becomes one."""


class Folded(Generic[T]):
    """A folder, and its files by their path in it."""

    def __init__(self, folder: str, files: dict[str, T]) -> None:
        self.folder = folder
        self.files = files


def fold(files: Mapping[str, T], most: int = MOST) -> list[tuple[str, T] | Folded[T]]:
    """Return files by themselves, or their folder where it would take too many entries.

    The deepest folders are looked at first, so that ``data/labels.csv`` stays by
    itself beside ``data/images/`` with its thousands.

    Parameters
    ----------
    files : mapping
        By path, ``/`` between the parts: either all absolute, or all relative to one folder,
        which becomes ``.`` if it takes too many entries itself.
    most : int
        Entries that a folder may take.
    """
    root = _Node()
    for path in files:
        node = root
        *folders, name = path.split("/")
        for folder in folders:
            node = node.folders.setdefault(folder, _Node())
        node.names.append(name)
    found: list[tuple[str, T] | Folded[T]] = []
    outside = any(path.startswith("/") for path in files)
    for entry in _entries(root, "", most, ("", "/") if outside else ()):
        if isinstance(entry, str):
            found.append((entry, files[entry]))
        else:
            folder, names = entry
            start = "" if folder == "." else f"{folder}/"
            found.append(Folded(folder, {name: files[start + name] for name in names}))
    return found


class _Node:
    __slots__ = ("folders", "names")

    def __init__(self) -> None:
        self.folders: dict[str, _Node] = {}
        self.names: list[str] = []


def _entries(
    node: _Node, path: str, most: int, never: tuple[str, ...]
) -> list[str | tuple[str, list[str]]]:
    found: list[str | tuple[str, list[str]]] = [path + name for name in node.names]
    for name, child in node.folders.items():
        found += _entries(child, f"{path}{name}/", most, never)
    if len(found) <= most or path in never:
        return found
    below = [one[len(path) :] for one in _paths(found)]
    return [(path.removesuffix("/") or ".", below)]


def _paths(entries: Iterable[str | tuple[str, list[str]]]) -> Iterable[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            folder, names = entry
            yield from (f"{folder}/{name}" for name in names)
