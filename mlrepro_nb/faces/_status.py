"""What ``%mlrepro status``, ``data`` and ``env`` show: a record, as text and as HTML. Pure."""

from __future__ import annotations

from html import escape
from typing import Any

from mlrepro_nb.model import Record, short

MIME = "application/vnd.mlrepro.status+json"
"""Marks an output as ours: `verify` does not compare it."""

Row = tuple[str, str]


def status(record: Record, seed: int | None) -> list[Row]:
    """Return what a record holds so far, a line a part."""
    code, data, randomness = record.code, record.data, record.randomness
    cells = {cell.index for cell in code.cells if cell.index is not None}
    commit = f"{short(code.commit)}{' + changes' if code.dirty else ''}" if code.commit else "none"
    unseeded = sorted(
        _cell(record, int(order)) for order, how in randomness.cells.items() if how == "unseeded"
    )
    rows = [
        ("notebook", code.notebook),
        ("code", f"{len(code.cells)} executions of {len(cells) or '?'} cells, commit {commit}"),
        ("data", _counted(data)),
        ("packages", f"{sum(d.imported for d in record.environment.distributions)} imported of "
         f"{len(record.environment.distributions)} installed, Python {record.environment.python}"),
        ("randomness", f"unseeded in {', '.join(unseeded)}" if unseeded else
         ("seeded" if seed is not None or randomness.seeds else "none drawn")),
        ("results", f"{len(record.results.outputs)} outputs, "
         f"{len(record.results.metrics)} metrics, {len(record.results.models)} models"),
    ]  # fmt: skip
    rows += [
        ("MLflow", f"run {run.run_id} in {run.experiment or '?'}") for run in record.lineage.runs
    ]
    peak = record.hardware.peak
    rows.append(("peak", f"{peak.memory / 2**20:.0f} MiB, {peak.cpu:.1f} cores"))
    rows += [("gap", gap) for gap in record.lineage.gaps]
    return rows


def data(record: Record) -> list[Row]:
    """Return the files that were read and written."""
    return [
        (
            access.access,
            f"{access.repo_path or access.path}  {short(access.digest) if access.digest else '—'}"
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


def bundle(title: str, rows: list[Row]) -> dict[str, Any]:
    """Return the MIME bundle of a table."""
    width = max((len(name) for name, _ in rows), default=0)
    text = "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in rows)])
    cells = "".join(
        '<tr><th style="text-align:left;font-weight:600;padding:2px 12px 2px 0">'
        f'{escape(name)}</th><td style="text-align:left;padding:2px 0">{escape(value)}</td></tr>'
        for name, value in rows
    )
    html = (
        '<div style="font-size:var(--jp-ui-font-size1,13px)">'
        f"<strong>{escape(title)}</strong>"
        f'<table style="margin:4px 0 0 0;border-collapse:collapse">{cells}</table></div>'
    )
    return {"text/plain": text, "text/html": html, MIME: {"title": title, "rows": rows}}


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
