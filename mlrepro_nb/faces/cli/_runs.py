"""``mlrepro verify --runs N``: what it takes, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mlrepro_nb.errors import MlreproError, UsageError
from mlrepro_nb.faces.cli._console import progress
from mlrepro_nb.faces.cli._many import STYLES

if TYPE_CHECKING:
    from mlrepro_nb.model import Verification
    from mlrepro_nb.verify import Outcome

_ALONE = ("output", "reference", "replay", "restore", "sanitize")
"""Options that have no meaning for several runs."""


def verify_each(
    targets: Sequence[str], runs: int, deltas: Sequence[str], options: dict[str, Any], *,
    jobs: int | None, quiet: bool,
) -> list[Outcome]:  # fmt: skip
    """Run each notebook several times, one notebook after the other."""
    from mlrepro_nb import metrics
    from mlrepro_nb.verify import Outcome, Problem, discover, verify_runs

    if options["environment"] == "image":
        raise UsageError("--runs does not run in an image.", "Drop --env image.")
    for name in _ALONE:
        if options[name]:
            raise UsageError(f"--{name} is for one run.", f"Drop it, or drop --runs {runs}.")
    margins = dict(metrics.delta(text) for text in deltas)
    names = ("kernel", "timeout", "total_timeout", "notebook", "environment", "data", "commit")
    given = {name: options[name] for name in (*names, "limits")}
    notebooks = discover(targets or ["."])

    def one(target: str) -> Outcome:
        try:
            with progress(quiet=quiet) as report:
                return Outcome(
                    target=target,
                    verification=verify_runs(
                        target, runs=runs, deltas=margins, jobs=jobs, report=report, **given
                    ),
                )
        except MlreproError as error:
            if len(notebooks) == 1:
                raise
            problem = Problem(message=error.message, remedy=error.remedy, exit_code=error.exit_code)
            return Outcome(target=target, problem=problem)

    return [one(target) for target in notebooks]


def show_runs(found: Verification) -> None:
    """Print a table of the metrics, and what is to be said of the runs."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mlrepro_nb.model import REPRODUCED
    from mlrepro_nb.verify import sentence
    from mlrepro_nb.verify.report import HEADS, row

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in HEADS[:-1]:
        table.add_column(title, overflow="fold")
    for metric in found.metrics:
        name, verdict, *rest = row(metric)[:-1]
        style = STYLES.get(verdict, "yellow")
        table.add_row(Text(name), Text(verdict, style), *(Text(text) for text in rest))
    console.print(table)
    for metric in found.metrics:
        console.print(Text.assemble((f"{metric.metric}: ", "bold"), f"{metric.detail}."))
    for note in found.notes:
        console.print(Text.assemble(("note: ", "bold"), note))
    console.print()
    style = "green" if found.verdict in REPRODUCED else "bold yellow"
    console.print(Text(sentence(found), style))
    if found.verdict == "consistent" and found.runs and all(run.record for run in found.runs):
        click.echo("These runs are kept: a later --runs has them as its reference.")
