"""``mlrepro verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlrepro_nb.faces.cli._console import print_json, progress

if TYPE_CHECKING:
    from mlrepro_nb.model import Verification

_STYLES = {
    "bitwise": "green", "within-tolerance": "green", "inconclusive": "dim", "different": "yellow",
    "failed": "red",
}  # fmt: skip


@click.command("verify")
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The executed copy.")
@click.option("-k", "--kernel", help="Kernelspec to use instead of the notebook's.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds a cell.")
@click.option(
    "--total-timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds in all, a run."
)
@click.option(
    "--rtol", type=click.FloatRange(min=0), default=1e-9, show_default=True,
    help="Relative tolerance of floats.",
)  # fmt: skip
@click.option(
    "--atol", type=click.FloatRange(min=0), default=1e-12, show_default=True,
    help="Absolute tolerance of floats.",
)  # fmt: skip
@click.option(
    "--notebook", type=click.Path(path_type=Path), help="Of a record: where its notebook is."
)
@click.option(
    "--reference", type=click.Path(path_type=Path),
    help="An executed notebook whose outputs are the reference.",
)  # fmt: skip
@click.option(
    "--replay", is_flag=True, help="Feed back what the recorded run drew from the system."
)
@click.option(
    "--restore", is_flag=True, help="Start from the inputs that the recorded run overwrote."
)
@click.option("--rehash", is_flag=True, help="Read unchanged files again, too.")
@click.option("--stamp", is_flag=True, help="Write the verdict into the notebook's metadata.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def command(
    ctx: click.Context, /, target: str, as_json: bool, output: Path | None, quiet: bool,
    stamp: bool, **options: Any,
) -> None:  # fmt: skip
    """Run a notebook again and say whether it gives the same; if not, why and how to fix it.

    TARGET is a notebook, a record's digest (or its beginning), or a JSON file that
    holds a record. Nothing of the project is changed, but by --stamp one line of the
    notebook's metadata: the run happens in a copy.

    A notebook that draws from unseeded generators gives something else each time.
    --replay runs it with the entropy of the recorded run, so that the rest of it can
    be verified; identifiers and keys (uuid4, secrets, os.urandom) are drawn anew.
    """
    from mlrepro_nb.model import REPRODUCED
    from mlrepro_nb.verify import verify

    with progress(quiet=quiet) as report:
        found = verify(target, output=output, report=report, **options)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if stamp:
        _stamp(found, options["notebook"])
    ctx.exit(0 if found.verdict in REPRODUCED else 1)


def _stamp(found: Verification, notebook: Path | None) -> None:
    from mlrepro_nb import record
    from mlrepro_nb.store import project_root

    path = notebook or (project_root() or Path.cwd()) / found.notebook
    done = record.stamp(path)
    click.echo(done.reason or f"{done.notebook}: {done.stamp}", err=True)


def _show(found: Verification) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mlrepro_nb.model import REPRODUCED
    from mlrepro_nb.verify import sentence

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("cell", "verdict", "what differs", "cause"):
        table.add_column(title, overflow="fold")
    for cell in found.cells:
        style = _STYLES.get(cell.verdict, "yellow")
        detail = "" if cell.verdict == "bitwise" else cell.detail or ""
        table.add_row(
            str(cell.index), Text(cell.verdict, style), Text(detail),
            Text(cell.cause.kind if cell.cause else "", style),
        )  # fmt: skip
    console.print(table)
    for cause in found.causes:
        console.print()
        console.print(Text.assemble((cause.kind, "bold"), f"  {cause.subject}"))
        console.print(Text(f"  {cause.evidence}"))
        console.print(Text.assemble(("  fix: ", "bold"), cause.fix))
    console.print()
    style = "green" if found.verdict in REPRODUCED else "bold red"
    console.print(Text(sentence(found), style))
    console.print(Text(f"Executed copy: {found.executed}", "dim"))
