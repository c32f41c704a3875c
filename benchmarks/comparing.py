"""How fast outputs are compared: megabytes of reference a second, by kind of content.

``identical`` is what most cells of a rerun are; ``noise`` is benign and has to be recognised
as such; ``changed`` ends in a real difference at the very end. Each is measured several times
and the fastest counts: what is left is the work itself. Megabytes are those of one side.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlrepro_nb.verify.compare import compare_cell

MEGABYTES = float(os.environ.get("MLREPRO_BENCH_MEGABYTES", "4"))
_NOISY = 20
"""One line, row or value of so many carries noise."""

Pair = tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]


def measure() -> list[dict[str, object]]:
    """Return megabytes a second for each kind, identical, noisy and changed."""
    rows = []
    for kind, make in _KINDS.items():
        reference = make(random.Random(0), "reference")
        size = _size(reference)
        row: dict[str, object] = {"outputs": kind, "MB": f"{size / 1e6:.1f}"}
        for variant, expected in _EXPECTED.items():
            rerun = make(random.Random(0), variant)
            begun = min(_seconds(reference, rerun, expected) for _ in range(3))
            row[f"{variant}, MB/s"] = f"{size / 1e6 / begun:,.0f}"
        rows.append(row)
    return rows


_EXPECTED = {"identical": "bitwise", "noise": "within-tolerance", "changed": "different"}


def _seconds(reference: list[Any], rerun: list[Any], expected: str) -> float:
    begun = time.perf_counter()
    found = compare_cell(reference, rerun)
    elapsed = time.perf_counter() - begun
    assert found.level == expected, found
    return elapsed


def _size(outputs: list[Any]) -> int:
    return len(json.dumps(outputs))


def _display(**data: Any) -> list[Mapping[str, Any]]:
    named = {key.replace("__", "/").replace("_", "+"): value for key, value in data.items()}
    return [{"output_type": "display_data", "metadata": {}, "data": named}]


def _lines(rng: random.Random, variant: str, line: Callable[[int, str, str], str]) -> str:
    """Return lines with a metric each; some with a time, and the last metric may change."""
    count = int(MEGABYTES * 1e6 / 60)
    found = []
    for i in range(count):
        value = f"{rng.random():.6f}"
        noise = i % _NOISY == 0 and variant != "reference" and variant != "identical"
        took = "1.25 s" if not noise else "0.98 s"
        if variant == "changed" and i == count - 1:
            value = "9.999999"
        found.append(line(i, value, took))
    return "\n".join(found)


def _log(rng: random.Random, variant: str) -> list[Mapping[str, Any]]:
    text = _lines(
        rng, variant, lambda i, v, t: f"step {i:07d} loss {v} accuracy 0.91 took {t} on cpu"
    )
    return [{"output_type": "stream", "name": "stdout", "text": text}]


def _floats(rng: random.Random, variant: str) -> list[Mapping[str, Any]]:
    """Text in which every line of the rerun has float noise: as dense as it gets."""
    noisy = variant in ("noise", "changed")
    rows = []
    for _ in range(int(MEGABYTES * 1e6 / 80)):
        values = [rng.random() for _ in range(4)]
        if noisy:
            values[rng.randrange(4)] *= 1 + 2e-16
        else:
            rng.randrange(4)
        rows.append(" ".join(repr(v) for v in values))
    if variant == "changed":
        rows[-1] = "1.5 " + rows[-1]
    return [{"output_type": "stream", "name": "stdout", "text": "\n".join(rows)}]


def _html(rng: random.Random, variant: str) -> list[Mapping[str, Any]]:
    name = {"reference": "T_a1b2c", "identical": "T_a1b2c"}.get(variant, "T_0f9e8")
    body = _lines(
        rng, variant,
        lambda i, v, t: f'<tr><th id="{name}_l{i}">{i}</th><td>{v}</td><td>took {t}</td></tr>',
    )  # fmt: skip
    return _display(text__html=f'<table id="{name}">\n{body}\n</table>')


def _json(rng: random.Random, variant: str) -> list[Mapping[str, Any]]:
    values = [rng.random() for _ in range(int(MEGABYTES * 1e6 / 20))]
    if variant in ("noise", "changed"):
        values[::_NOISY] = [v * (1 + 2e-16) for v in values[::_NOISY]]
    if variant == "changed":
        values[-1] = 9.0
    trace = {"type": "scatter", "y": values, "uid": "a" if variant == "reference" else "b"}
    if variant == "identical":
        trace["uid"] = "a"
    spec = {"data": [trace], "layout": {"title": "t"}}
    return [{
        "output_type": "display_data", "metadata": {},
        "data": {"application/vnd.plotly.v1+json": spec},
    }]  # fmt: skip


def _pictures(rng: random.Random, variant: str) -> list[Mapping[str, Any]]:
    """Plots: the rerun's are encoded otherwise, and one has another mark."""
    from PIL import Image, ImageDraw

    found: list[Mapping[str, Any]] = []
    for number in range(max(1, int(MEGABYTES * 5))):
        picture = Image.new("RGB", (640, 480), "white")
        draw = ImageDraw.Draw(picture)
        draw.line([(rng.randrange(640), rng.randrange(480)) for _ in range(200)], "navy", 2)
        if variant == "changed" and number == 0:
            draw.rectangle((20, 20, 28, 28), "red")
        file = io.BytesIO()
        level = 6 if variant in ("reference", "identical") else 4
        picture.save(file, "PNG", compress_level=level)
        text = base64.b64encode(file.getvalue()).decode()
        found += _display(image__png=text, text__plain="<Figure>")
    return found


def _described(rng: random.Random, variant: str) -> list[Mapping[str, Any]]:
    """Plots whose files differ in what is written beside the pixels."""
    from PIL import Image, PngImagePlugin

    body = rng.randbytes(300 * 300 * 3)
    noted = PngImagePlugin.PngInfo()
    noted.add_text("Software", "one" if variant in ("reference", "identical") else "another")
    found: list[Mapping[str, Any]] = []
    for number in range(max(1, int(MEGABYTES * 1e6 / 360_000))):
        last = variant == "changed" and number == 0
        picture = Image.frombytes("RGB", (300, 300), bytes(body if not last else reversed(body)))
        file = io.BytesIO()
        picture.save(file, "PNG", pnginfo=noted)
        found += _display(image__png=base64.b64encode(file.getvalue()).decode())
    return found


_KINDS: dict[str, Callable[[random.Random, str], list[Mapping[str, Any]]]] = {
    f"log, a time in 1 of {_NOISY} lines": _log,
    "floats, noise in every line": _floats,
    f"HTML table, a time in 1 of {_NOISY} rows": _html,
    f"plotly JSON, noise in 1 of {_NOISY} values": _json,
    "PNG plots, encoded again": _pictures,
    "PNG photos, other metadata": _described,
}
