"""All outputs of a cell against their reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, PLAIN, Context, Difference, worst
from mlrepro_nb.verify.compare._html import compare_html, has_table
from mlrepro_nb.verify.compare._image import compare_images
from mlrepro_nb.verify.compare._json import compare_json
from mlrepro_nb.verify.compare._svg import compare_svg
from mlrepro_nb.verify.compare._text import compare_text

_OWN = "application/vnd.mlrepro."
_WIDGET = "application/vnd.jupyter.widget-view+json"
_PICTURES = ("image/png", "image/jpeg")
_LOST_SHARE = 0.5

Output = Mapping[str, Any]


def compare_cell(
    reference: Sequence[Output], outputs: Sequence[Output], context: Context = PLAIN
) -> Difference:
    """Compare what a cell printed, showed and raised; standard error is not compared."""
    if list(reference) == list(outputs):
        return EXACT
    found = [
        _stream(reference, outputs, context),
        _errors(reference, outputs, context),
        _shown(reference, outputs, context),
    ]
    difference = worst(found)
    return NEAR if difference.level == "bitwise" else difference


def printed(outputs: Sequence[Output], name: str = "stdout") -> str:
    """Return what a cell wrote to a stream."""
    return "".join(
        _text(output.get("text", ""))
        for output in outputs
        if output.get("output_type") == "stream" and output.get("name") == name
    )


def error_of(outputs: Sequence[Output]) -> Output | None:
    """Return the error that ended a cell."""
    return next((o for o in outputs if o.get("output_type") == "error"), None)


def shown(outputs: Sequence[Output]) -> list[Mapping[str, Any]]:
    """Return the MIME bundles of a cell, our own and empty ones left out."""
    return [
        output["data"]
        for output in outputs
        if output.get("output_type") in ("execute_result", "display_data")
        and output.get("data")
        and not any(mime.startswith(_OWN) for mime in output["data"])
    ]


def _stream(reference: Sequence[Output], outputs: Sequence[Output], context: Context) -> Difference:
    before, after = printed(reference), printed(outputs)
    difference = compare_text(before, after, context)
    if difference.level != "different":
        return difference
    hints = difference.hints
    if before.strip() and len(after.strip()) < len(before.strip()) * _LOST_SHARE:
        hints |= {"lost"}
    return _at("stdout", difference, hints)


def _errors(reference: Sequence[Output], outputs: Sequence[Output], context: Context) -> Difference:
    before, after = error_of(reference), error_of(outputs)
    if before is None or after is None:
        if before is after:
            return EXACT
        return Difference(
            level="different", where="error", before=_raised(before), after=_raised(after)
        )
    if before["ename"] != after["ename"]:
        return Difference(
            level="different", where="error", before=_raised(before), after=_raised(after)
        )
    # The frames hold paths and line numbers of installed code: noise. The message is content,
    # but libraries reword theirs.
    difference = compare_text(before["evalue"], after["evalue"], context)
    return difference if difference.level == "bitwise" else NEAR


def _raised(error: Output | None) -> str:
    return f"{error['ename']}: {error['evalue']}" if error else "no error"


def _shown(reference: Sequence[Output], outputs: Sequence[Output], context: Context) -> Difference:
    before, after = shown(reference), shown(outputs)
    found = [compare_bundle(one, other, context) for one, other in zip(before, after, strict=False)]
    difference = worst(found)
    if len(before) == len(after) or (
        # `execute_result` of a plot call came and went with matplotlib's versions.
        difference.level != "different"
        and all(map(_trivial, before[len(after) :] + after[len(before) :]))
    ):
        return difference
    lost = frozenset({"lost"}) if len(after) < len(before) else frozenset[str]()
    return Difference(
        level="different",
        where="display",
        before=f"{len(before)} outputs",
        after=f"{len(after)} outputs",
        hints=lost,
    )


def compare_bundle(
    before: Mapping[str, Any], after: Mapping[str, Any], context: Context = PLAIN
) -> Difference:
    """Compare two MIME bundles by the type that says most."""
    common = [mime for mime in before if mime in after]
    if not common:
        return Difference(
            level="different",
            where="display",
            before=", ".join(before),
            after=", ".join(after),
        )
    if dict(before) == dict(after):
        return EXACT
    deciding = _deciding(before, common)
    if deciding == _WIDGET:
        return NEAR
    difference = _by_type(deciding, before[deciding], after[deciding], context)
    if difference.level == "different":
        return _at(deciding, difference, difference.hints)
    return NEAR


def _deciding(bundle: Mapping[str, Any], common: list[str]) -> str:
    structured = [m for m in common if m.endswith("+json") or m == "application/json"]
    pictures = [m for m in common if m.startswith("image/")]
    html = _text(bundle.get("text/html", ""))
    plain = _text(bundle.get("text/plain", ""))
    if _WIDGET in common:
        return _WIDGET
    if structured:
        return structured[0]
    if pictures:
        return pictures[0]
    if "text/html" in common and (has_table(html) or _opaque(plain) or "text/plain" not in common):
        return "text/html"
    for mime in ("text/plain", "text/latex", "text/markdown"):
        if mime in common:
            return mime
    return common[0]


def _opaque(plain: str) -> bool:
    """Whether the text only names the object that the richer types show."""
    return plain.startswith("<") and plain.endswith(">")


def _trivial(bundle: Mapping[str, Any]) -> bool:
    return set(bundle) == {"text/plain"} and _opaque(_text(bundle["text/plain"]).strip())


def _by_type(mime: str, before: Any, after: Any, context: Context) -> Difference:
    if mime in _PICTURES:
        return compare_images(_text(before), _text(after), context)
    if mime == "image/svg+xml":
        return compare_svg(_text(before), _text(after), context)
    if mime == "text/html":
        return compare_html(_text(before), _text(after), context)
    if mime.endswith("json"):
        return compare_json(_loaded(before), _loaded(after), context)
    return compare_text(_text(before), _text(after), context)


def _loaded(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _at(where: str, difference: Difference, hints: frozenset[str]) -> Difference:
    return Difference(
        level="different",
        where=where,
        before=difference.before,
        after=difference.after,
        hints=hints,
    )
