"""The files that a notebook's source spells: what it names, writes and lists."""

from __future__ import annotations

import ast
import re

from mlrepro_nb.dataflow import Cell, Flow, dotted
from mlrepro_nb.verify.attribute._names import LISTING_METHODS, LISTINGS


def string_literals(cell: Cell) -> list[str]:
    """Return the string constants of a cell, docstrings left out."""
    if cell.tree is None:
        return []
    bare = {id(node.value) for node in ast.walk(cell.tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(cell.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    ]


def file_literals(cell: Cell) -> list[str]:
    """Return the string constants of a cell that look like the path of a file."""
    return [
        text
        for text in string_literals(cell)
        if len(text) < 300
        and "\n" not in text
        and "://" not in text
        and (re.search(r"[\w)]\.[A-Za-z]\w{0,7}$", text) or re.search(r"[^/\s]/[^/\s]", text))
    ]


def written_files(cell: Cell, flow: Flow) -> set[str]:
    """Return the paths that the cell hands to something that writes, where the source spells them.

    Also those of the path that it has written itself: ``Path("a.txt").write_text(…)``.
    """
    bound = bindings(flow)
    found: set[str] = set()
    for node in ast.walk(cell.tree) if cell.tree is not None else ():
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func) or ""
        last = node.func.attr if isinstance(node.func, ast.Attribute) else name
        own = node.func.value if isinstance(node.func, ast.Attribute) else None
        if last in ("write_text", "write_bytes", "touch") or (
            # The mode is the first that `Path.open` is given.
            last == "open" and own is not None and _writes(node, 0)
        ):
            found.update(filter(None, [_spelled(own, flow, bound) if own is not None else None]))
        elif last.startswith(("to_", "save", "write", "dump", "imwrite")) or (
            last.endswith("Writer") or (last in _OPENERS and _writes(node, 1))
        ):
            told = [_spelled(a, flow, bound) if last != "write" else _literal(a) for a in node.args]
            found.update([text for text in told if text][:1])
    return found


_OPENERS = frozenset({"open", "File", "ZipFile", "TarFile"})
"""What writes if it is given a mode to write."""


def _writes(node: ast.Call, place: int) -> bool:
    modes = [*node.args[place : place + 1], *(k.value for k in node.keywords if k.arg == "mode")]
    spelled = [_literal(mode) or "" for mode in modes]
    return any(re.fullmatch(r"[rwaxbt+]{1,4}", s) and set(s) & set("wax+") for s in spelled)


def _literal(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def listed_patterns(cell: Cell, flow: Flow) -> list[str]:
    """Return the patterns of files that a cell lists, where the source spells them."""
    bound = bindings(flow)
    found: list[str | None] = []
    for node in ast.walk(cell.tree) if cell.tree is not None else ():
        if not isinstance(node, ast.Call):
            continue
        name = flow.resolve(dotted(node.func) or "")
        first = _spelled(node.args[0], flow, bound) if node.args else "*"
        if name in ("glob.glob", "glob.iglob"):
            found.append(first)
        elif name in LISTINGS:
            found.append(first and f"{first}/*")
        elif isinstance(node.func, ast.Attribute) and node.func.attr in LISTING_METHODS:
            folder = _spelled(node.func.value, flow, bound)
            deep = "**/" if node.func.attr == "rglob" else ""
            found.append(folder and first and f"{folder}/{deep}{first}")
    return [pattern for pattern in found if pattern]


def _spelled(
    node: ast.AST, flow: Flow, bound: dict[str, list[ast.expr]], depth: int = 8
) -> str | None:
    """Return the path that an expression stands for, where the source spells it."""
    if isinstance(node, ast.Constant):
        return _literal(node)
    if isinstance(node, ast.Name):
        values = bound.get(node.id, [])
        return _spelled(values[0], flow, bound, depth - 1) if depth and len(values) == 1 else None
    parts: list[ast.expr] = []
    between = "/"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        parts, between = [node.left, node.right], "/" if isinstance(node.op, ast.Div) else ""
    elif isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.FormattedValue) else v for v in node.values]
        between = ""
    elif isinstance(node, ast.Call) and flow.resolve(dotted(node.func) or "") in (
        "pathlib.Path", "pathlib.PurePath", "os.path.join", "os.path.expanduser", "str",
    ):  # fmt: skip
        parts = node.args
    told = [_spelled(part, flow, bound, depth - 1) for part in parts] if depth else []
    return between.join(map(str, told)) if told and None not in told else None


def bindings(flow: Flow) -> dict[str, list[ast.expr]]:
    """Return for names the expressions that they are bound to by plain assignment."""
    found: dict[str, list[ast.expr]] = {}
    for cell in flow.cells:
        for node in ast.walk(cell.tree) if cell.tree is not None else ():
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(node.value)
    return found
