"""What two clean runs of the same differ in, taken out of a comparison: token by token."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlrepro_nb.verify.compare._cell import compare_bundle, printed, shown
from mlrepro_nb.verify.compare._difference import Context
from mlrepro_nb.verify.compare._outputs import Output, text_of
from mlrepro_nb.verify.compare.html import table_cells
from mlrepro_nb.verify.compare.text import TOKEN, lines_of, masked

_NOISE = "‹noise›"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_TEXTS = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml")
_DEEPEST = 200


def without_noise(
    reference: Sequence[Output], first: Sequence[Output], second: Sequence[Output], context: Context
) -> tuple[list[Output], list[Output]]:
    """Return reference and first run without the tokens in which the two runs differ.

    Where the three have no common form, what cannot be aligned is left out: streams of
    another number of lines, pictures in which the runs differ.
    """
    before: list[Output] = []
    after: list[Output] = []
    for name in ("stdout", "stderr"):
        one, other, third = (printed(outputs, name) for outputs in (reference, first, second))
        found = _text_without(one, other, third, context)
        for target, text in zip((before, after), found or (), strict=False):
            target.append({"output_type": "stream", "name": name, "text": text})
    bundles = [shown(outputs) for outputs in (reference, first, second)]
    if len({len(part) for part in bundles}) == 1:
        for known, first_, second_ in zip(*bundles, strict=True):
            pair = _bundle_without(known, first_, second_, context)
            for target, data in zip((before, after), pair or (), strict=False):
                target.append({"output_type": "display_data", "data": data, "metadata": {}})
    return before, after


def _text_without(
    reference: str, first: str, second: str, context: Context
) -> tuple[str, str] | None:
    """Return the texts of the reference and the first run, the noise replaced; None if it fails."""
    lines = [lines_of(text) for text in (reference, first, second)]
    if len(lines[1]) != len(lines[2]):
        return None
    noisy = [i for i, (a, b) in enumerate(zip(*lines[1:], strict=True)) if a != b]
    if not noisy:
        return reference, first
    if len(lines[0]) != len(lines[1]):
        # Which line of the reference is which is not known: only the quiet ones are held.
        return None
    old, new = list(lines[0]), list(lines[1])
    for i in noisy:
        old[i], new[i] = _line_without(lines[0][i], lines[1][i], lines[2][i], context)
    return "\n".join(old), "\n".join(new)


def _line_without(reference: str, first: str, second: str, context: Context) -> tuple[str, str]:
    texts = [masked(line, context) for line in (reference, first, second)]
    tokens = [list(TOKEN.finditer(text)) for text in texts]
    if len({len(each) for each in tokens}) != 1:
        return "", ""
    places = [i for i, (a, b) in enumerate(zip(*tokens[1:], strict=True)) if a[0] != b[0]]
    return _replaced(texts[0], tokens[0], places), _replaced(texts[1], tokens[1], places)


def _replaced(text: str, tokens: list[re.Match[str]], places: list[int]) -> str:
    kept, position = [], 0
    for place in places:
        kept += [text[position : tokens[place].start()], _NOISE]
        position = tokens[place].end()
    return "".join([*kept, text[position:]])


def _bundle_without(
    reference: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any],
    context: Context,
) -> tuple[dict[str, Any], dict[str, Any]] | None:  # fmt: skip
    if compare_bundle(first, second, context).level != "different":
        return dict(reference), dict(first)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for mime in reference:
        if mime not in first or mime not in second:
            continue
        values = reference[mime], first[mime], second[mime]
        pair: tuple[Any, Any] | None = None
        if mime in _TEXTS:
            old, new, again = map(text_of, values)
            pair = _text_without(old, new, again, context)
        elif mime.endswith("json"):
            pair = _json_without(*values)
        elif compare_bundle({mime: values[1]}, {mime: values[2]}, context).level != "different":
            pair = values[0], values[1]
        if pair is not None:
            before[mime], after[mime] = pair
    # The text beside a picture names an object, and is not held without it.
    drawn, left = (any(m.startswith("image/") for m in side) for side in (reference, before))
    return (before, after) if before and (left or not drawn) else None


def _json_without(reference: Any, first: Any, second: Any, depth: int = 0) -> tuple[Any, Any]:
    if depth < _DEEPEST and all(isinstance(v, Mapping) for v in (reference, first, second)):
        old, new = dict(reference), dict(first)
        for key in first:
            if key in reference and key in second:
                old[key], new[key] = _json_without(
                    reference[key], first[key], second[key], depth + 1
                )
        return old, new
    if depth < _DEEPEST and all(isinstance(v, list) for v in (reference, first, second)):
        if len(reference) == len(first) == len(second):
            pairs = [
                _json_without(*each, depth + 1)
                for each in zip(reference, first, second, strict=True)
            ]
            return [one for one, _ in pairs], [other for _, other in pairs]
        return (_NOISE, _NOISE) if len(first) != len(second) else (reference, first)
    if depth >= _DEEPEST:
        return reference, first
    return (reference, first) if first == second else (_NOISE, _NOISE)


def contradictory(outputs: Sequence[Output]) -> bool:
    """Whether the text and the HTML of one display do not show the same numbers."""
    return any(_contradicts(bundle) for bundle in shown(outputs))


def _contradicts(bundle: Mapping[str, Any]) -> bool:
    html, plain = bundle.get("text/html"), bundle.get("text/plain")
    if html is None or plain is None:
        return False
    cells = table_cells(text_of(html))
    in_html = {match for cell in cells for match in _NUMBER.findall(cell)}
    in_plain = set(_NUMBER.findall(text_of(plain)))
    return bool(in_html - in_plain) and bool(in_plain - in_html)
