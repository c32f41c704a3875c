"""``mlrepro diff``: what changed between two records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlrepro_nb.faces.cli._console import print_json

if TYPE_CHECKING:
    from mlrepro_nb.changes import Change


@click.command("diff")
@click.argument("before")
@click.argument("after")
@click.option("--all", "everything", is_flag=True, help="Also what neither run imported.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(before: str, after: str, everything: bool, as_json: bool) -> None:
    """Say what changed from record BEFORE to record AFTER.

    Each is the digest of a record or the start of one, a notebook (its newest
    record) or a JSON file that holds a record. Exits with 0 when nothing
    changed, with 1 when something did.
    """
    import functools

    from mlrepro_nb.capture.data.trees import stored_listing
    from mlrepro_nb.changes import changes
    from mlrepro_nb.store import Store

    store = Store.find()
    (digest_a, a), (digest_b, b) = store.find_record(before), store.find_record(after)
    listing = functools.partial(stored_listing, store)
    found = [c for c in changes(a, b, listing) if c.used or everything]
    if as_json:
        print_json({"before": digest_a, "after": digest_b, "changes": found})
    else:
        _show(found)
    click.get_current_context().exit(1 if found else 0)


def _show(found: list[Change]) -> None:
    part = None
    for change in found:
        if change.part != part:
            part = change.part
            click.secho(part, bold=True)
        lines = [(change.before, "-", "red"), (change.after, "+", "green")]
        if any(text and "\n" in text for text, _, _ in lines):
            click.echo(f"  {change.subject}")
            _show_source(change)
            continue
        where = f"  (cell {change.cell})" if change.cell is not None and part == "data" else ""
        old = click.style(change.before or "nothing", fg="red")
        new = click.style(change.after or "nothing", fg="green")
        click.echo(f"  {change.subject}: {old} → {new}{where}")
    if not found:
        click.echo("Nothing changed.")


def _show_source(change: Change) -> None:
    import difflib

    colours = {"+": "green", "-": "red"}
    lines = difflib.unified_diff(
        (change.before or "").splitlines(), (change.after or "").splitlines(), lineterm="", n=1
    )
    for line in list(lines)[2:]:
        click.secho(f"    {line}", fg=colours.get(line[0]))
