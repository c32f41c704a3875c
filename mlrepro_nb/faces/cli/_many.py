"""What the command line shows of many notebooks: a line each while they run, a table at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mlrepro_nb.verify import Outcome, Update

STYLES = {
    "bitwise": "green", "within-tolerance": "green", "statistically-equivalent": "green",
    "inconclusive": "dim", "different": "yellow", "failed": "red", "error": "bold red",
}  # fmt: skip


def word(outcome: Outcome) -> str:
    """Return the verdict, or that there is none."""
    return outcome.verification.verdict if outcome.verification is not None else "error"


@contextmanager
def board(names: Sequence[str], *, quiet: bool) -> Iterator[Callable[[Update], None] | None]:
    """Yield what is told of many notebooks, and shows it on standard error.

    On a terminal a table that changes; elsewhere a line when a notebook has its verdict.
    """
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        done = 0

        def line(update: Update) -> None:
            nonlocal done
            if update.outcome is not None:
                done += 1
                click.echo(
                    f"[{done}/{len(names)}] {word(update.outcome):<17} {names[update.index]}",
                    err=True,
                )

        yield line
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    rows: dict[int, Any] = {}
    with Live(console=console, refresh_per_second=8, transient=True, get_renderable=lambda: _table(
        names, rows, console.height - 2)):  # fmt: skip

        def tell(update: Update) -> None:
            rows[update.index] = update

        yield tell


def _table(names: Sequence[str], rows: dict[int, Update], height: int) -> Any:
    """Return the notebooks that run, above them those that are done, as many as there is room."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    running = [i for i, row in sorted(rows.items()) if row.outcome is None]
    done = [i for i, row in sorted(rows.items()) if row.outcome is not None]
    room = max(1, height - len(running) - 1)
    for index in [*done[-room:], *running]:
        row = rows[index]
        if row.outcome is not None:
            state = word(row.outcome)
            text = Text(state, STYLES.get(state, "yellow"))
        else:
            text = Text(row.step.message if row.step else "", "dim")
        table.add_row(Text(names[index]), text)
    left = len(names) - len(done) - len(running)
    table.add_row(Text(f"{len(done)} of {len(names)} done, {left} waiting", "bold"), Text(""))
    return table


def show(outcomes: Sequence[Outcome]) -> None:
    """Print a table of the verdicts, and each cause once."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mlrepro_nb.model import REPRODUCED
    from mlrepro_nb.verify.report import summary

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("notebook", "verdict", "cells", "causes"):
        table.add_column(title, overflow="fold")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.notebook):
        found, state = outcome.verification, word(outcome)
        style = STYLES.get(state, "yellow")
        if found is None:
            said = outcome.problem.message if outcome.problem else ""
            table.add_row(Text(outcome.notebook), Text(state, style), "", Text(said))
            continue
        off = sum(c.verdict not in {*REPRODUCED, "inconclusive"} for c in found.cells)
        causes = ", ".join(f"{c.kind} ({c.subject})" for c in found.causes)
        table.add_row(
            Text(outcome.notebook), Text(state, style),
            f"{off} of {len(found.cells)} off" if off else str(len(found.cells)), Text(causes),
        )  # fmt: skip
    console.print(table)
    totals = summary(outcomes).totals
    counted = ", ".join(f"{count} {name}" for name, count in totals.items() if name != "notebooks")
    console.print(Text(f"\n{totals['notebooks']} notebooks: {counted}", "bold"))
