"""What a Python program that is started imports, as its source and the project's say.

A program is not watched: what cannot be read off the sources (what a library imports, a path
that is put together) is left to the deep layer.
"""

# Paths stay strings here, as elsewhere in this package.
# ruff: noqa: PTH100, PTH109, PTH112, PTH113, PTH118, PTH119, PTH120
from __future__ import annotations

import ast
import functools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mlrepro_nb.capture.cells.source import parsed
from mlrepro_nb.capture.data.hashing import regular, signature
from mlrepro_nb.capture.data.paths import is_source

_PYTHON = re.compile(r"^(?:python|pypy)[\d.]*$")
_MOST = 1 << 18
"""Bytes of sources that are read of a program: it waits for this before it starts."""

_Name = tuple[int, tuple[str, ...]]
"""A module that an import statement names: the dots before it, and its parts."""


def imported_by(words: list[str]) -> tuple[list[str], set[str]]:
    """Return the project's sources that a command runs, and the other top-level modules it imports.

    Parameters
    ----------
    words : list of str
        The command; one that is not Python's imports nothing.
    """
    here = os.getcwd()
    found = _Followed(os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if is_source(program := os.path.abspath(words[0])):
        found.script(program)
    elif _PYTHON.match(os.path.basename(words[0])):
        rest = iter(words[1:])
        for word in rest:
            if not word.startswith("-"):
                found.script(os.path.abspath(word))
                break
            if re.match(r"^-\w*c$", word):
                found.names(here, "", _named(next(rest, "")))
                break
            if re.match(r"^-\w*m$", word):
                name = tuple(next(rest, "").split("."))
                found.names(here, "", [(0, (*name, "__main__"))])
                break
            if word in ("-W", "-X"):
                next(rest, None)
    return list(found.files), found.elsewhere - sys.stdlib_module_names - {""}


class _Followed:
    """Goes from source to source."""

    def __init__(self, path: list[str]) -> None:
        self._path = [os.path.abspath(folder) for folder in path if folder]
        self._left = _MOST
        self.files: dict[str, None] = {}
        self.elsewhere: set[str] = set()

    def script(self, file: str) -> None:
        self._source(os.path.dirname(file), file)

    def names(self, first: str, file: str, names: list[_Name]) -> None:
        for dots, parts in names:
            if dots:
                base = file
                for _ in range(dots):
                    base = os.path.dirname(base)
                found = list(_files(base, parts))
            else:
                places = (list(_files(base, parts)) for base in (first, *self._path))
                found = next((files for files in places if files), [])
                if not found:
                    self.elsewhere.add(parts[0])
            for one in found:
                self._source(first, one)

    def _source(self, first: str, file: str) -> None:
        status = regular(file)
        if status is None or file in self.files or not is_source(file):
            return
        self.files[file] = None
        self._left -= status.st_size
        if self._left >= 0:
            self.names(first, file, _names_in(file, signature(status)))


def _files(base: str, parts: tuple[str, ...]) -> Iterator[str]:
    """Yield the project's sources that an import of a module below a folder runs."""
    for part in parts:
        base = os.path.join(base, part)
        for file in (f"{base}.py", f"{base}/__init__.py"):
            if is_source(file) and os.path.isfile(file):
                yield file
        if not os.path.isdir(base):
            return


@functools.lru_cache(maxsize=1000)
def _names_in(file: str, _: tuple[int, ...]) -> list[_Name]:
    try:
        return _named(Path(file).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def _named(source: str) -> list[_Name]:
    tree = parsed(source)
    found: dict[_Name, None] = {}
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            found |= {(0, tuple(alias.name.split("."))): None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = node.module.split(".") if node.module else []
            found |= {(node.level, (*start, alias.name)): None for alias in node.names}
    return list(found)
