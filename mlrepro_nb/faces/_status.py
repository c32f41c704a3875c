"""What ``%mlrepro status``, ``data`` and ``env`` show: a record, as text and as HTML. Pure."""

from __future__ import annotations

from html import escape
from typing import Any

from mlrepro_nb.metrics import met, outcome, wording
from mlrepro_nb.model import Record, short

MIME = "application/vnd.mlrepro.status+json"
"""Marks an output as ours: `verify` does not compare it."""

Row = tuple[str, str]

_NOTED = frozenset({"gap", "unseeded", "edited", "outside", "missed"})
"""Rows that say that something is amiss: marked, and not by colour alone."""
_MOST = 100
"""Executions that are listed; of more, the last."""
_HEAD = ("#", "cell", "state", "seconds", "randomness", "read", "written", "memory")


def status(record: Record, seed: int | None) -> list[Row]:
    """Return what a record holds so far, a line a part."""
    code, data, found = record.code, record.data, record.environment
    cells = {cell.index for cell in code.cells if cell.index is not None}
    commit = f"{short(code.commit)}{' + changes' if code.dirty else ''}" if code.commit else "none"
    rows = [
        ("notebook", code.notebook),
        ("code", f"{len(code.cells)} executions of {len(cells) or '?'} cells, commit {commit}"),
        *_state(record),
        ("data", _counted(data)),
        ("packages", f"{sum(d.imported for d in found.distributions)} imported of "
         f"{len(found.distributions)} installed, Python {found.python}"),
        *_randomness(record, seed),
        ("results", f"{len(record.results.outputs)} outputs, "
         f"{len(record.results.metrics)} metrics, {len(record.results.models)} models"),
        *((("expected" if met(one) else "missed"), f"{wording(one)}: {outcome(one)}")
          for one in record.results.expectations),
    ]  # fmt: skip
    rows += [
        ("MLflow", f"run {run.run_id} in {run.experiment or '?'}") for run in record.lineage.runs
    ]
    peak = record.hardware.peak
    gpu = f", {_size(peak.gpu_memory)} GPU memory" if peak.gpu_memory else ""
    rows.append(("peak", f"{_size(peak.memory)}, {peak.cpu:.1f} cores{gpu}"))
    rows.append(("capture", record.lineage.capture))
    rows += [("gap", gap) for gap in record.lineage.gaps]
    return rows


def _state(record: Record) -> list[Row]:
    """Return what a rerun of the file would not do again."""
    code, rows = record.code, []
    last = {cell.id or cell.digest: cell for cell in code.cells}
    edited = [_of(c.index, c.order) for c in last.values() if c.in_file == "edited"]
    if edited:
        rows.append(("edited", f"since the run: {', '.join(edited)}"))
    console = sum(cell.origin != "notebook" for cell in code.cells)
    names = sorted({name for change in code.outside for name in (*change.names, *change.deleted)})
    told = [f"{console} executions not from this notebook"] if console else []
    told += [f"changed while no cell ran: {', '.join(names[:8])}"] if names else []
    moved = sorted({move.description or (*move.names, move.model)[0] for move in code.widgets})
    told += [f"widgets set by hand: {', '.join(moved[:8])}"] if moved else []
    if told:
        rows.append(("outside", "; ".join(told)))
    effects = [cell.effects for cell in code.cells if cell.effects is not None]
    if installed := [name for effect in effects for name in effect.distributions]:
        rows.append(("installed", ", ".join(installed[:12])))
    if commands := [text.partition("\n")[0] for effect in effects for text in effect.commands]:
        rows.append(("commands", "; ".join(commands[:6]) + ("; …" if len(commands) > 6 else "")))
    return rows


def _randomness(record: Record, seed: int | None) -> list[Row]:
    randomness = record.randomness
    unseeded = sorted(int(order) for order, how in randomness.cells.items() if how == "unseeded")
    seeds = [f"{s.generator}={s.value}" for s in randomness.seeds]
    if unseeded:
        where = ", ".join(_cell(record, order) for order in unseeded)
        told = f"{where}{f' (seeds: {_some(seeds)})' if seeds else ''}"
        return [("unseeded", told)]
    if seed is not None or seeds:
        return [("randomness", f"seeded: {_some(seeds) or seed}")]
    return [("randomness", "none drawn")]


def executions(record: Record) -> list[tuple[str, ...]]:
    """Return a line for each execution, the heads first."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for cell in record.code.cells[-_MOST:]:
        peak = record.hardware.cells.get(str(cell.order))
        files = [a for a in record.data if cell.order in a.orders]
        state = cell.status if cell.origin == "notebook" else f"{cell.status}, {cell.origin}"
        rows.append(
            (
                str(cell.execution_count or cell.order),
                cell.name or (str(cell.index) if cell.index is not None else _first(cell.source)),
                f"{state}, {cell.in_file}" if cell.in_file in ("edited", "gone") else state,
                f"{cell.duration:.3g}",
                record.randomness.cells.get(str(cell.order), "none"),
                str(sum(a.access == "read" for a in files)),
                str(sum(a.access == "write" for a in files)),
                _size(peak.memory) if peak is not None and peak.memory else "",
            )
        )
    return rows


def _some(texts: list[str]) -> str:
    texts = list(dict.fromkeys(texts))
    return ", ".join(texts[:6]) + (f" and {len(texts) - 6} more" if len(texts) > 6 else "")


def _first(source: str) -> str:
    line = next((line.strip() for line in source.splitlines() if line.strip()), "")
    return line if len(line) <= 32 else f"{line[:31]}…"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def data(record: Record) -> list[Row]:
    """Return the files that were read and written."""
    return [
        (
            access.access,
            f"{access.repo_path or access.path}  {short(access.digest) if access.digest else '—'}"
            f"{f'  {access.files} files,' if access.files is not None else ''}"
            f"  {access.size if access.size is not None else '?'} bytes"
            f"  {_of(access.cell, access.execution)}"
            f"{'  DVC' if access.dvc else '' if access.tracked else '  in no commit'}",
        )
        for access in record.data
    ] or [("data", "no file was read or written")]


def environment(record: Record) -> list[Row]:
    """Return the imported packages and where numbers are made."""
    found = record.environment
    rows = [(d.name, f"{d.version}  {d.origin if d.origin != 'index' else ''}".rstrip())
            for d in found.distributions if d.imported]  # fmt: skip
    rows += [(pool.api, f"{pool.implementation} {pool.version or ''}, {pool.threads} threads")
             for pool in found.threadpools]  # fmt: skip
    return [("python", found.python), ("system", f"{found.system.name} {found.system.version}"),
            *rows]  # fmt: skip


def bundle(
    title: str, rows: list[Row], table: list[tuple[str, ...]] | None = None
) -> dict[str, Any]:
    """Return the MIME bundle of a list of rows, and of a table below it whose heads come first."""
    width = max((len(name) for name, _ in rows), default=0)
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows)]
    html = f"{_caption(title)}<tbody>{''.join(_html_row(*row) for row in rows)}</tbody></table>"
    told: dict[str, Any] = {"title": title, "rows": rows}
    if table:
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["", *("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in table)]
        html += _html_table(table)
        told["table"] = table
    return {
        "text/plain": "\n".join(lines),
        "text/html": f'<div style="{_STYLE}">{html}</div>',
        MIME: told,
    }


# The front end's own colours, dark or light; elsewhere those of the page.
_COLOUR = "var(--jp-content-font-color1,var(--vscode-editor-foreground,inherit))"
_WARN = "var(--jp-warn-color-normal,var(--vscode-editorWarning-foreground,inherit))"
_LINE = "var(--jp-border-color2,var(--vscode-panel-border,currentColor))"
_STYLE = f"font-size:var(--jp-ui-font-size1,13px);color:{_COLOUR};background:transparent"
_LEFT = "text-align:left;vertical-align:top;background:transparent"


def _caption(title: str) -> str:
    return (
        '<table style="margin:0;border-collapse:collapse">'
        f'<caption style="text-align:left;caption-side:top;color:inherit;padding:0 0 4px 0">'
        f"<strong>{escape(title)}</strong></caption>"
    )


def _html_row(name: str, value: str) -> str:
    mark, colour = ("⚠ ", f";color:{_WARN}") if name in _NOTED else ("", "")
    return (
        f'<tr style="background:transparent"><th scope="row" style="{_LEFT};font-weight:600;'
        f'padding:2px 12px 2px 0{colour}">{mark}{escape(name)}</th>'
        f'<td style="{_LEFT};padding:2px 0;overflow-wrap:anywhere">{escape(value)}</td></tr>'
    )


def _html_table(table: list[tuple[str, ...]]) -> str:
    cell = f"{_LEFT};padding:2px 12px 2px 0"
    head = "".join(
        f'<th scope="col" style="{cell};border-bottom:1px solid {_LINE}">{escape(name)}</th>'
        for name in table[0]
    )
    body = "".join(
        '<tr style="background:transparent">'
        + "".join(f'<td style="{cell}">{escape(text)}</td>' for text in row)
        + "</tr>"
        for row in table[1:]
    )
    return (
        f"<details><summary>{len(table) - 1} executions</summary>"
        '<table style="margin:4px 0 0 0;border-collapse:collapse">'
        '<caption style="position:absolute;clip-path:inset(50%);width:1px;height:1px;'
        'overflow:hidden">Executions</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _counted(data: Any) -> str:
    read = sum(access.access == "read" for access in data)
    written = len(data) - read
    untracked = sum(access.access == "read" and not (access.tracked or access.dvc)
                    for access in data)  # fmt: skip
    text = f"{read} read, {written} written"
    return f"{text}; {untracked} of those read are in no commit" if untracked else text


def _cell(record: Record, order: int) -> str:
    cell = next(cell for cell in record.code.cells if cell.order == order)
    return _of(cell.index, order)


def _of(index: int | None, order: int | None) -> str:
    if index is not None:
        return f"cell {index}"
    return f"execution {order}" if order is not None else "between cells"
