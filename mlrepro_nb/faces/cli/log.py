"""``mlrepro log``: what the store has."""

from __future__ import annotations

import time

import click

from mlrepro_nb.faces.cli._console import print_json
from mlrepro_nb.model import DOCUMENTS, short


@click.command("log")
@click.argument("notebook", required=False)
@click.option("-n", "--limit", default=20, show_default=True, help="How many lines at the most.")
@click.option("--kind", type=click.Choice(sorted(DOCUMENTS)), help="Only documents of this kind.")
@click.option("--reindex", is_flag=True, help="Make the index anew from the blobs first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    notebook: str | None, limit: int, kind: str | None, reindex: bool, as_json: bool
) -> None:
    """List what the store has, newest first; all of it, or one NOTEBOOK's.

    What a killed kernel had reported was made into a record first. A session is a
    kernel that is still alive: `%mlrepro record` in it makes a record at once.
    """
    from pathlib import Path

    from mlrepro_nb.store import Store

    store = Store.find()
    if reindex:
        click.echo(f"{store.reindex()} documents indexed.", err=True)
    entries = store.entries(DOCUMENTS[kind] if kind else None, limit=10_000)
    sessions = store.sessions(sealed=False) if kind is None else []
    if notebook is not None:
        name = store.notebook_name(Path(notebook))
        entries = [e for e in entries if e.notebook == name]
        sessions = [s for s in sessions if s.notebook == name]
    entries = entries[:limit]
    if as_json:
        print_json({"store": str(store.root), "documents": entries, "sessions": sessions})
        return
    for session in sessions:
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.started))
        click.echo(f"{session.id[:12]}  {started}  session       {session.notebook}")
    for entry in entries:
        mode = f" ({entry.mode})" if entry.mode else ""
        click.echo(
            f"{click.style(short(entry.digest), fg='yellow')}  {entry.created}  "
            f"{entry.kind:<12}  {entry.notebook or ''}{mode}"
        )
    if not entries and not sessions:
        click.echo("Nothing yet. `mlrepro record NOTEBOOK` makes the first record.", err=True)
