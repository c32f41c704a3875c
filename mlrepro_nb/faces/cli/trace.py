"""``mlrepro trace``."""

from __future__ import annotations

from pathlib import Path

import click

from mlrepro_nb.faces.cli._console import print_json, progress


@click.command("trace")
@click.argument("target", metavar="X")
@click.option("--json", "as_json", is_flag=True, help="Print the graph as one JSON document.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the picture as a page that stands alone.",
)
@click.option("-n", "--namespace", help="Of a Deployment or pod in the cluster.")
@click.option("--context", help="Kubernetes context to ask.")
def command(
    target: str, as_json: bool, html: Path | None, namespace: str | None, context: str | None
) -> None:
    """Walk from anything back to commit, data, run and cell, and on to what came of it.

    \b
    mlrepro trace train.ipynb                      a notebook: its newest record
    mlrepro trace data/penguins.csv                is it still what was used, and by whom?
    mlrepro trace 3f2c91ab                         record, image, file, commit or run
    mlrepro trace models:/churn/3                  a model of MLflow
    mlrepro trace registry/team/churn:1.2.0        an image, on any machine
    mlrepro trace deployment/churn -n prod         what runs in the cluster

    Exit code 1: the file is not what the record used any more, or the chain
    reaches no record.
    """
    from mlrepro_nb import lineage

    with progress(quiet=as_json) as report:
        found = lineage.trace(target, namespace=namespace, context=context, report=report)
    if html:
        _write(html, lineage.to_html(found))
    if as_json:
        print_json(found)
    else:
        click.echo(lineage.to_text(found))
        if html:
            click.echo(f"wrote {html}", err=True)
    if not found.holds:
        click.get_current_context().exit(1)


def _write(path: Path, text: str) -> None:
    from mlrepro_nb.errors import UsageError
    from mlrepro_nb.store import write_atomically

    try:
        write_atomically(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Name another file."
        ) from error
