"""Parameters: what the cell tagged ``parameters`` declares, and what may be given."""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlrepro_nb.errors import UsageError

if TYPE_CHECKING:
    from nbformat import NotebookNode

_TAG = "parameters"


def check_parameters(nb: NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook does not declare, and ask for those it needs.

    Raises
    ------
    UsageError
        A name is not declared, or one that is declared without a value is not given.
    """
    cell = next((c for c in nb.cells if _TAG in (c.metadata.get("tags") or ())), None)
    if cell is None:
        if parameters:
            names = ", ".join(map(str, parameters))
            raise UsageError(
                f"The notebook has no cell tagged `parameters`, so {names} cannot be given.",
                "Tag the cell that sets them: in JupyterLab, Property Inspector → Cell Tags.",
            )
        return
    declared = _declared(nb, cell.source)
    if declared is None:
        return
    for name in parameters:
        if name not in declared:
            near = difflib.get_close_matches(str(name), declared, n=1)
            known = ", ".join(declared) or "none"
            raise UsageError(
                f"The notebook declares no parameter {name!r}.",
                (f"Did you mean {near[0]!r}? " if near else "") + f"It declares: {known}.",
            )
    missing = [n for n, has_value in declared.items() if not has_value and n not in parameters]
    if missing:
        raise UsageError(
            f"The notebook's parameter {missing[0]!r} has no value.",
            f"Give one: -p {missing[0]} VALUE",
        )


def portable(nb: Any) -> Any:
    """Return an executed notebook with parameters that JSON has a form for, to be written."""
    metadata = nb["metadata"]
    if "papermill" not in metadata:
        return nb
    return {**nb, "metadata": {**metadata, "papermill": _portable(metadata["papermill"])}}


def _portable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _declared(nb: NotebookNode, source: str) -> dict[str, bool] | None:
    """Return the declared names and whether each has a value; None where nobody can tell."""
    spec = nb.metadata.get("kernelspec") or {}
    info = nb.metadata.get("language_info") or {}
    language = info.get("name") or spec.get("language") or "python"
    if language == "python":
        try:
            return _python(ast.parse(source))
        except (SyntaxError, ValueError):
            pass
    from nbformat.v4 import new_code_cell
    from papermill.exceptions import PapermillException
    from papermill.translators import papermill_translators

    try:
        translator = papermill_translators.find_translator(spec.get("name"), language)
        found = translator.inspect(new_code_cell(source))
    except (NotImplementedError, PapermillException):
        return None
    return {parameter.name: True for parameter in found} or None


def _python(tree: ast.Module) -> dict[str, bool]:
    names: dict[str, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = names.get(node.target.id, False) or node.value is not None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.setdefault(node.id, True)
    return names
