"""What has a kernel vary the seeds, and what a notebook is apart from its seeds."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlrepro_nb import dataflow
from mlrepro_nb.verify.statistical._kernel import Seeds, is_seed

_KERNEL = Path(__file__).with_name("_kernel.py")


def varying(run: int) -> str:
    """Return what runs in a kernel before its first cell, so that its seeds are varied."""
    return f"\n{_KERNEL.read_text(encoding='utf-8')}\nvary({run})\n"


def apart_from_seeds(source: str) -> str:
    """Return a form of a cell that two cells share that differ in the numbers of seeds alone.

    Lines of ours (``%mlrepro expect``) are left out; nothing is left of a cell of such lines.
    """
    tree = dataflow.parse(source)
    if tree is None:
        return source.strip()
    try:
        tree = Seeds(_nameless, lambda _: 0).visit(tree)
        tree.body = [node for node in tree.body if not _is_ours(node)]
        return ast.dump(tree) if tree.body else ""
    except RecursionError:
        return source.strip()


def parameters_apart_from_seeds(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are no seeds."""
    return {name: value for name, value in parameters.items() if not is_seed(name)}


def _nameless(value: ast.expr) -> ast.expr:
    if isinstance(value, ast.Constant) and type(value.value) is int:
        return ast.Constant(0)
    if isinstance(value, ast.List | ast.Tuple):
        return ast.Tuple([_nameless(one) for one in value.elts], ast.Load())
    return value


def _is_ours(node: ast.stmt) -> bool:
    call = getattr(node, "value", None)
    if not isinstance(call, ast.Call) or getattr(call.func, "attr", "") != "run_line_magic":
        return False
    values = [getattr(argument, "value", None) for argument in call.args]
    if values == ["load_ext", "mlrepro_nb"]:
        return True
    return values[:1] == ["mlrepro"] and not str(values[-1]).startswith("seed")
