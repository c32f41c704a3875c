"""Standard error: warnings by category and message, log lines by what they count, no bars."""

from __future__ import annotations

import re
from collections import Counter

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, Context, Difference
from mlrepro_nb.verify.compare.text import TOKEN, compare_text, lines_of, masked

_WARNING = re.compile(r"^(?:(\S[^\n]{0,400}?):\d+: )?((?:\w+\.){0,6}\w{0,60}Warning): ?(.*)$")
_OF_CELL = re.compile(r"ipykernel_\d+/|<ipython-input-")
_WARNS = re.compile(r"  (?:\w+\.)?warn\(")
"""The line that warned: a library that points at its caller shows the caller's."""
_LEVEL = re.compile(r"\bWARN(?:ING)?\b")
_NOTED = 5


def compare_stderr(before: str, after: str, context: Context) -> Difference:
    """Compare what two runs wrote to standard error.

    Warnings and lines that came or went are notes, for what a library has to say
    changes with its version. A line that both runs wrote, with another number in
    it, is a difference: metrics are logged there. So is a warning that a cell of
    the notebook itself gives, in which a result may be told.
    """
    if before == after:
        return EXACT
    (warned, logged), (warned_new, logged_new) = map(_split, map(lines_of, (before, after)))
    notes = _notes(warned, warned_new)
    old, new = (_by_form(part, context) for part in (logged, logged_new))
    for form, lines in old.items():
        again = new.get(form)
        if again is None or len(again) != len(lines):
            continue
        found = compare_text("\n".join(lines), "\n".join(again), context)
        if found.level == "different":
            return Difference(
                level="different", where="stderr", before=found.before, after=found.after,
                hints=found.hints, notes=notes,
            )  # fmt: skip
    for there, here, word in ((old, new, "gone from"), (new, old, "new on")):
        fresh = [line for form, every in there.items() if form not in here for line in every]
        notes += tuple(f"{word} standard error: {line[:200]}" for line in fresh[:_NOTED])
    return Difference(level="within-tolerance", notes=notes) if notes else NEAR


def _split(lines: list[str]) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Part libraries' warnings from other lines; of any the place and its source are left out."""
    warned: Counter[tuple[str, str]] = Counter()
    rest: list[str] = []
    within = False
    for place, line in enumerate(lines):
        found = _WARNING.match(line[:2000])
        if found:
            category, message = found[2].rpartition(".")[2], found[3].strip()
            if _OF_CELL.search(found[1] or "") and _WARNS.match("".join(lines[place + 1 :][:1])):
                rest.append(f"{category}: {message}")
            else:
                warned[category, message] += 1
            within = True
        elif within and line.startswith("  "):
            continue  # the source line that warned, or how the message goes on
        else:
            within = False
            rest.append(line)
    return warned, rest


def _notes(old: Counter[tuple[str, str]], new: Counter[tuple[str, str]]) -> tuple[str, ...]:
    notes = []
    for there, here, word in ((old, new, "gone"), (new, old, "new")):
        known = {(category, _form(message)) for category, message in here}
        for category, message in there:
            if (category, _form(message)) not in known:
                notes.append(f"{word} warning: {category}: {message[:160]}")
    return tuple(reversed(notes))[:_NOTED]


def _form(text: str) -> str:
    """Return what a line says, its values left out."""
    return " ".join(
        "#" if match.lastgroup != "word" and match.lastgroup != "other" else match[0]
        for match in TOKEN.finditer(text[:2000])
    )


def _by_form(lines: list[str], context: Context) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        shown = masked(line, context)
        if "‹bar" in shown:
            continue
        found.setdefault(_form(shown), []).append(line)
    return found
