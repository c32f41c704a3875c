"""``jupyter nbconvert --to mlrepro``: a page for whoever reviews a notebook.

The notebook as nbconvert shows it; above it its record, and at each cell the verdict of
the last verification. The page loads nothing and runs nothing: no script of an output,
either.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbconvert.exporters import HTMLExporter

from mlrepro_nb import stamp
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import REPRODUCED, CellVerdict, Record, Verification

if TYPE_CHECKING:
    from mlrepro_nb.store import Store

_TEMPLATE = """\
{%- extends 'lab/index.html.j2' -%}
{%- block html_head -%}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; font-src data:; media-src data:" />
{{ super() }}
{%- endblock html_head -%}
{%- block html_head_js -%}{%- endblock html_head_js -%}
{%- block html_head_js_mathjax -%}{%- endblock html_head_js_mathjax -%}
{%- block html_head_js_mermaidjs -%}{%- endblock html_head_js_mermaidjs -%}
{%- block jupyter_widgets -%}{%- endblock jupyter_widgets -%}
{%- block html_head_css -%}<style>{{ resources.mlrepro.style }}</style>{%- endblock -%}
{%- block body_header -%}{{ super() }}{{ resources.mlrepro.header }}{%- endblock body_header -%}
{%- block codecell -%}
{{ resources.mlrepro.cells[resources.mlrepro.next()] }}
{{- super() -}}
{%- endblock codecell -%}
"""

_STYLE = """
.mlrepro{font:14px/1.5 system-ui,sans-serif;margin:1rem 1rem 0 5rem}
.mlrepro table{border-collapse:collapse}.mlrepro td,.mlrepro th{padding:.2rem .8rem .2rem 0;
text-align:left;vertical-align:top;white-space:pre-line}
.mlrepro-good{color:#1a7f37}.mlrepro-off{color:#9a6700}.mlrepro-bad{color:#cf222e}
.mlrepro-mute{opacity:.7}.mlrepro strong{margin-right:.6rem}
"""


class ReviewExporter(HTMLExporter):  # type: ignore[misc]
    """A notebook with its record and its verdicts, as one file."""

    export_from_notebook = "Review (mlrepro)"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.raw_template = _TEMPLATE
        self.embed_images = True

    def from_notebook_node(
        self, nb: Any, resources: dict[str, Any] | None = None, **named: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return the page."""
        resources = self._init_resources(resources)
        digest, record, found = _known(nb, resources.get("metadata") or {})
        verdicts = {cell.index: cell for cell in found.cells} if found is not None else {}
        code = [i for i, cell in enumerate(nb.cells) if cell.cell_type == "code"]
        numbers = iter(range(len(code)))
        resources["mlrepro"] = {
            "style": _STYLE,
            "header": _header(digest, record, found),
            "cells": [_badge(verdicts[i]) if i in verdicts else "" for i in code],
            "next": lambda: next(numbers),
        }
        page, resources = super().from_notebook_node(nb, resources, **named)
        resources.pop("mlrepro", None)
        return page, resources


def _known(
    nb: Any, metadata: dict[str, Any]
) -> tuple[str | None, Record | None, Verification | None]:
    """Return what the store has of a notebook: its record, and the last verification of it."""
    from mlrepro_nb.store import Store

    path = Path(metadata.get("path") or ".", f"{metadata.get('name', 'notebook')}.ipynb")
    try:
        store = Store.find(path.absolute())
        named = stamp.read(nb.metadata)
        name = store.notebook_name(path.absolute())
        digest = named.record if named is not None else store.latest_record(name)
        if digest is None:
            return None, None, None
        record = store.get(Record, digest)
        if named is not None and record.lineage.mode == "verify" and record.lineage.parent:
            digest = record.lineage.parent  # an executed copy: what it was held against counts
            record = store.get(Record, digest)
        return digest, record, _verification(store, digest)
    except MlreproError:
        return None, None, None


def _verification(store: Store, digest: str) -> Verification | None:
    for found in store.find_by_key(f"record:{digest}", Verification):
        verification = store.get(Verification, found)
        if verification.record == digest:
            return verification
    return None


def _header(digest: str | None, record: Record | None, found: Verification | None) -> str:
    from mlrepro_nb.faces.cli.show import summary
    from mlrepro_nb.verify import sentence

    if record is None or digest is None:
        return (
            '<div class="mlrepro"><p class="mlrepro-off">The store has no record of this '
            "notebook.</p></div>"
        )
    lines = ['<div class="mlrepro">']
    if found is None:
        lines.append('<p class="mlrepro-mute">It was recorded, and never verified.</p>')
    else:
        lines.append(f'<p class="{_class(found.verdict)}">{escape(sentence(found))}</p>')
        lines += [f"<p>{escape(note)}</p>" for note in found.notes]
    lines.append(f"<p>Record {escape(digest)}</p>")
    for part, text in summary(record).items():
        lines.append(
            f"<details><summary>{escape(part)}</summary><table><tr><td>{escape(text)}</td></tr>"
            "</table></details>"
        )
    return "\n".join([*lines, "</div>"])


def _badge(cell: CellVerdict) -> str:
    text = f'<strong class="{_class(cell.verdict)}">{escape(cell.verdict)}</strong>'
    if cell.verdict != "bitwise" and cell.detail:
        text += escape(cell.detail)
    if cell.cause is not None:
        cause = cell.cause
        text += (
            f"<br><strong>{escape(cause.kind)}</strong>{escape(cause.subject)}: "
            f"{escape(cause.evidence)}<br><strong>Fix:</strong>{escape(cause.fix)}"
        )
    return f'<div class="mlrepro">{text}</div>'


def _class(verdict: str) -> str:
    if verdict in REPRODUCED:
        return "mlrepro-good"
    return {"different": "mlrepro-off", "failed": "mlrepro-bad"}.get(verdict, "mlrepro-mute")
