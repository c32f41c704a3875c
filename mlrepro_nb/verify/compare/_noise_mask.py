"""What two clean runs of the same differ in, taken out of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlrepro_nb.verify.compare._cell import compare_bundle, printed, shown
from mlrepro_nb.verify.compare._difference import Context

Output = Mapping[str, Any]


def without_noise(
    reference: Sequence[Output], first: Sequence[Output], second: Sequence[Output], context: Context
) -> tuple[list[Output], list[Output]]:
    """Return reference and first run without the lines and displays in which the runs differ."""
    lines = [printed(outputs).split("\n") for outputs in (reference, first, second)]
    bundles = [shown(outputs) for outputs in (reference, first, second)]
    before: list[Output] = []
    after: list[Output] = []
    if len({len(part) for part in lines}) == 1:
        keep = [i for i, (a, b) in enumerate(zip(*lines[1:], strict=True)) if a == b]
        for target, part in ((before, lines[0]), (after, lines[1])):
            text = "\n".join(part[i] for i in keep)
            target.append({"output_type": "stream", "name": "stdout", "text": text})
    if len({len(part) for part in bundles}) == 1:
        for one, first_, second_ in zip(*bundles, strict=True):
            if compare_bundle(first_, second_, context).level != "different":
                before.append({"output_type": "display_data", "data": one, "metadata": {}})
                after.append({"output_type": "display_data", "data": first_, "metadata": {}})
    return before, after


def contradictory(outputs: Sequence[Output]) -> bool:
    """Whether the text and the HTML of one display do not show the same numbers."""
    return any(_contradicts(bundle) for bundle in shown(outputs))


def _contradicts(bundle: Mapping[str, Any]) -> bool:
    import re

    from mlrepro_nb.verify.compare._html import table_cells

    html, plain = bundle.get("text/html"), bundle.get("text/plain")
    if html is None or plain is None:
        return False
    html = "".join(html) if isinstance(html, list) else str(html)
    plain = "".join(plain) if isinstance(plain, list) else str(plain)
    number = re.compile(r"-?\d+(?:\.\d+)?")
    in_html = {match for cell in table_cells(html) for match in number.findall(cell)}
    in_plain = set(number.findall(plain))
    return bool(in_html - in_plain) and bool(in_plain - in_html)
