"""The line in a notebook's metadata that leads from the file to its record: pure.

    "_mlrepro": "sha256:3f2c… bitwise v1",

It is one text under one key, so that a change of it is one line of a diff. The
key sorts before those that every notebook has (``kernelspec``,
``language_info``): nbformat and editors write keys sorted, and a line that is
not the last of its object takes no comma from, and gives none to, its
neighbours. So putting it in adds a line, and nothing else.

Earlier versions wrote ``"mlrepro": {"record": "sha256:…"}``, which is still read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mlrepro_nb.errors import NotebookError
from mlrepro_nb.model import SCHEMA_VERSION

KEY = "_mlrepro"
_OLD_KEY = "mlrepro"
_FORM = re.compile(r"(sha256:[0-9a-f]{64})(?: ([a-z-]+))?(?: v(\d+))?(?: .*)?")
_SPACE = re.compile(r"[ \t\r\n]*")
_NOT_JSON = "Save it again from its editor, or restore it."


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What a notebook's file says of the run that its outputs are from."""

    record: str
    """Digest of the record."""
    verdict: str = "recorded"
    """The verdict of the last verification; ``recorded`` before the first, ``edited`` where the
    file's code is not what ran."""
    schema: int = SCHEMA_VERSION
    """Version of the record's schema."""

    def __str__(self) -> str:
        return f"{self.record} {self.verdict} v{self.schema}"


def read(metadata: Any) -> Stamp | None:
    """Return the stamp in a notebook's metadata, in either form; None where there is none."""
    if not isinstance(metadata, Mapping):
        return None
    if isinstance(line := metadata.get(KEY), str) and (match := _FORM.fullmatch(line)):
        return Stamp(
            record=match[1], verdict=match[2] or "recorded", schema=int(match[3] or SCHEMA_VERSION)
        )
    old = metadata.get(_OLD_KEY)
    digest = old.get("record") if isinstance(old, Mapping) else None
    if isinstance(digest, str) and _FORM.fullmatch(digest):
        return Stamp(record=digest)
    return None


def stamped(nb: Any, stamp: Stamp) -> Any:
    """Return a notebook, as a mapping, with a stamp."""
    metadata = {k: v for k, v in nb["metadata"].items() if k != KEY and not _is_old(k, v)}
    return {**nb, "metadata": {KEY: str(stamp), **metadata}}


def stamped_text(text: str, stamp: Stamp) -> str:
    """Return a notebook's file with a stamp, every other character as it was.

    Raises
    ------
    NotebookError
        The text is no notebook.
    """
    start, end = _metadata(text)
    changed = _put(text, start, end, str(stamp))
    before, after = _loaded(text), _loaded(changed)
    if stamped(before, stamp) != after:  # a slip here would cost a notebook
        raise NotebookError("The notebook's metadata cannot be changed safely.", _NOT_JSON)
    return changed


def _put(text: str, start: int, end: int, line: str) -> str:
    """Put the line into the object between two places."""
    members = list(_members(text, start))
    old = next((m for m in members if _is_old(m[0], json.loads(text[m[2] : m[3]]))), None)
    if old is not None:
        text = _without(text, start, end, members, old)
        return _put(text, start, json.JSONDecoder().raw_decode(text, start)[1], line)
    value = json.dumps(line)
    own = [member for member in members if member[0] == KEY]
    if own:
        for _, _, begin, stop in reversed(own):
            text = text[:begin] + value + text[stop:]
        return text
    if not members:
        return f'{text[: start + 1]}"{KEY}": {value}{text[end - 1 :]}'
    later = next((m for m in members if m[0] > KEY), members[-1])
    at = later[1]
    gap = _SPACE.match(text, start + 1)
    assert gap is not None
    colon = text[members[0][1] : members[0][2]].partition(":")[2]
    colon = colon if not colon.strip() else " "
    return f'{text[:at]}"{KEY}":{colon}{value},{gap[0]}{text[at:]}'


def _without(
    text: str, start: int, end: int, members: list[tuple[str, int, int, int]],
    old: tuple[str, int, int, int],
) -> str:  # fmt: skip
    """Take a member out of an object, with one of its commas."""
    at = members.index(old)
    if len(members) == 1:
        return text[: start + 1] + text[end - 1 :]
    if at + 1 < len(members):
        return text[: old[1]] + text[members[at + 1][1] :]
    return text[: members[at - 1][3]] + text[old[3] :]


def _is_old(key: str, value: Any) -> bool:
    return key == _OLD_KEY and isinstance(value, Mapping) and set(value) == {"record"}


def _metadata(text: str) -> tuple[int, int]:
    """Return where the notebook's metadata begins and ends."""
    found = None
    try:
        begin = _skip(text, 1 if text.startswith("\ufeff") else 0)
        for key, _, start, end in _members(text, begin):
            if key == "metadata" and text[start] == "{":
                found = start, end
    except (ValueError, IndexError, RecursionError, AssertionError):
        found = None
    if found is None:
        raise NotebookError("The file is no notebook.", _NOT_JSON)
    return found


def _members(text: str, start: int) -> Iterator[tuple[str, int, int, int]]:
    """Yield an object's members: key, where it begins, where its value begins and ends."""
    assert text[start] == "{"
    decoder = json.JSONDecoder()
    at = _skip(text, start + 1)
    while text[at] != "}":
        begin = at
        assert text[at] == '"'
        key, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        assert text[at] == ":"
        value = _skip(text, at + 1)
        _, at = decoder.raw_decode(text, value)
        yield key, begin, value, at
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _loaded(text: str) -> Any:
    try:
        # NaN is not equal to itself; what is compared is what the text says.
        return json.loads(text.removeprefix("\ufeff"), parse_constant=str)
    except (ValueError, RecursionError):
        raise NotebookError("The file is no notebook.", _NOT_JSON) from None
