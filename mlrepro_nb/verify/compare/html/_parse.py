"""HTML in one pass: what is to be read, the tables, the pictures and the scripts.

It reads what notebooks hold, not what browsers forgive, and takes time linear in the
length whatever it is given.
"""

from __future__ import annotations

import re
from html import unescape

import msgspec

# Atomic groups by lookahead: what does not end in `>` is text, and is read once.
_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>[a-zA-Z][^\s/><]{0,40})"
    r"(?=(?P<attributes>(?:[^<>\"']+|\"[^\"]*\"|'[^']*')*))(?P=attributes)>"
)
_ATTRIBUTE = re.compile(r"([\w:-]{1,60})\s{0,4}=\s{0,4}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_RAW = frozenset({"style", "script", "template", "noscript", "title"})
_BREAKS = frozenset({
    "p", "div", "li", "br", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "pre", "summary", "ul", "ol",
    "table", "details", "section", "label", "button", "figcaption", "hr",
})  # fmt: skip


class Table(msgspec.Struct):
    """The texts of a table's cells, row by row, and which of them are headings."""

    rows: list[list[str]] = msgspec.field(default_factory=list)
    heads: list[list[bool]] = msgspec.field(default_factory=list)

    def column(self, index: int) -> str:
        """Return the name of a column: the last heading above the first row of values."""
        name = ""
        for cells, heads in zip(self.rows, self.heads, strict=True):
            if not heads or not all(heads):
                break
            if index < len(cells) and cells[index].strip():
                name = cells[index].strip()
        return name

    def row(self, index: int) -> str:
        """Return the name of a row: its leading headings."""
        cells, heads = self.rows[index], self.heads[index]
        return " ".join(c.strip() for c, head in zip(cells, heads, strict=True) if head)

    @property
    def shape(self) -> str:
        """How large it is, in words."""
        return f"{len(self.rows)} rows × {max(map(len, self.rows), default=0)} columns"


class Seen(msgspec.Struct):
    """What a piece of HTML shows."""

    tables: list[Table] = msgspec.field(default_factory=list)
    text: list[str] = msgspec.field(default_factory=lambda: [""])
    scripts: list[str] = msgspec.field(default_factory=list)
    ids: set[str] = msgspec.field(default_factory=set)
    sources: list[str] = msgspec.field(default_factory=list)
    """What pictures and frames show: addresses and data."""
    frames: list[str] = msgspec.field(default_factory=list)
    """The documents of inner frames."""


def parse(html: str) -> Seen:
    """Read a piece of HTML. Never raises."""
    seen, position, open_tables = Seen(), 0, 0
    while position < len(html):
        start = html.find("<", position)
        if start < 0:
            _put(seen, html[position:], open_tables)
            break
        if start > position:
            _put(seen, html[position:start], open_tables)
        if html.startswith("<!--", start):
            end = html.find("-->", start + 4)
            position = len(html) if end < 0 else end + 3
            continue
        match = _TAG.match(html, start)
        if match is None:
            if html.startswith(("<!", "<?"), start) and (end := html.find(">", start)) >= 0:
                position = end + 1
            else:
                _put(seen, "<", open_tables)
                position = start + 1
            continue
        position, name = match.end(), match["name"].lower()
        if match["close"]:
            open_tables -= name == "table" and open_tables > 0
        else:
            open_tables = _opened(seen, name, match["attributes"], open_tables)
            if name in _RAW and not match["attributes"].endswith("/"):
                position = _raw(seen, name, html, position)
    return seen


def _opened(seen: Seen, name: str, attributes: str, open_tables: int) -> int:
    if "=" in attributes and ("id" in attributes or "src" in attributes):
        for key, *values in _ATTRIBUTE.findall(attributes):
            value = "".join(values)
            if key == "id":
                seen.ids.add(value)
            elif key == "srcdoc":
                seen.frames.append(unescape(value))
            elif key == "src" and name in ("img", "iframe", "video", "audio", "embed", "source"):
                seen.sources.append(value)
    if name == "table":
        seen.tables.append(Table())
        return open_tables + 1
    if open_tables:
        table = seen.tables[-1]
        if name == "tr" or (name in ("td", "th") and not table.rows):
            table.rows.append([])
            table.heads.append([])
        if name in ("td", "th"):
            table.rows[-1].append("")
            table.heads[-1].append(name == "th")
    elif name in _BREAKS:
        seen.text.append("")
    return open_tables


def _raw(seen: Seen, name: str, html: str, start: int) -> int:
    """Pass over an element whose content is no text; scripts are kept."""
    end = re.compile(rf"</{name}\b[^>]{{0,40}}>", re.I).search(html, start)
    body = html[start : end.start() if end else len(html)]
    if name == "script" and body.strip():
        seen.scripts.append(body)
    return end.end() if end else len(html)


def _put(seen: Seen, text: str, open_tables: int) -> None:
    if not text or text.isspace():
        if text and not open_tables and seen.text[-1]:
            seen.text[-1] += " "
        return
    if "&" in text:
        text = unescape(text)
    if not open_tables:
        seen.text[-1] += text
    elif seen.tables[-1].rows and seen.tables[-1].rows[-1]:
        seen.tables[-1].rows[-1][-1] += text
