"""The outputs of cells that are not as they were, for a reader to see side by side."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mlrepro_nb.verify.attribute import Case

_LONGEST = 20_000
"""Characters of a text that are kept."""
_LARGEST = 2_000_000
"""Characters of a picture in base64 that are kept."""
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_MOST = 20


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One output of a cell, cut to what can be read."""

    kind: str
    """``stdout``, ``stderr``, ``error``, or a MIME type."""
    content: str
    """Text, or base64 of a picture."""
    cut: bool = False


class CellEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a cell gave in the reference run and in the rerun."""

    index: int
    source: str
    before: tuple[Shown, ...] = ()
    after: tuple[Shown, ...] = ()
    picture: str | None = None
    """PNG in base64 that shows where two pictures differ."""


def collect(case: Case) -> Iterator[CellEvidence]:
    """Yield the evidence of each cell that failed or gave something else."""
    for cell in case.cells.values():
        difference = cell.difference
        off = difference is not None and difference.level != "bitwise"
        if cell.error is None and not off:
            continue
        after = list(cell.outputs)
        if cell.error is not None and cell.error not in after:
            after.append(cell.error)
        picture = difference.picture if difference is not None else None
        yield CellEvidence(
            index=cell.index,
            source=cell.source[:_LONGEST],
            before=_shown(cell.reference),
            after=_shown(after),
            picture=base64.b64encode(picture).decode("ascii") if picture else None,
        )


def _shown(outputs: Sequence[Mapping[str, Any]]) -> tuple[Shown, ...]:
    found = []
    for output in outputs[:_MOST]:
        kind = output.get("output_type")
        if kind == "stream":
            found.append(_text(str(output.get("name")), output.get("text", "")))
        elif kind == "error":
            lines = "\n".join(map(str, output.get("traceback") or ()))
            said = f"{output.get('ename')}: {output.get('evalue')}"
            found.append(_text("error", lines or said))
        else:
            found.append(_display(output.get("data") or {}))
    return tuple(found)


def _display(data: Mapping[str, Any]) -> Shown:
    for mime in _PICTURES:
        if isinstance(data.get(mime), str) and len(data[mime]) <= _LARGEST:
            return Shown(kind=mime, content="".join(data[mime].split()))
    for mime in ("text/plain", *sorted(data)):
        if isinstance(data.get(mime), str | list):
            return _text(mime, data[mime])
    import json

    mime = min(data, default="nothing")
    return _text(mime, json.dumps(data.get(mime), sort_keys=True, default=str))


def _text(kind: str, value: Any) -> Shown:
    text = "".join(map(str, value)) if isinstance(value, list) else str(value)
    return Shown(kind=kind, content=text[:_LONGEST], cut=len(text) > _LONGEST)
