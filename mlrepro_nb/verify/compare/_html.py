"""HTML: tables cell by cell, then what a reader sees; never ids, styles and scripts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, PLAIN, Context, Difference, worst
from mlrepro_nb.verify.compare._image import compare_images
from mlrepro_nb.verify.compare._text import compare_text

_HIDDEN = frozenset({"style", "script", "head", "template"})
_BREAKS = frozenset({"p", "div", "li", "br", "h1", "h2", "h3", "h4", "tr", "pre", "summary"})
_EMBEDDED = re.compile(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=\s]+)")
_DRAWN = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{16,}\b|\bT_[0-9a-f]{5}"
    r"|\b(?:altair-viz|bk|p|vis)-?[0-9a-f]{4,}\b"
)


def compare_html(before: str, after: str, context: Context = PLAIN) -> Difference:
    """Compare what two pieces of HTML show. Never raises, whatever they are."""
    if before == after:
        return EXACT
    old, new = _parse(before), _parse(after)
    found = []
    if old.tables or new.tables:
        found.append(_tables(old.tables, new.tables, context))
    found.append(compare_text("\n".join(old.text), "\n".join(new.text), context))
    found.append(_pictures(before, after, context))
    if not old.tables and not any(line.strip() for line in (*old.text, *new.text)):
        # Nothing to read: a plot drawn by a script.
        found.append(compare_text(_DRAWN.sub("‹id›", before), _DRAWN.sub("‹id›", after), context))
    difference = worst(found)
    return NEAR if difference.level == "bitwise" else difference


def has_table(html: str) -> bool:
    """Whether there is a table in it."""
    return "<table" in html


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[list[str]]] = []
        self.text: list[str] = [""]
        self._open = 0
        self._hidden: str | None = None

    def handle_starttag(  # the attributes are styles and ids
        self,
        tag: str,
        attrs: list[tuple[str, str | None]],  # noqa: ARG002
    ) -> None:
        if tag in _HIDDEN and self._hidden is None:
            self._hidden = tag
        if tag == "table":
            self._open += 1
            self.tables.append([])
        elif self._open and tag == "tr":
            self.tables[-1].append([])
        elif self._open and tag in ("td", "th"):
            if not self.tables[-1]:
                self.tables[-1].append([])
            self.tables[-1][-1].append("")
        elif tag in _BREAKS:
            self.text.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = None
        if tag == "table" and self._open:
            self._open -= 1

    def handle_data(self, data: str) -> None:
        if self._hidden is not None:
            return
        if self._open and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data
        elif not self._open:
            self.text[-1] += data


def _parse(html: str) -> _Seen:
    seen = _Seen()
    try:
        seen.feed(html)
        seen.close()
    except (AssertionError, ValueError):  # HTMLParser on malformed declarations
        seen.text.append(html)
    return seen


def _tables(old: list[list[list[str]]], new: list[list[list[str]]], context: Context) -> Difference:
    if len(old) != len(new):
        lost = frozenset({"lost"}) if len(new) < len(old) else frozenset[str]()
        return Difference(
            level="different", before=f"{len(old)} tables", after=f"{len(new)} tables", hints=lost
        )
    found = EXACT
    for number, (one, other) in enumerate(zip(old, new, strict=True)):
        if [len(row) for row in one] != [len(row) for row in other]:
            return Difference(
                level="different",
                before=f"table {number} of {_shape(one)}",
                after=_shape(other),
                hints=frozenset({"lost"} if len(other) < len(one) else ()),
            )
        for i, (row, row_new) in enumerate(zip(one, other, strict=True)):
            for j, (cell, cell_new) in enumerate(zip(row, row_new, strict=True)):
                difference = compare_text(cell, cell_new, context)
                if difference.level == "different":
                    return Difference(
                        level="different",
                        before=f"table row {i} column {j}: {cell.strip()}",
                        after=cell_new.strip(),
                        hints=difference.hints,
                    )
                found = worst((found, difference))
    return found


def _shape(table: list[list[str]]) -> str:
    return f"{len(table)} rows × {max((len(row) for row in table), default=0)} columns"


def _pictures(before: str, after: str, context: Context) -> Difference:
    old, new = _EMBEDDED.findall(before), _EMBEDDED.findall(after)
    if len(old) != len(new):
        return Difference(
            level="different", before=f"{len(old)} pictures", after=f"{len(new)} pictures"
        )
    return worst(compare_images(a, b, context) for a, b in zip(old, new, strict=True))


def table_cells(html: str) -> list[str]:
    """Return the texts of all cells of all tables."""
    return [cell for table in _parse(html).tables for row in table for cell in row]
