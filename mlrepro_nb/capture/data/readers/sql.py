"""The files that an SQL statement names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlrepro_nb.capture.data.audit import Access

_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<text> [eE]?'(?:[^']|'')*' )
  | (?P<name> "(?:[^"]|"")*" )
  | \$(?P<tag>[A-Za-z_]*)\$ .*? \$(?P=tag)\$
  | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<mark> [()\[\],;] )
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENS = re.compile(
    r"(?i)^(read_\w+|\w+_scan|scan_\w+|glob|sniff_csv|parquet_\w+|st_read|iceberg_\w+|delta_\w+)$"
)
_EXTENSION = re.compile(r"\.\w{2,}$|[*?]|://")


def files(statement: str) -> Iterator[tuple[str, Access]]:
    """Yield each file that a statement in DuckDB's dialect reads or writes, and how.

    A text is a file after FROM, JOIN, TO, ATTACH or DATABASE, and as an argument
    of a function that reads files; anywhere else it is a value.
    """
    word, verb = "", ""
    inside: list[str] = []
    """For each bracket that is open, the function that it belongs to."""
    in_from = False
    for token in _TOKEN.finditer(statement):
        kind = token.lastgroup
        if kind == "word":
            word = token.group().lower()
            verb = verb or word
            if word in ("from", "join"):
                in_from = True
            elif word in ("where", "select", "group", "order", "limit", "having", "on", "set"):
                in_from = False
        elif kind == "mark":
            mark = token.group()
            if mark in "([":
                inside.append(inside[-1] if mark == "[" and inside else word)
            elif mark in ")]" and inside:
                inside.pop()
            elif mark == ";":
                verb, inside, in_from = "", [], False
            word = mark
        elif kind in ("text", "name"):
            text = _unquoted(token.group())
            if kind == "text" or _EXTENSION.search(text):
                access = _access(word, verb, inside, in_from=in_from)
                if access is not None:
                    yield text, access
            word = ""


def _access(word: str, verb: str, inside: list[str], *, in_from: bool) -> Access | None:
    if inside and _OPENS.match(inside[-1]):
        return "read" if word in ("(", "[", ",") else None
    if word == "to" and verb == "copy":
        return "write"
    if verb == "attach" and not inside and word in ("attach", "database", "exists"):
        return "both"
    if verb in ("export", "import") and word == "database":
        return "write" if verb == "export" else "read"
    if word in ("from", "join") or (word == "," and in_from and not inside):
        return "read"
    return None


def _unquoted(token: str) -> str:
    token = token.lstrip("eE")
    mark = token[0]
    return token[1:-1].replace(mark * 2, mark)
