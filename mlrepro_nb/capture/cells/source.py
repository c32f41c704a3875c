"""What can be read off a cell's source without running it: pure."""

from __future__ import annotations

import ast
import re
import shlex

_MAGIC = re.compile(r"^\s*%%mlrepro\s+record\b(.*)$")
_IMPORT = re.compile(r"^\s*(?:import\s+(.+)|from\s+([\w.]+)\s+import\b)")

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_KEPT = "\\'\"\r\n"
"""Characters without whose backslash a string, or a line, would end elsewhere."""


def cell_name(source: str) -> str | None:
    """Return the name that ``%%mlrepro record --name NAME`` gives to its cell."""
    for line in source.splitlines():
        if not line.strip():
            continue
        match = _MAGIC.match(line)
        if match is None:
            if line.lstrip().startswith("%%"):
                continue  # another cell magic around it
            return None
        try:
            words = shlex.split(match.group(1))
        except ValueError:
            return None
        for here, word in enumerate(words):
            if word.startswith("--name="):
                return word.removeprefix("--name=") or None
            if word in ("--name", "-n") and here + 1 < len(words):
                return words[here + 1]
        return None
    return None


def parsed(source: str) -> ast.Module | None:
    r"""Return the statements of a source, in which strings need not be what they were.

    Python warns of ``"\d"`` when it reads a source. In a kernel that would be in a cell's output,
    and to silence warnings would have those be shown again that were shown before.
    """
    if "\\" in source:
        source = _ESCAPED.sub(lambda pair: pair[0] if pair[1] in _KEPT else f"\\{pair[0]}", source)
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def imported_names(source: str) -> set[str]:
    """Return the top-level modules that a cell's import statements name."""
    if "import" not in source:
        return set()
    tree = parsed(source)
    if tree is None:
        return _imports_by_line(source)  # magics in it, or broken
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def _imports_by_line(source: str) -> set[str]:
    found: set[str] = set()
    for line in source.splitlines():
        if match := _IMPORT.match(line):
            for name in (match.group(1) or match.group(2)).split(","):
                first = name.strip().split()[0] if name.strip() else ""
                if top := first.partition(".")[0]:
                    found.add(top)
    return found
