"""The chain as a graph to look into."""

from __future__ import annotations

import base64
import uuid
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import msgspec
import traitlets

from mlrepro_nb.faces.widgets import _display
from mlrepro_nb.lineage import Lineage, layout, to_svg, to_text

MIME = "application/vnd.mlrepro.lineage+json"
_HERE = Path(__file__).parent


class LineageWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """Shows a `Lineage`: pan, zoom, details of a node, what it came from."""

    _esm = _HERE / "lineage.js"
    _css = _HERE / "lineage.css"
    graph = traitlets.Dict().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)
    """Id of the node whose details are open; also to be set from Python."""

    def __init__(self, lineage: Lineage) -> None:
        self.lineage = lineage
        super().__init__(graph=drawing(lineage), key=uuid.uuid4().hex, selected=lineage.focus)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **self._copy()}, metadata

    def _ipython_display_(self) -> None:
        _display.show(self._repr_mimebundle_()[0], self._copy(), MIME)

    def _copy(self) -> dict[str, Any]:
        return {
            "text/html": _display.static(self.key, picture(self.lineage)),
            "text/plain": to_text(self.lineage),
            MIME: msgspec.to_builtins(self.lineage),
        }


def drawing(lineage: Lineage) -> dict[str, Any]:
    """Return a lineage with its layout, as the front end draws it."""
    plan = layout(lineage)
    placed = {place.id: place for place in plan.nodes}
    nodes = [
        {**msgspec.to_builtins(node), "x": placed[node.id].x, "y": placed[node.id].y}
        for node in lineage.nodes
    ]
    return {
        "target": lineage.target,
        "focus": lineage.focus,
        "holds": lineage.holds,
        "notes": list(lineage.notes),
        "nodes": nodes,
        "edges": msgspec.to_builtins(lineage.edges),
        "paths": msgspec.to_builtins(plan.edges),
        "width": plan.width,
        "height": plan.height,
        "nodeWidth": plan.node_width,
        "nodeHeight": plan.node_height,
    }


def picture(lineage: Lineage) -> str:
    """Return a static picture as HTML that survives sanitisers: an image and a table."""
    data = base64.b64encode(to_svg(lineage).encode()).decode()
    plan = layout(lineage)
    notes = "".join(f"<li>{escape(note)}</li>" for note in lineage.notes)
    rows = "".join(
        f"<tr><td>{node.type}</td><td>{escape(node.label)}</td><td>{escape(node.summary)}</td>"
        f"<td><code>{escape(str(_identity(node.detail)))}</code></td></tr>"
        for node in lineage.nodes
    )
    return (
        f'<img alt="{escape(f"Lineage of {lineage.target}")}" width="{plan.width:.0f}" '
        f'style="max-width:100%;height:auto" src="data:image/svg+xml;base64,{data}">'
        + (f"<ul>{notes}</ul>" if notes else "")
        + f"<details><summary>{len(lineage.nodes)} nodes</summary><table>{rows}</table></details>"
    )


def _identity(detail: dict[str, Any]) -> object:
    names = ("digest", "commit", "run_id", "uri")
    return next((detail[name] for name in names if name in detail), "")
