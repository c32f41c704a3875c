"""Tracebacks: the type, what the message tells, and the lines of the notebook's own code."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, Context, Difference, differing
from mlrepro_nb.verify.compare._outputs import Output, text_of, words
from mlrepro_nb.verify.compare.text import TOKEN, compare_text, masked, screen

_NUMBERED = re.compile(r"^(?:(-{1,8}>)| {0,8}) ?\d+ (.*)$")
"""A line of source in a traceback; an arrow points at the one where it stood."""
_CLAUSE = re.compile(r"(?:except\b|finally\b|(?:async )?with\b)")
_FRAME = re.compile(r"^(?:File |Cell |Input |/|~|[A-Za-z]:\\|<ipython-input)[^\n]{0,400}")
_INSTALLED = re.compile(
    # Of what is compiled the path is the one that it was built at.
    r"(?:site|dist)-packages|/lib/python3\.\d+/|<frozen |<__array_function__|\.p(?:yx|xd|xi)\b"
)
_QUOTED = re.compile(r"'([^'\n]{1,200})'|\"([^\"\n]{1,200})\"|`([^`\n]{1,200})`")
_CHAINED = re.compile(
    r"^(?:During handling of the above exception, another|The above exception was the direct cause)"
)
_ALIKE = 0.5


def compare_errors(before: Output | None, after: Output | None, context: Context) -> Difference:
    """Compare the errors that ended two runs of a cell.

    The message is compared by what it tells: numbers and quoted names. Libraries
    reword the rest. Of the frames those of installed code, whose paths and line
    numbers are another in each environment, are left out.
    """
    if before is None or after is None:
        if before is after:
            return EXACT
        return differing(_raised(before), _raised(after), where="error")
    if error_name(before) != error_name(after):
        return differing(_raised(before), _raised(after), where="error")
    old, new = (text_of(error.get("evalue", "")) for error in (before, after))
    message = compare_text(old, new, context)
    if message.level == "different" and not _reworded(old, new, context):
        return differing(_raised(before), _raised(after), where="error", hints=message.hints)
    frames = _frames(before), _frames(after)
    if frames[0] and frames[1]:
        apart = [(a, b) for a, b in zip(*frames, strict=False) if not _same_place(a, b)]
        if not apart and len(frames[0]) != len(frames[1]):
            one, other = (f"{len(side)} frames" for side in frames)
            return differing(f"raised at {one}", f"at {other}", where="error")
        if apart:
            one, other = (frame.line for frame in apart[0])
            return differing(f"raised at {one}", f"at {other}", where="error")
    same = message.level == "bitwise" and before.get("traceback") == after.get("traceback")
    return EXACT if same else NEAR


def _raised(error: Output | None) -> str:
    if error is None:
        return "no error"
    return f"{text_of(error.get('ename', ''))}: {text_of(error.get('evalue', ''))[:400]}"


_RENAMED = {
    "ModuleNotFoundError": "ImportError", "IOError": "OSError", "EnvironmentError": "OSError",
}  # fmt: skip
"""What later versions of Python say more exactly, or say for what was several."""


def error_name(error: Output) -> str:
    """Return the type of an error, by the name that all versions of Python have for it."""
    # Whether a module is named before it changed with IPython's versions.
    name = text_of(error.get("ename", "")).rpartition(".")[2]
    return _RENAMED.get(name, name)


def _reworded(before: str, after: str, context: Context) -> bool:
    """Whether two messages tell the same in other words."""
    old, new = _told(before, context), _told(after, context)
    if old or new:
        fewer, more = sorted((old, new), key=lambda told: sum(told.values()))
        if not fewer or fewer - more:
            return False
    mine, theirs = (Counter(word.lower() for word in words(text)) for text in (before, after))
    common, most = sum((mine & theirs).values()), max(sum(mine.values()), sum(theirs.values()))
    return most == 0 or common >= _ALIKE * min(sum(mine.values()), sum(theirs.values())) > 0


def _told(message: str, context: Context) -> Counter[str]:
    """Return the values in a message: what it quotes, and its numbers."""
    message = masked(message[:20_000], context)
    quoted: list[Any] = ["".join(found) for found in _QUOTED.findall(message)]
    rest = _QUOTED.sub(" ", message)
    numbers = [m[0] for m in TOKEN.finditer(rest) if m.lastgroup in ("number", "version", "date")]
    return Counter([*quoted, *numbers])


class _Frame(msgspec.Struct):
    """Where the notebook's or the project's own code stood."""

    line: str
    around: set[str]
    """The lines that the traceback shows of that function."""


def _same_place(one: _Frame, other: _Frame) -> bool:
    """Whether two frames stood at one line.

    Of an exception that no clause caught some versions of Python and IPython name the line
    that raised it, others the last clause that it passed.
    """
    return one.line == other.line or any(
        _CLAUSE.match(a.line) is not None and a.line in b.around and b.line in a.around
        for a, b in ((one, other), (other, one))
    )


def _frames(error: Output) -> list[_Frame]:
    """Return the lines at which the notebook's and the project's own code stood.

    Of exceptions in a chain those of the last, which ended the cell: where the earlier ones
    are said to have been raised hangs on the versions of Python and IPython.
    """
    traceback = error.get("traceback")
    if not isinstance(traceback, list):
        return []
    found: list[_Frame] = []
    around: set[str] = set()
    own = True
    for line in screen("\n".join(map(text_of, traceback))[:1_000_000]).split("\n"):
        if numbered := _NUMBERED.match(line):
            text = " ".join(numbered[2].split("#")[0].split())[:200]
            around.add(text)
            if numbered[1] and own:
                found.append(_Frame(line=text, around=around))
        elif _CHAINED.match(line):
            found, around, own = [], set(), True
        elif _FRAME.match(line):
            around, own = set(), not _INSTALLED.search(line)
    return found
