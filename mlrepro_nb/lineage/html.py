"""A lineage as a page that stands alone: pure, and it loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from mlrepro_nb.lineage.graph import Lineage, Node
from mlrepro_nb.lineage.layout import layout
from mlrepro_nb.lineage.svg import to_svg
from mlrepro_nb.lineage.text import FORWARD

_STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1f2328;--soft:#59636e;
--line:#d8dee4;--entity:#b7791f;--activity:#3b6fd4;--agent:#c4581a;--warn:#9a6700;--mark:#fff3c4}
@media (prefers-color-scheme:dark){:root{--page:#0f1115;--card:#16181d;--text:#e8eaed;
--soft:#a9b0bb;--line:#2d333d;--entity:#d9a441;--activity:#7ea6f4;--agent:#ef9560;
--warn:#e3b341;--mark:#3a3217}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--text);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
main{max-width:1600px;margin:0 auto;padding:28px 24px 64px}
h1{font-size:20px;font-weight:600;margin:0 0 2px;overflow-wrap:anywhere}
h2{font-size:15px;font-weight:600;margin:32px 0 10px}
.lead{color:var(--soft);margin:0 0 18px}code{font:12.5px/1.45 ui-monospace,Menlo,Consolas,monospace;
overflow-wrap:anywhere}
.picture{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:6px;
overflow-x:auto}.picture svg{display:block;margin:0 auto;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:6px 20px;color:var(--soft);font-size:12.5px;
margin:10px 2px 0;padding:0;list-style:none}.legend i{display:inline-block;width:18px;height:12px;
border:1.5px solid;vertical-align:-1px;margin-right:6px}
.entity{color:var(--entity)}.activity{color:var(--activity)}.agent{color:var(--agent)}
i.entity{border-radius:4px}i.activity{border-radius:1px}i.agent{border-radius:7px}
i.absent{border-style:dashed;color:var(--soft);border-radius:4px}
.notes{margin:18px 0 0;padding:10px 14px 10px 32px;background:var(--card);
border:1px solid var(--line);border-left:3px solid var(--warn);border-radius:6px}
.table{background:var(--card);border:1px solid var(--line);border-radius:10px;overflow-x:auto}
table{border-collapse:collapse;width:100%}td{padding:10px 14px;vertical-align:top;
border-top:1px solid var(--line)}tr:first-child>td{border-top:0}tr:target{background:var(--mark)}
td.what{white-space:nowrap;font-size:11px;letter-spacing:.05em;text-transform:uppercase;
font-weight:600;padding-top:12px}td.name{min-width:190px;max-width:320px;overflow-wrap:anywhere}
td.name b{font-weight:600}td.name span{display:block;color:var(--soft);font-size:12.5px}
dl{display:grid;grid-template-columns:minmax(90px,max-content) 1fr;gap:2px 14px;margin:0}
dt{color:var(--soft);font-size:12.5px}dd{margin:0;overflow-wrap:anywhere;min-width:0}
pre{margin:2px 0;padding:8px 10px;background:var(--page);border-radius:6px;overflow:auto;
max-height:260px;font:12px/1.45 ui-monospace,Menlo,Consolas,monospace}
.copy{user-select:all}button{font:11px/1 inherit;color:var(--soft);background:none;
border:1px solid var(--line);border-radius:5px;padding:2px 7px;margin-left:8px;cursor:pointer}
button:hover,button:focus-visible{color:var(--text);border-color:var(--soft)}
details summary{cursor:pointer;color:var(--soft)}footer{margin-top:28px;color:var(--soft);
font-size:12.5px}
@media print{button{display:none}.picture{overflow:visible}}
""".strip()

_SCRIPT = (
    "document.querySelectorAll('code.copy').forEach(function(c){"
    "var b=document.createElement('button');b.type='button';b.textContent='Copy';"
    "b.setAttribute('aria-label','Copy '+c.textContent);"
    "b.onclick=function(){navigator.clipboard.writeText(c.textContent).then(function(){"
    "b.textContent='Copied';setTimeout(function(){b.textContent='Copy'},1200)})};"
    "if(navigator.clipboard)c.after(b)})"
)

_LISTED = 12


def to_html(lineage: Lineage) -> str:
    """Draw a lineage as a page: the picture, what is missing, and all details.

    Nodes lead to their row of the table. The page's own policy forbids every
    request, so that hostile names could not make it call home either.
    """
    script = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'"
    svg, width = to_svg(lineage, links=True), layout(lineage).width
    notes = "".join(f"<li>{_text(note)}</li>" for note in lineage.notes)
    count = f"{len(lineage.nodes)} nodes, {len(lineage.edges)} edges"
    focus = lineage.node(lineage.focus)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Lineage of {_text(focus.label)}</title><style>{_STYLE}"
        f".picture svg{{width:100%;min-width:{width * 0.7:.0f}px;max-width:{width:.0f}px}}"
        f"</style></head><body><main><h1>Lineage of {_text(focus.label)}</h1>"
        f'<p class="lead">{focus.type.capitalize()} <code>{_text(lineage.target)}</code> · '
        f"{count}</p>"
        f'<div class="picture">{svg}</div>{_LEGEND}'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + f'<h2>Details</h2><div class="table"><table><tbody>{_rows(lineage)}</tbody></table></div>'
        "<footer>Drawn by mlrepro trace. Relations are W3C PROV’s.</footer></main>"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


_LEGEND = (
    '<ul class="legend"><li><i class="entity"></i>entity: what there is</li>'
    '<li><i class="activity"></i>activity: what was done</li>'
    '<li><i class="agent"></i>agent: who did it</li>'
    '<li><i class="absent"></i>named, but not in this store</li>'
    "<li>causes are left of effects; what a longer path already says is not drawn</li></ul>"
)


def _rows(lineage: Lineage) -> str:
    causes: dict[str, list[tuple[str, str]]] = {}
    for edge in lineage.edges:
        causes.setdefault(edge.source, []).append((FORWARD[edge.relation], edge.target))
    number = {node.id: n for n, node in enumerate(lineage.nodes)}
    labels = {node.id: node.label for node in lineage.nodes}
    rows = []
    for node in lineage.nodes:
        told = "".join(
            f'<dt>{word}</dt><dd><a href="#n{number[other]}">{_text(labels[other])}</a></dd>'
            for word, other in causes.get(node.id, ())
        )
        missing = "" if node.present else "<span>not in this store</span>"
        rows.append(
            f'<tr id="n{number[node.id]}"><td class="what {node.prov}">{_text(node.type)}</td>'
            f'<td class="name"><b>{_text(node.label)}</b><span>{_text(node.summary)}</span>'
            f"{missing}</td><td><dl>{_details(node)}{told}</dl></td></tr>"
        )
    return "".join(rows)


def _details(node: Node) -> str:
    return "".join(
        f"<dt>{_text(name.replace('_', ' '))}</dt><dd>{_value(name, value)}</dd>"
        for name, value in node.detail.items()
    )


def _value(name: str, value: Any) -> str:
    if name == "source":
        return f"<pre>{_text(str(value))}</pre>"
    if isinstance(value, dict):
        lines = [f"<code>{_text(str(k))}</code> = {_value('', v)}" for k, v in value.items()]
        return _many(lines)
    if isinstance(value, (list, tuple)):
        return _many([_value("", item) for item in value])
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return f"<code>{_text(json.dumps(value))}</code>"
    if value.startswith(("sha256:", "blake3:")) or name in ("commit", "run_id", "id"):
        return f'<code class="copy">{_text(value)}</code>'
    return _text(value)


def _many(lines: list[str]) -> str:
    if len(lines) <= _LISTED:
        return "<br>".join(lines)
    return f"<details><summary>{len(lines)} entries</summary>{'<br>'.join(lines)}</details>"


def _text(text: str) -> str:
    kept = (c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    return escape("".join(kept), quote=True)
