"""The project's own modules that cells import: also those that these import in turn."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlrepro_nb.dataflow import Flow, parse

_LARGEST = 1_000_000


def imported_by(flow: Flow, files: Mapping[str, Path]) -> dict[int, list[str]]:
    """Return for each cell the own modules that its imports load, in the order of their names.

    Parameters
    ----------
    flow : Flow
        The notebook.
    files : mapping
        The source of each of the project's modules, by its dotted name. They are read, not run.
    """
    needs = {name: _loaded(_read(path), _package(name, path), files)
             for name, path in files.items()}  # fmt: skip
    found: dict[int, list[str]] = {}
    for cell in flow.cells:
        todo = _loaded(cell.tree, "", files)
        reached: set[str] = set()
        while todo:
            reached |= todo
            todo = {inner for name in todo for inner in needs[name]} - reached
        found[cell.index] = sorted(reached)
    return found


def tops(flow: Flow) -> set[str]:
    """Return the first parts of what the cells import."""
    return {name.partition(".")[0] for cell in flow.cells for name in _named(cell.tree, "")}


def _loaded(tree: ast.AST | None, package: str, files: Mapping[str, Path]) -> set[str]:
    """Return the modules that the imports in a source load: their packages first."""
    found = set()
    for name in _named(tree, package):
        parts = name.split(".")
        found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return found & set(files)


def _named(tree: ast.AST | None, package: str) -> Iterator[str]:
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else ()), *([node.module or ""])]).strip(".")
            # What is imported from a package may be a module of it.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _package(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def _read(path: Path) -> ast.AST | None:
    try:
        if path.stat().st_size > _LARGEST:
            return None
        return parse(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
