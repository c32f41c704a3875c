"""Widgets: by their state, for their ids are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlrepro_nb.verify.compare._difference import NEAR, Context, Difference
from mlrepro_nb.verify.compare._json import compare_json

VIEW = "application/vnd.jupyter.widget-view+json"
_REFERENCE = "IPY_MODEL_"
_MOST = 5_000
# How a widget is drawn and by which release, not what it shows.
_DRESS = frozenset({
    "layout", "style", "tabbable", "tooltip", "_dom_classes", "_model_module_version",
    "_view_module_version", "_view_count", "_model_module", "_view_module", "comm",
})  # fmt: skip


def compare_widgets(before: Any, after: Any, context: Context) -> Difference | None:
    """Compare two widgets and those that they hold; None where a state was not kept."""
    old, new = _tree(before, context.widgets[0]), _tree(after, context.widgets[1])
    if old is None or new is None:
        return None
    found = compare_json(old, new, context, drawn=True)
    return NEAR if found.level == "bitwise" else found


def _tree(view: Any, states: Mapping[str, Any]) -> Any:
    """Return the state of a widget with those of the widgets that it names, each once."""
    root = view.get("model_id") if isinstance(view, Mapping) else None
    if not isinstance(root, str) or root not in states:
        return None
    order: dict[str, int] = {root: 0}
    waiting: list[str] = [root]
    found: list[dict[str, Any] | None] = []
    while waiting and len(found) < _MOST:
        model = states.get(waiting.pop(0))
        if not isinstance(model, Mapping):
            found.append(None)
            continue
        state = model.get("state")
        shown: dict[str, Any] = {"model": model.get("model_name")}
        for key, value in state.items() if isinstance(state, Mapping) else ():
            if key not in _DRESS:
                shown[key] = _numbered(value, order, waiting)
        found.append(shown)
    return found


def _numbered(value: Any, order: dict[str, int], waiting: list[str]) -> Any:
    """Return a value with the widgets that it names by their number, and note those."""
    if isinstance(value, str) and value.startswith(_REFERENCE):
        name = value[len(_REFERENCE) :]
        if name not in order:
            order[name] = len(order)
            waiting.append(name)
        return f"widget {order[name]}"
    if isinstance(value, list) and len(value) < _MOST:
        return [_numbered(each, order, waiting) if isinstance(each, str) else each
                for each in value]  # fmt: skip
    return value


def widget_states(notebook: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the states of a notebook's widgets by model id, as Jupyter keeps them."""
    widgets = notebook.get("widgets")
    kept = widgets.get("application/vnd.jupyter.widget-state+json") if isinstance(
        widgets, Mapping) else None  # fmt: skip
    states = kept.get("state") if isinstance(kept, Mapping) else None
    return states if isinstance(states, Mapping) else {}
