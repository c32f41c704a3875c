"""All outputs of a cell against their reference."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mlrepro_nb.verify.compare._difference import (
    EXACT,
    NEAR,
    PLAIN,
    Context,
    Difference,
    differing,
    worst,
)
from mlrepro_nb.verify.compare._errors import compare_errors
from mlrepro_nb.verify.compare._json import compare_json, identical
from mlrepro_nb.verify.compare._outputs import Output, Shown, as_shown, text_of
from mlrepro_nb.verify.compare._stderr import compare_stderr
from mlrepro_nb.verify.compare._svg import compare_svg
from mlrepro_nb.verify.compare._widgets import VIEW, compare_widgets
from mlrepro_nb.verify.compare.html import compare_html, has_table
from mlrepro_nb.verify.compare.picture import compare_images
from mlrepro_nb.verify.compare.text import compare_text

_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff")
_LOST_SHARE = 0.5
_BLANKS = " \n\t\r"
_EMPTY: tuple[Any, ...] = ({}, [], "", {"": ""})
# When a PDF was made and by what, and the id that hangs on it.
_PDF = re.compile(
    r"/(?:CreationDate|ModDate|Producer|Creator)\s?\([^)]{0,200}\)|/ID\s?\[[^\]]{0,200}\]"
)

_TAG = re.compile(r"<[^<>]{0,2000}>")
# In a line or by itself: SymPy came to write the one for the other.
_SET = re.compile(r"^\s*(?:\$\$?|\\\(|\\\[)\s*(?:\\displaystyle\s*)?|\s*(?:\$\$?|\\\)|\\\])\s*$")


def compare_cell(
    reference: Sequence[Output], outputs: Sequence[Output], context: Context = PLAIN
) -> Difference:
    """Compare what a cell printed, showed and raised.

    The richest form of a display decides: a specification, a picture, a page. The text
    beside a page is compared, too, where the page is the same to the letter: it may have
    been edited. That beside a picture or a widget only names an object.
    """
    if _as_written(reference, outputs):
        return EXACT
    before = as_shown(reference, context.sanitize, context.ignore)
    after = as_shown(outputs, context.sanitize, context.ignore)
    found = worst(
        (
            _stdout(before, after, context),
            compare_errors(before.error, after.error, context),
            _displays(before.displays, after.displays, context),
            compare_stderr(before.stderr, after.stderr, context),
        )
    )
    if found.level == "bitwise":
        return msgspec.structs.replace(found, level="within-tolerance")
    return found


def _as_written(reference: Sequence[Output], outputs: Sequence[Output]) -> bool:
    """Whether two cells' outputs are one, but for the order of an output's keys and MIME types.

    A notebook's file has them sorted, a kernel sends them as it likes.
    """
    return len(reference) == len(outputs) and all(
        identical(_sorted(before), _sorted(after))
        for before, after in zip(reference, outputs, strict=True)
    )


def _sorted(output: Output) -> dict[str, Any]:
    return {
        key: dict(sorted(value.items())) if key == "data" and isinstance(value, dict) else value
        for key, value in sorted(output.items())
    }


def printed(outputs: Sequence[Output], name: str = "stdout") -> str:
    """Return what a cell wrote to a stream."""
    shown = as_shown(outputs)
    return shown.stdout if name == "stdout" else shown.stderr


def shown(outputs: Sequence[Output]) -> list[Mapping[str, Any]]:
    """Return the MIME bundles of a cell, our own and empty ones left out."""
    return as_shown(outputs).displays


def _stdout(before: Shown, after: Shown, context: Context) -> Difference:
    difference = compare_text(before.stdout, after.stdout, context)
    if difference.level != "different":
        return difference
    hints = difference.hints
    if _shrunk(before.stdout, after.stdout):
        hints |= {"lost"}
    return msgspec.structs.replace(difference, where="stdout", hints=hints)


def _shrunk(before: str, after: str) -> bool:
    """Whether less than half of what can be seen is left."""
    has = _seen(after)
    return has < len(before) * _LOST_SHARE and has < _seen(before) * _LOST_SHARE


def _seen(text: str) -> int:
    return len(text) - sum(map(text.count, _BLANKS))


def _displays(
    before: list[Mapping[str, Any]], after: list[Mapping[str, Any]], context: Context
) -> Difference:
    found = worst(compare_bundle(a, b, context) for a, b in zip(before, after, strict=False))
    if len(before) == len(after) or (
        # `execute_result` of a plot call came and went with matplotlib's versions.
        found.level != "different"
        and all(map(_trivial, before[len(after) :] + after[len(before) :]))
    ):
        if found.level == "different" and _reordered(before, after):
            return msgspec.structs.replace(found, hints=found.hints | {"order"})
        return found
    return differing(
        _counted(before), _counted(after), where="display",
        hints={"lost"} if len(after) < len(before) else (),
    )  # fmt: skip


def _counted(displays: list[Mapping[str, Any]]) -> str:
    pictures = sum(any(m.startswith("image/") for m in bundle) for bundle in displays)
    return f"{len(displays)} outputs" + (f", {pictures} of them pictures" if pictures else "")


def _reordered(before: list[Mapping[str, Any]], after: list[Mapping[str, Any]]) -> bool:
    """Whether the same displays came in another order."""
    if not 1 < len(before) == len(after) <= 200:
        return False
    pairs = zip(before, after, strict=True)
    off = [(old, new) for old, new in pairs if not identical(dict(old), dict(new))]
    if not any(identical(dict(old), dict(new)) for old, _ in off[:1] for _, new in off):
        return False
    return sorted(_told(old) for old, _ in off) == sorted(_told(new) for _, new in off)


def _told(bundle: Mapping[str, Any]) -> str:
    return text_of(dict(bundle))


def compare_bundle(
    before: Mapping[str, Any], after: Mapping[str, Any], context: Context = PLAIN
) -> Difference:
    """Compare two MIME bundles by the type that says most."""
    common = [mime for mime in before if mime in after]
    if not common:
        return differing(", ".join(before), ", ".join(after), where="display")
    if identical(dict(before), dict(after)):
        return EXACT
    pictures = [any(m.startswith("image/") for m in side) for side in (before, after)]
    # Beside a page or a specification a picture is only what is shown where those cannot be.
    page = any(m == "text/html" or m.endswith("+json") for m in common)
    if pictures[0] != pictures[1] and not page:
        return differing(
            ", ".join(before), ", ".join(after), where="display",
            hints={"lost"} if pictures[0] else (),
        )  # fmt: skip
    found = EXACT
    for mime in _deciding(before, after, common):
        if found.level != "bitwise":
            break
        compared = _by_type(mime, before[mime], after[mime], context)
        if compared.level == "different":
            return msgspec.structs.replace(compared, where=mime)
        found = worst((found, compared))
    return NEAR if found.level == "bitwise" else found


def _deciding(
    before: Mapping[str, Any], after: Mapping[str, Any], common: list[str]
) -> tuple[str, ...]:
    """Return the types that are compared, the richest first."""
    if VIEW in common:
        return (VIEW,)
    structured = [m for m in common if m.endswith("+json") or m == "application/json"]
    # What bokeh and the like put there is empty: the page beside it draws.
    structured = [m for m in structured if any(side[m] not in _EMPTY for side in (before, after))]
    pictures = [m for m in common if m.startswith("image/")]
    if structured:
        return (structured[0],)
    if pictures and "text/latex" in common:
        # A formula: the picture is what the installed fonts and renderer make of it.
        return ("text/latex",)
    if pictures:
        return (min(pictures, key=lambda m: m not in _PICTURES),)
    opaque = any(_opaque(text_of(side.get("text/plain", "")).strip()) for side in (before, after))
    # `<IPython.core.display.Markdown object>` says nothing where another text does.
    written = [m for m in ("text/markdown", "text/plain", "text/latex") if m in common]
    if opaque and len(written) > 1:
        written = [m for m in written if m != "text/plain"]
    # Of a formula there is the code beside the text: how that is set hangs on the library.
    plain = [m for m in written if m != "text/latex" or "text/plain" not in written]
    if "text/html" in common:
        if not plain or opaque:
            return ("text/html",)
        if has_table(text_of(before["text/html"])) or has_table(text_of(after["text/html"])):
            return ("text/html", "text/plain") if "text/plain" in common else ("text/html",)
        return ("text/html", *plain)
    return tuple(plain) or (common[0],)


def _opaque(plain: str) -> bool:
    """Whether the text only names the object that the richer types show."""
    return plain.startswith("<") and plain.endswith(">")


def _trivial(bundle: Mapping[str, Any]) -> bool:
    return set(bundle) == {"text/plain"} and _opaque(text_of(bundle["text/plain"]).strip())


def _by_type(mime: str, before: Any, after: Any, context: Context) -> Difference:
    if mime == VIEW:
        return compare_widgets(before, after, context) or NEAR
    if mime.endswith("json"):
        # Those of vendors are specifications of drawings, whose parts have drawn names.
        drawn = mime.startswith("application/vnd.")
        return compare_json(_loaded(before), _loaded(after), context, drawn=drawn)
    old, new = text_of(before), text_of(after)
    if mime in _PICTURES:
        return compare_images(old, new, context)
    if mime == "image/svg+xml":
        return compare_svg(old, new, context)
    if mime == "text/html":
        found = compare_html(old, new, context)
        # By what can be read: tables are written with more or less markup.
        if found.level == "different" and _shrunk(_TAG.sub(" ", old), _TAG.sub(" ", new)):
            return msgspec.structs.replace(found, hints=found.hints | {"lost"})
        return found
    if mime == "application/pdf":
        return _pdf(old, new)
    if mime == "text/latex":
        return compare_text(_formula(old), _formula(new), context)
    return compare_text(old, new, context)


def _formula(latex: str) -> str:
    """Return a formula without what only says how it is set."""
    return _SET.sub("", latex).strip()


def _pdf(before: str, after: str) -> Difference:
    import base64

    if before == after:
        return EXACT
    try:
        old, new = (base64.b64decode(text).decode("latin-1") for text in (before, after))
    except ValueError:
        return differing(f"{len(before)} characters", f"{len(after)} characters")
    if _PDF.sub("", old) == _PDF.sub("", new):
        return NEAR
    return differing(f"{len(old)} bytes", f"{len(new)} bytes")


def _loaded(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, list) and _lines(value)):
        try:
            return json.loads(text_of(value))
        except (ValueError, RecursionError):
            return value
    return value


def _lines(value: list[Any]) -> bool:
    """Whether a list holds the lines of one document, as nbformat stores it."""
    return bool(value) and all(isinstance(line, str) for line in value) and any(
        line.endswith("\n") for line in value)  # fmt: skip
