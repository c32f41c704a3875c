"""Files that say which parts of outputs are not compared: nbval's ``--nbval-sanitize-with``."""

from __future__ import annotations

import re
from pathlib import Path

from mlrepro_nb.errors import UsageError
from mlrepro_nb.verify.compare import Substitution

# nbval reads no INI: it takes each `regex:` that a `replace:` follows on the next line, sections
# and all else being comments. A section may hold several, and a colon needs no escape.
_PAIR = re.compile(r"^regex: ?(.*)\n^replace: ?(.*)$", re.MULTILINE)


def read_sanitize(path: Path) -> tuple[Substitution, ...]:
    """Read the substitutions of a sanitize file, in their order.

    Raises
    ------
    UsageError
        It cannot be read, holds none, or one is not a regular expression.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Name a file of text.") from error
    found: dict[str, Substitution] = {}
    for regex, replacement in _PAIR.findall(text.replace("\r\n", "\n")):
        try:
            pattern = re.compile(regex)
            pattern.sub(replacement, "")
        except (re.error, IndexError) as error:
            raise UsageError(
                f"{path}: `{regex}` → `{replacement}` is not a substitution: {error}.",
                "Write it as Python's `re.sub` takes it.",
            ) from error
        found[regex] = (pattern, replacement)
    if not found:
        raise UsageError(
            f"{path} holds no substitutions.",
            "Each is a line `regex: PATTERN` and below it a line `replace: TEXT`.",
        )
    return tuple(found.values())
