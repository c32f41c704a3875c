"""HTML: tables cell by cell, what a reader sees, what a script draws; never ids and styles."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

from mlrepro_nb.verify.compare._buffers import numbers_in
from mlrepro_nb.verify.compare._difference import (
    EXACT,
    NEAR,
    PLAIN,
    Context,
    Difference,
    differing,
    worst,
)
from mlrepro_nb.verify.compare.html._parse import Seen, Table, parse
from mlrepro_nb.verify.compare.picture import compare_images
from mlrepro_nb.verify.compare.text import MEASURED, compare_text

_EMBEDDED = re.compile(r"data:image/[\w.+-]{1,20};base64,(.*)", re.DOTALL)
# Forms of the ids that libraries draw for the elements of a page.
DRAWN = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<![0-9a-zA-Z.])(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{16,64}(?![0-9a-zA-Z])"
    r"|\bT_[0-9a-f]{5}(?=[_\W]|$)|\bsk-(?:container|estimator)-id-\d+\b|\bp\d{4,6}\b"
    r"|\b(?:altair-viz|bk|vis|itables?|ag-grid|fig|el|plot|chart|output)[-_]?"
    r"(?=[a-f_-]*\d)[0-9a-f_-]{6,40}\b"
)
# It begins with a literal, which is searched for a hundred times as fast as a class.
_ID = re.compile(r"id=(?<=[\s\"']id=)[\"']?([^\"'\s>]{4,200})")
_MOST_IDS = 200
_END = 20_000
_FRAMES = 5
"""How deep a frame in a frame is looked into."""


def compare_html(
    before: str, after: str, context: Context = PLAIN, *, depth: int = 0
) -> Difference:
    """Compare what two pieces of HTML show. Never raises, whatever they are."""
    if before == after:
        return EXACT
    one, other = _plain(before), _plain(after)
    if one == other:
        return NEAR
    # Line by line as it is written: equal up to noise is equal however it is shown.
    packed = any(word in before for word in ("data:image", "bdata", "srcdoc"))
    alike = not packed and one.count("\n") == other.count("\n")
    if alike and compare_text(one, other, context).level != "different":
        return NEAR
    old, new = parse(before), parse(after)
    found = [
        _tables(old.tables, new.tables, context),
        compare_text("\n".join(old.text), "\n".join(new.text), context),
        _sources(old.sources, new.sources, context),
        _scripts(old, new, context),
    ]
    if len(old.frames) != len(new.frames):
        found.append(differing(f"{len(old.frames)} frames", f"{len(new.frames)} frames"))
    elif depth < _FRAMES:
        pairs = zip(old.frames, new.frames, strict=True)
        found += [compare_html(a, b, context, depth=depth + 1) for a, b in pairs]
    else:
        pairs = zip(old.frames, new.frames, strict=True)
        found += [compare_text(a, b, context) for a, b in pairs]
    difference = worst(found)
    return NEAR if difference.level == "bitwise" else difference


def has_table(html: str) -> bool:
    """Whether there is a table in it."""
    return "<table" in html


def table_cells(html: str) -> list[str]:
    """Return the texts of all cells of all tables."""
    return [cell for table in parse(html).tables for row in table.rows for cell in row]


def _plain(html: str) -> str:
    """Return HTML with the drawn ids of its elements replaced, wherever they stand.

    Only what an element bears as its id is one: a digest in a cell of a table is a result.
    """
    # The parts of a table share what is drawn; an id that is missed here is passed over later.
    some = [
        *islice(_ID.finditer(html), _MOST_IDS),
        *islice(_ID.finditer(html, max(0, len(html) - _END)), _MOST_IDS),
    ]
    drawn = set(DRAWN.findall("\n".join(match[1] for match in some)))
    if len(drawn) > _MOST_IDS:
        return html
    for found in sorted(drawn, key=len, reverse=True):
        html = html.replace(found, "drawn-id")  # ASCII: longer strings would be twice as slow
    return html


def _tables(old: list[Table], new: list[Table], context: Context) -> Difference:
    if len(old) != len(new):
        return differing(
            f"{len(old)} tables",
            f"{len(new)} tables",
            hints={"lost"} if len(new) < len(old) else (),
        )
    return worst(_table(n, a, b, context) for n, (a, b) in enumerate(zip(old, new, strict=True)))


def _table(number: int, old: Table, new: Table, context: Context) -> Difference:
    if old.rows == new.rows:
        return EXACT
    if [len(row) for row in old.rows] != [len(row) for row in new.rows]:
        return differing(
            f"table {number} of {old.shape}",
            new.shape,
            # Laid out in another way it has as many values, in fewer rows.
            hints={"lost"} if len(new.rows) < len(old.rows) and _values(new) < _values(old) else (),
        )
    for i, (row, row_new) in enumerate(zip(old.rows, new.rows, strict=True)):
        if row == row_new:
            continue
        for j, (cell, cell_new) in enumerate(zip(row, row_new, strict=True)):
            if cell == cell_new:
                continue
            found = compare_text(cell, cell_new, context)
            if found.level != "different":
                continue
            if _measured(old, i, j) and _measured(new, i, j) and _numeral(cell, cell_new):
                continue
            hints = set(found.hints)
            if Counter(map(tuple, old.rows)) == Counter(map(tuple, new.rows)):
                hints.add("order")
            return differing(_named(old, i, j) + cell.strip(), cell_new.strip(), hints=hints)
    return NEAR


def _values(table: Table) -> int:
    return sum(
        bool(cell.strip()) and not head
        for cells, heads in zip(table.rows, table.heads, strict=True)
        for cell, head in zip(cells, heads, strict=True)
    )


def _measured(table: Table, row: int, column: int) -> bool:
    """Whether the heading of a cell is a name under which a library keeps times."""
    names = (table.column(column), table.row(row) or _first_word(table.rows[row][0]))
    return any(MEASURED.fullmatch(name) for name in names if name)


def _first_word(cell: str) -> str:
    return next(iter(cell.split(maxsplit=1)), "")


def _numeral(*cells: str) -> bool:
    return all(re.fullmatch(r"\s*-?[\d.,]+(?:e[-+]?\d+)?\s*\w{0,3}\s*", cell) for cell in cells)


def _named(table: Table, row: int, column: int) -> str:
    def name(text: str) -> str:
        text = " ".join(text.split())[:40]
        return f" ({text})" if text else ""

    return f"table row {row}{name(table.row(row))} column {column}{name(table.column(column))}: "


def _sources(old: list[str], new: list[str], context: Context) -> Difference:
    if len(old) != len(new):
        lost = {"lost"} if len(new) < len(old) else ()
        return differing(f"{len(old)} pictures", f"{len(new)} pictures", hints=lost)
    found = []
    for one, other in zip(old, new, strict=True):
        embedded = _EMBEDDED.match(one), _EMBEDDED.match(other)
        if embedded[0] and embedded[1]:
            found.append(compare_images(embedded[0][1], embedded[1][1], context))
        else:
            masked = DRAWN.sub("‹id›", one), DRAWN.sub("‹id›", other)
            found.append(compare_text(*masked, context))
    return worst(found)


def _scripts(old: Seen, new: Seen, context: Context) -> Difference:
    """Compare what draws into an element of the page; other scripts only serve it."""
    drawing = [_drawing(seen) for seen in (old, new)]
    if drawing[0] == drawing[1]:
        return EXACT
    if len(drawing[0]) != len(drawing[1]):
        return differing(f"{len(drawing[0])} drawings", f"{len(drawing[1])} drawings")
    pairs = zip(*drawing, strict=True)
    return worst(compare_text(numbers_in(a), numbers_in(b), context) for a, b in pairs)


def _drawing(seen: Seen) -> list[str]:
    named = [i for i in seen.ids if len(i) > 3]
    if not named or len(named) > 2000:
        return []
    return [
        DRAWN.sub("‹id›", script)
        for script in seen.scripts
        if any(name in script for name in named) and re.search(r"[\[{]\s*[\"'\d\[{-]", script)
    ]
