"""``mlrepro show``: one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mlrepro_nb.faces.cli._console import print_json
from mlrepro_nb.model import revived, short

if TYPE_CHECKING:
    from mlrepro_nb.model import Record


@click.command("show")
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
def command(target: str, as_json: bool) -> None:
    """Print a record: its digest (or the start of it), a NOTEBOOK (its newest) or a JSON file."""
    import msgspec

    from mlrepro_nb.store import Store

    digest, record = Store.find().find_record(target)
    if as_json:
        print_json({"digest": digest, **msgspec.to_builtins(record)})
    else:
        show(digest, record)


def show(digest: str, record: Record) -> None:
    """Print a record on one screen."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for part, text in summary(record).items():
        table.add_row(part, text)
    console = Console(highlight=False)
    console.print(f"record {digest}", style="yellow", soft_wrap=True)
    console.print(table)


def summary(record: Record) -> dict[str, str]:
    """Return a line or a few for each of the record's eight parts."""
    code, environment, results = record.code, record.environment, record.results
    commit = short(code.commit) if code.commit else "no commit"
    dirty = ", with uncommitted changes" if code.dirty else ""
    reads = [a for a in record.data if a.access == "read"]
    writes = [a for a in record.data if a.access == "write"]
    imported = [d for d in environment.distributions if d.imported]
    kinds = list(record.randomness.cells.values())
    peak = record.hardware.peak
    parameters = {**record.parameters.mlflow, **revived(record.parameters.papermill)}
    runs = [f"MLflow run {r.run_id}" for r in record.lineage.runs]
    status = results.status if results.error is None else f"{results.status}: {results.error}"
    return {
        "code": f"{code.notebook} at {commit}{dirty}, {len(code.cells)} cells run",
        "data": "\n".join(
            f"{verb} {a.repo_path or a.path}  {short(a.digest) if a.digest else 'not hashed'}"
            + (f"  {a.files} files" if a.files is not None else "")
            + (f"  {a.version}" if a.version else "")
            + _by(record.cells_of(a))
            for verb, accesses in (("read", reads), ("wrote", writes))
            for a in accesses
        )
        or "none",
        "parameters": ", ".join(f"{k}={v}" for k, v in parameters.items()) or "none",
        "environment": f"Python {environment.python}, {environment.system.name} "
        f"{environment.system.version}, {len(imported)} of {len(environment.distributions)} "
        "distributions imported",
        "randomness": f"{kinds.count('seeded')} cells seeded, {kinds.count('unseeded')} unseeded"
        + "".join(f"; {s.generator}={s.value}" for s in record.randomness.seeds[:4]),
        "hardware": f"{record.hardware.cpu}, {record.hardware.cores} cores; "
        f"peak {peak.memory / 2**20:.0f} MiB, {peak.cpu:.2f} cores"
        + (f", {peak.gpu_memory / 2**20:.0f} MiB on GPU" if peak.gpu_memory else ""),
        "results": "; ".join(
            [
                status,
                f"{len(results.outputs)} outputs",
                *(f"{k} = {v:.6g}" for k, v in results.metrics.items()),
                *(f"model {m.name} {short(m.digest) if m.digest else ''}" for m in results.models),
            ]
        ),
        "lineage": "; ".join(
            [
                f"{record.lineage.who}, {record.lineage.ended}, {record.lineage.mode}",
                *runs,
                f"capture {record.lineage.capture}",
            ]
        ),
    }


def _by(cells: Sequence[int]) -> str:
    return f"  cell{'s' * (len(cells) > 1)} {', '.join(map(str, cells))}" if cells else ""
