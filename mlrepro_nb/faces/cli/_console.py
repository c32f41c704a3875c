"""What every command shows in the same way: progress, errors, JSON."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from mlrepro_nb.errors import MlreproError, ToolError
from mlrepro_nb.model import Report, Step, silent


def explain(error: MlreproError) -> None:
    """Print an error: what is wrong, what the tool said, what to do."""
    click.secho(f"mlrepro: {error.message}", fg="red", err=True)
    if isinstance(error, ToolError) and error.output:
        for line in error.output.rstrip().splitlines()[-12:]:
            click.echo(f"  | {line}", err=True)
    if error.remedy:
        click.echo(f"  {error.remedy}", err=True)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    data = msgspec.json.encode(value)
    click.echo(msgspec.json.format(data, indent=2).decode())


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[Report]:
    """Yield a `Report` that shows steps on standard error.

    On a terminal a spinner, or a bar where the total is known; elsewhere (a CI
    log) a line a new message.
    """
    if quiet:
        yield silent
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None)

        def report(step: Step) -> None:
            if step.log:
                bar.console.print(step.message, style="dim", markup=False, highlight=False)
                return
            bar.update(task, description=step.message, completed=step.done or 0, total=step.total)

        yield report


class _Lines:
    def __init__(self) -> None:
        self.last = ""

    def __call__(self, step: Step) -> None:
        if step.message != self.last:
            self.last = step.message
            click.echo(f"{'    ' if step.log else '… '}{step.message}", err=True)
