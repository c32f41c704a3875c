"""A lineage as a picture: pure.

Every colour is a presentation attribute as well as a CSS rule, so that the
picture still reads where a page's style sheets are stripped.
"""

from __future__ import annotations

import re
from html import escape
from itertools import count

from mlrepro_nb.lineage.graph import Lineage, Node
from mlrepro_nb.lineage.layout import NODE_HEIGHT, NODE_WIDTH, layout
from mlrepro_nb.lineage.text import FORWARD

LIGHT = {
    # PROV's own colours (entity yellow, activity blue, agent orange), toned down.
    "entity": ("#fff8e1", "#b7791f"),
    "activity": ("#e8effc", "#3b6fd4"),
    "agent": ("#fdeee3", "#c4581a"),
}
DARK = {
    "entity": ("#2f2a1c", "#d9a441"),
    "activity": ("#1d2840", "#7ea6f4"),
    "agent": ("#38261b", "#ef9560"),
}
_WIDE = re.compile(
    r"[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60]"
)

STYLE = """
.lg-label{font-weight:600;font-size:12.5px}
.lg-type{font-size:9.5px;letter-spacing:.06em}.lg-sub{font-size:10.5px}
.lg-edge{fill:none;stroke-width:1.4}
.lg-node:hover .lg-box,a:focus-visible .lg-box{stroke-width:2.5}a:focus{outline:none}
@media (prefers-color-scheme:dark){DARK_RULES}
""".strip()


def style() -> str:
    """Return the picture's style sheet."""
    rules = [".lg-back{fill:#16181d}.lg-label{fill:#e8eaed}.lg-sub{fill:#a9b0bb}"]
    rules.append(".lg-edge{stroke:#626b7a}.lg-tip{fill:#626b7a}")
    for prov, (fill, line) in DARK.items():
        rules.append(f".lg-{prov} .lg-box{{fill:{fill};stroke:{line}}}")
        rules.append(f".lg-{prov} .lg-type,.lg-{prov} .lg-bar{{fill:{line}}}")
    dark = "".join(rules)
    return STYLE.replace("DARK_RULES", dark)


def to_svg(lineage: Lineage, *, links: bool = False) -> str:
    """Draw a lineage; with `links` each node leads to ``#<number>`` of the page around it."""
    plan = layout(lineage)
    nodes = {node.id: node for node in lineage.nodes}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {plan.width:g} {plan.height:g}" '
        f'width="{plan.width:g}" height="{plan.height:g}" role="img" '
        f'aria-label="{_text(f"Lineage of {lineage.target}")}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        f"<style>{style()}</style>",
        f'<rect class="lg-back" width="{plan.width:g}" height="{plan.height:g}" fill="#ffffff"/>',
    ]
    for edge in plan.edges:
        told = f"{nodes[edge.source].label} {FORWARD[edge.relation]} {nodes[edge.target].label}"
        end = edge.path.rsplit(" ", 1)[-1]
        x, y = (float(part) for part in end.split(","))
        dashed = ' stroke-dasharray="4 4"' if edge.relation == "alternateOf" else ""
        parts.append(
            f'<g><title>{_text(told)}</title><path class="lg-edge" d="{edge.path}" fill="none" '
            f'stroke="#9aa3b0" stroke-width="1.4"{dashed}/><path class="lg-tip" '
            f'd="M{x:g},{y:g} l-6,-3.4 v6.8 z" fill="#9aa3b0"/></g>'
        )
    for number, placed in enumerate(plan.nodes):
        parts.append(_node(nodes[placed.id], placed.x, placed.y, lineage, number, links=links))
    parts.append("</svg>")
    return "".join(parts)


def _node(node: Node, x: float, y: float, lineage: Lineage, number: int, *, links: bool) -> str:
    fill, line = LIGHT[node.prov]
    focus = node.id == lineage.focus
    radius = {"entity": 8, "activity": 2, "agent": 20}[node.prov]
    dash = "" if node.present else ' stroke-dasharray="5 4"'
    title = "\n".join(
        part for part in (f"{node.type}: {node.label}", node.summary, node.id) if part
    )
    marked = " lg-focus" if focus else ""
    drawn = (
        f'<g class="lg-node lg-{node.prov}{marked}" transform="translate({x:g},{y:g})" '
        f'data-number="{number}"><title>{_text(title)}</title>'
        f'<rect class="lg-box" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="{radius}" '
        f'fill="{fill}" stroke="{line}" stroke-width="{2.5 if focus else 1.25}"{dash}/>'
        f'<text class="lg-type" x="13" y="15.5" font-size="9.5" fill="{line}">'
        f"{_text(node.type.upper())}{' · TARGET' if focus else ''}</text>"
        f'<text class="lg-label" x="13" y="31" font-size="12.5" font-weight="600" '
        f'fill="#1f2328">{_text(elided(node.label, 22))}</text>'
        f'<text class="lg-sub" x="13" y="45.5" font-size="10.5" fill="#59636e">'
        f"{_text(elided(node.summary, 25))}</text></g>"
    )
    return f'<a href="#n{number}">{drawn}</a>' if links else drawn


def elided(text: str, room: int) -> str:
    """Cut a text in its middle to so many letters; ends of paths tell more than middles."""
    text = " ".join(text.split())
    widths = [2 if _WIDE.match(c) else 1 for c in text]
    if sum(widths) <= room:
        return text
    tail_room = room // 2
    tail = next(n for n in count(1) if n == len(text) or sum(widths[-n - 1 :]) > tail_room)
    head = next(n for n in count(1) if sum(widths[: n + 1]) > room - tail_room - 1)
    return f"{text[:head]}…{text[-tail:]}"


def _text(text: str) -> str:
    """Escape, without the control characters that XML does not allow."""
    kept = (c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    return escape("".join(kept), quote=True)
