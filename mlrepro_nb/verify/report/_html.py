"""A standalone HTML report: nothing in it is loaded from elsewhere, and nothing in it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from mlrepro_nb.model import REPRODUCED, CellVerdict, Verification
from mlrepro_nb.verify._evidence import CellEvidence, Shown
from mlrepro_nb.verify._task import Outcome
from mlrepro_nb.verify._words import sentence
from mlrepro_nb.verify.report._json import summary
from mlrepro_nb.verify.report._runs import runs

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_NOT_HTML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--off:#9a6700;--bad:#cf222e}
@media(prefers-color-scheme:dark){:root{--good:#3fb950;--off:#d29922;--bad:#f85149}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}
pre{font:13px/1.4 ui-monospace,monospace;margin:.2rem 0;overflow:auto;max-height:28rem;
white-space:pre-wrap;overflow-wrap:anywhere}
.good{color:var(--good)}.off{color:var(--off)}.bad{color:var(--bad)}.mute{opacity:.7}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}.pair>div{min-width:0}
img,svg{max-width:100%}section{margin-top:2.5rem}details{margin:.5rem 0 1rem}
.cause{border-left:3px solid var(--line);margin:.6rem 0;padding-left:.8rem}
"""


def html(outcomes: Sequence[Outcome]) -> str:
    """Return the report."""
    ordered = sorted(outcomes, key=lambda outcome: (outcome.notebook, outcome.target))
    return "\n".join(_page(ordered)) + "\n"


def _page(outcomes: Sequence[Outcome]) -> Iterator[str]:
    totals = summary(outcomes).totals
    counted = ", ".join(f"{count} {word}" for word, count in totals.items() if word != "notebooks")
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
    )
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>Do they reproduce? {escape(counted)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{totals['notebooks']} notebooks: {escape(counted)}</h1>"
    yield "<table><thead><tr><th>notebook</th><th>verdict</th><th>cells</th><th>causes</th></tr>"
    yield "</thead><tbody>"
    for number, outcome in enumerate(outcomes):
        yield _row(number, outcome)
    yield "</tbody></table>"
    for number, outcome in enumerate(outcomes):
        yield f'<section id="n{number}"><h2>{_text(outcome.notebook)}</h2>'
        if outcome.verification is None:
            problem = outcome.problem
            yield f'<p class="bad">{_text(problem.message if problem else "No outcome.")}</p>'
            yield f"<p>{_text(problem.remedy if problem else '')}</p>"
        else:
            yield from _notebook(outcome.verification, outcome.evidence)
        yield "</section>"
    yield "</body></html>"


def _row(number: int, outcome: Outcome) -> str:
    found = outcome.verification
    if found is None:
        verdict, cells, causes = '<td class="bad">error</td>', "", ""
    else:
        off = [cell for cell in found.cells if _class(cell.verdict) in ("off", "bad")]
        verdict = f'<td class="{_class(found.verdict)}">{found.verdict}</td>'
        cells = f"{len(off)} of {len(found.cells)} off" if off else str(len(found.cells))
        cells = f"{len(found.runs)} runs" if found.runs else cells
        causes = ", ".join(dict.fromkeys(cause.kind for cause in found.causes))
    return (
        f'<tr><td><a href="#n{number}">{_text(outcome.notebook)}</a></td>{verdict}'
        f"<td>{cells}</td><td>{_text(causes)}</td></tr>"
    )


def _notebook(found: Verification, evidence: Sequence[CellEvidence]) -> Iterator[str]:
    yield f'<p class="{_class(found.verdict)}">{_text(sentence(found))}</p>'
    if found.record:
        yield f'<p class="mute">Reference: record {_text(found.record)}</p>'
    for note in found.notes:
        yield f'<p class="off">{_text(note)}</p>'
    for cause in found.causes:
        where = "" if cause.cell is None else f", cell {cause.cell}"
        yield (
            f'<div class="cause"><strong>{_text(cause.kind)}</strong>: {_text(cause.subject)}'
            f"{where}<br>{_text(cause.evidence)}<br><strong>Fix:</strong> {_text(cause.fix)}</div>"
        )
    if found.runs:
        yield from runs(found)
        return
    yield "<table><thead><tr><th>cell</th><th>verdict</th><th>what differs</th><th>cause</th></tr>"
    yield "</thead><tbody>"
    for cell in found.cells:
        yield _cell(cell)
    yield "</tbody></table>"
    for one in sorted(evidence, key=lambda one: one.index):
        yield from _evidence(one)


def _cell(cell: CellVerdict) -> str:
    detail = "" if cell.verdict == "bitwise" else cell.detail or ""
    cause = cell.cause.kind if cell.cause else ""
    return (
        f'<tr><td>{cell.index}</td><td class="{_class(cell.verdict)}">{cell.verdict}</td>'
        f"<td>{_text(detail)}</td><td>{_text(cause)}</td></tr>"
    )


def _evidence(one: CellEvidence) -> Iterator[str]:
    yield f"<details><summary>Cell {one.index}: its source and outputs</summary>"
    yield f'<pre class="mute">{_text(one.source)}</pre><div class="pair">'
    for title, outputs in (("Reference", one.before), ("Rerun", one.after)):
        yield f"<div><strong>{title}</strong>"
        for output in outputs:
            yield _output(output)
        if not outputs:
            yield '<p class="mute">no output</p>'
        yield "</div>"
    yield "</div>"
    if one.picture and _BASE64.fullmatch(one.picture):
        yield "<p><strong>Where the pictures differ</strong></p>"
        yield f'<img alt="difference" src="data:image/png;base64,{one.picture}">'
    yield "</details>"


def _output(output: Shown) -> str:
    if output.kind.startswith("image/") and _BASE64.fullmatch(output.content):
        return f'<p><img alt="output" src="data:{_text(output.kind)};base64,{output.content}"></p>'
    cut = '<p class="mute">… cut</p>' if output.cut else ""
    return f'<div class="mute">{_text(output.kind)}</div><pre>{_text(output.content)}</pre>{cut}'


def _class(verdict: str) -> str:
    if verdict in REPRODUCED:
        return "good"
    return {"different": "off", "failed": "bad"}.get(verdict, "mute")


def _text(text: str) -> str:
    return escape(_NOT_HTML.sub("\N{REPLACEMENT CHARACTER}", _ANSI.sub("", text)))
