"""A cell's outputs, as a reader sees them in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from mlrepro_nb.verify.compare._difference import Substitution

Output = Mapping[str, Any]
_OWN = "application/vnd.mlrepro."


class Shown(msgspec.Struct, frozen=True):
    """What a cell printed, displayed and raised.

    How streams were cut into pieces, and where between the displays the pieces
    stand, hangs on the moment at which buffers were flushed: they are joined.
    """

    stdout: str
    stderr: str
    displays: list[Mapping[str, Any]]
    error: Output | None


def as_shown(
    outputs: Sequence[Output], sanitize: Sequence[Substitution] = (),
    ignore: Collection[str] = (),
) -> Shown:  # fmt: skip
    """Return what remains of outputs when all is drawn: cleared ones gone, updated ones new."""
    remaining = _remaining(outputs)
    streams: dict[str, list[str]] = {"stdout": [], "stderr": []}
    displays: list[Mapping[str, Any]] = []
    error: Output | None = None
    for output in remaining:
        kind = output.get("output_type")
        if kind == "stream":
            streams.setdefault(str(output.get("name", "stdout")), []).append(
                text_of(output.get("text", ""))
            )
        elif kind in ("execute_result", "display_data"):
            data = output.get("data")
            if isinstance(data, Mapping) and ignore:
                data = {mime: value for mime, value in data.items() if mime not in ignore}
            if isinstance(data, Mapping) and data and not _is_own(data):
                displays.append(_sanitized_bundle(data, sanitize))
        elif kind == "error" and error is None:
            error = output
    if error is not None and sanitize:
        error = {**error, "evalue": sanitized(text_of(error.get("evalue", "")), sanitize)}
    if error is not None and "evalue" in ignore:
        error = {**error, "evalue": ""}
    for name in ignore:
        streams.pop(name, None)
    return Shown(
        sanitized("".join(streams.get("stdout", ())), sanitize),
        sanitized("".join(streams.get("stderr", ())), sanitize),
        displays,
        error,
    )


def _remaining(outputs: Sequence[Output]) -> list[Output]:
    """Carry out what changes earlier outputs: ``clear_output`` and ``update_display_data``."""
    found: list[Output] = []
    waiting = False
    for output in outputs:
        kind = output.get("output_type")
        if kind == "clear_output":
            waiting = bool(output.get("wait"))
            found = found if waiting else []
            continue
        if waiting:
            found, waiting = [], False
        if kind == "update_display_data":
            name = _display_id(output)
            for index, earlier in enumerate(found):
                if name is not None and _display_id(earlier) == name:
                    found[index] = {**earlier, "data": output.get("data", {})}
            continue
        found.append(output)
    return found


def _display_id(output: Output) -> str | None:
    transient = output.get("transient")
    name = transient.get("display_id") if isinstance(transient, Mapping) else None
    return name if isinstance(name, str) else None


def _is_own(data: Mapping[str, Any]) -> bool:
    return any(str(mime).startswith(_OWN) for mime in data)


def text_of(value: Any) -> str:
    """Return a value of a MIME bundle as text: nbformat lets it be a list of lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "".join(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    try:
        return json.dumps(value, default=str)
    except (RecursionError, ValueError, TypeError):
        return ""


def sanitized(text: str, sanitize: Sequence[Substitution]) -> str:
    """Return a text with the substitutions of a sanitize file carried out, in their order."""
    for pattern, replacement in sanitize:
        text = pattern.sub(replacement, text)
    return text


def _sanitized_bundle(
    data: Mapping[str, Any], sanitize: Sequence[Substitution]
) -> Mapping[str, Any]:
    if not sanitize:
        return data
    return {
        mime: sanitized(text_of(value), sanitize) if _is_text(value) else value
        for mime, value in data.items()
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(part, str) for part in value)
    )


def words(text: str) -> list[str]:
    """Return the words of a text, without numbers and signs."""
    return re.findall(r"[^\W\d_]{2,40}", text[:4000])
