"""Changes of a cell's source: at the places of its syntax tree, the rest as it is written."""

from __future__ import annotations

import ast
import re

from mlrepro_nb.dataflow import Flow, dotted, parse
from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.attribute._names import LISTING_METHODS, LISTINGS, UNSEEDED_GENERATORS
from mlrepro_nb.verify.attribute.paths import same_name

_TAKE_ANY_ORDER = frozenset({"list", "tuple", "enumerate", "join", "map", "zip", "array", "Series"})


def _tree(source: str) -> ast.Module | None:
    """Parse a source whose places are its own: none where magics had to be replaced first."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _replaced(source: str, changes: list[tuple[ast.expr, str]]) -> str:
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    raw = source.encode()
    for node, text in sorted(changes, key=lambda c: (c[0].lineno, c[0].col_offset), reverse=True):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        raw = raw[:begin] + text.encode() + raw[end:]
    return raw.decode()


def _text(source: str, node: ast.expr) -> str:
    return ast.get_source_segment(source, node) or ""


def seeded(flow: Flow, source: str) -> str:
    """Give the generators that are made without a seed one."""
    tree = _tree(source)
    if tree is None:
        return source
    changes: list[tuple[ast.expr, str]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node.args or node.keywords:
            continue
        if flow.resolve(dotted(node.func) or "") in UNSEEDED_GENERATORS:
            changes.append((node, f"{_text(source, node.func)}(0)"))
    return _replaced(source, changes)


def sorted_sources(case: Case, cause: Cause, source: str) -> str | None:
    """Sort sets and listings of a cell where their order is taken on."""
    tree = _tree(source)
    if tree is None:
        return None
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    sets = _sets(tree)
    changes: list[tuple[ast.expr, str]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr):
            continue
        if cause.kind == "listing-order":
            wanted = isinstance(node, ast.Call) and _lists(case.flow, node)
            fits = not isinstance(parents.get(node), ast.withitem)
        else:
            wanted = _is_set(node) or (
                isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in sets
            )
            fits = _order_shows(node, parents)
        if wanted and fits and not _inside(node, [n for n, _ in changes], parents):
            key = ", key=str" if cause.kind != "listing-order" else ""
            changes.append((node, f"sorted({_text(source, node)}{key})"))
    return _replaced(source, changes) if changes else None


def _sets(tree: ast.Module) -> set[str]:
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_set(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _is_set(node: ast.expr) -> bool:
    return isinstance(node, ast.Set | ast.SetComp) or (
        isinstance(node, ast.Call) and dotted(node.func) in ("set", "frozenset")
    )


def _lists(flow: Flow, node: ast.Call) -> bool:
    name = flow.resolve(dotted(node.func) or "")
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    return (name in LISTINGS and name not in ("os.walk", "os.scandir")) or (
        method in LISTING_METHODS and name not in LISTINGS
    )


def _order_shows(node: ast.expr, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether an expression stands where something takes its items one after the other."""
    parent = parents.get(node)
    if isinstance(parent, ast.For | ast.comprehension):
        return parent.iter is node
    if isinstance(parent, ast.Call) and node in parent.args:
        last = (dotted(parent.func) or "").rpartition(".")[2]
        if isinstance(parent.func, ast.Attribute):
            last = parent.func.attr
        return last in _TAKE_ANY_ORDER
    return isinstance(parent, ast.Starred)


def _inside(node: ast.AST, done: list[ast.expr], parents: dict[ast.AST, ast.AST]) -> bool:
    here = parents.get(node)
    while here is not None:
        if here in done:
            return True
        here = parents.get(here)
    return False


def relative_paths(case: Case, cause: Cause, source: str) -> str | None:
    """Spell a path of another machine relative to the notebook, where the project has the file."""
    tree = parse(source) and _tree(source)
    if tree is None:
        return None
    changes: list[tuple[ast.expr, str]] = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        literal = node.value
        if not re.match(r"/|~|[A-Za-z]:[\\/]", literal):
            continue
        if not cause.subject.startswith(literal.rstrip("/\\")) and literal[0] != "~":
            continue
        subject = literal if literal[0] == "~" else cause.subject
        rest = subject[len(literal.rstrip("/\\")) :].replace("\\", "/").strip("/")
        found = same_name(case, subject)
        if found is None and not rest and re.search(r"chdir|%cd", source):
            found = "."
        if found is None or not f"/{found}".endswith(f"/{rest}" if rest else ""):
            continue
        new = found[: len(found) - len(rest)].rstrip("/") or "." if rest else found
        changes.append((node, repr(new)))
    return _replaced(source, changes) if changes else None
