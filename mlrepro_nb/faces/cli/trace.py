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
@click.option(
    "--verify",
    "verify_",
    is_flag=True,
    help="Check the chain of an image, pod or Deployment: signature, subject, every digest.",
)
@click.option("--key", metavar="FILE", help="--verify: the public key that must have signed.")
@click.option("--identity", metavar="NAME", help="--verify: who must have signed keyless.")
@click.option("--issuer", metavar="URL", help="--verify: who vouches for that identity.")
def command(
    target: str, as_json: bool, html: Path | None, namespace: str | None, context: str | None,
    verify_: bool, key: str | None, identity: str | None, issuer: str | None,
) -> None:  # fmt: skip
    """Walk from anything back to commit, data, run and cell, and on to what came of it.

    \b
    mlrepro trace train.ipynb                      a notebook: its newest record
    mlrepro trace data/penguins.csv                is it still what was used, and by whom?
    mlrepro trace 3f2c91ab                         record, image, file, commit or run
    mlrepro trace models:/churn/3                  a model of MLflow
    mlrepro trace registry/team/churn:1.2.0        an image, on any machine
    mlrepro trace deployment/churn -n prod         what runs in the cluster

    mlrepro trace IMAGE --verify --key team.pub    is every link of its chain unbroken?

    Exit code 1: the file is not what the record used any more, the chain
    reaches no record, or a link of it is broken.
    """
    from mlrepro_nb import lineage

    if verify_:
        if html:
            raise click.UsageError("--verify draws no picture: leave out --html.")
        _verify(target, key, identity, issuer, namespace, context, as_json=as_json)
        return
    if key or identity or issuer:
        raise click.UsageError("--key, --identity and --issuer belong to --verify.")
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


_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "yellow")}


def _verify(
    target: str, key: str | None, identity: str | None, issuer: str | None,
    namespace: str | None, context: str | None, *, as_json: bool,
) -> None:  # fmt: skip
    from mlrepro_nb.lineage.custody import verify

    with progress(quiet=as_json) as report:
        found = verify(
            target, key=key, identity=identity, issuer=issuer, namespace=namespace,
            context=context, report=report,
        )  # fmt: skip
    if as_json:
        print_json(found)
    else:
        for check in found.checks:
            mark, colour = _MARKS[check.holds]
            said = "".join(c if c.isprintable() else "�" for c in check.said)
            click.echo(f"{click.style(mark, fg=colour)} {check.name:<18} {said}")
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
