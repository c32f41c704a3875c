"""The part of the HTML report that is of several runs of a notebook."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from html import escape
from statistics import fmean

from mlrepro_nb.model import REPRODUCED, MetricVerdict, Verification
from mlrepro_nb.verify.report._plot import described, plot

HEADS = ("metric", "verdict", "reference", "runs", "difference", "delta", "limit", "why")


def runs(found: Verification) -> Iterator[str]:
    """Yield the table of the metrics, a picture of each, and the runs."""
    yield f"<table><thead><tr>{_cells('th', HEADS)}</tr></thead><tbody>"
    for metric in found.metrics:
        style = "good" if metric.verdict in REPRODUCED else "off"
        head, verdict, *rest = row(metric)
        yield f'<tr><td>{escape(head)}</td><td class="{style}">{escape(verdict)}</td>'
        yield f"{_cells('td', rest)}</tr>"
    yield "</tbody></table>"
    for number, metric in enumerate(found.metrics):
        # Of several notebooks in a page, each picture has an identifier of its own.
        own = zlib.crc32(found.notebook.encode("utf-8", "replace")) * 1000 + number
        yield f"<figure>{plot(metric, own)}<figcaption class=mute>{escape(described(metric))}"
        yield "</figcaption></figure>"
    yield "<details><summary>The runs</summary><table><thead><tr>"
    yield f"{_cells('th', ('run', 'seconds', 'record', 'problem'))}</tr></thead><tbody>"
    for run in found.runs:
        told = (str(run.run), f"{run.duration:.1f}", run.record or "", run.problem or "")
        yield f"<tr>{_cells('td', told)}</tr>"
    yield "</tbody></table></details>"


def row(found: MetricVerdict) -> tuple[str, ...]:
    """Return a metric as the table has it: see the heads."""
    limit = "" if found.operator is None else f"{found.operator} {found.limit:g}"
    if found.met is not None and found.rerun:
        limit += f" ({found.met}/{len(found.rerun)})"
    return (
        found.metric,
        found.verdict,
        _side(found.reference),
        _side(found.rerun),
        "" if found.difference is None else f"{found.difference:+.3g}",
        "" if found.delta is None else f"±{found.delta:g}",
        limit,
        found.detail,
    )


def _side(values: tuple[float, ...]) -> str:
    return f"{fmean(values):.6g} (n={len(values)})" if values else "none"


def _cells(tag: str, texts: tuple[str, ...] | list[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
