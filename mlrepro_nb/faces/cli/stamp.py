"""``mlrepro stamp``."""

from __future__ import annotations

from pathlib import Path

import click

from mlrepro_nb.faces.cli._console import print_json


@click.command("stamp")
@click.argument("notebooks", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only say what would change; exit with 1 if anything.")
@click.option("--force", is_flag=True, help="Write it although a live kernel has it open.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(
    ctx: click.Context, notebooks: tuple[Path, ...], check: bool, force: bool, as_json: bool
) -> None:
    """Write into NOTEBOOKS' files which records they are from, and the last verdicts.

    One line of each file's metadata changes, and nothing else; `mlrepro trace` and
    `mlrepro verify` find the record by it. Made for a pre-commit hook. A notebook
    that was never recorded is left as it is.
    """
    from mlrepro_nb.record import stamp

    found = [stamp(notebook, check=check, force=force) for notebook in notebooks]
    if as_json:
        print_json({"notebooks": found})
    else:
        for one in found:
            if one.reason:
                click.echo(one.reason, err=True)
            elif one.changed or not check:
                click.echo(f"{one.notebook}: {one.stamp}")
    ctx.exit(1 if check and any(one.changed or one.reason for one in found) else 0)
