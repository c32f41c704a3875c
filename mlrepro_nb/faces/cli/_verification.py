"""What became of one notebook, as a terminal shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrepro_nb.faces.cli._many import STYLES

if TYPE_CHECKING:
    from mlrepro_nb.model import Verification


def show(found: Verification, *, named: bool = False) -> None:
    """Print the cells, the causes with their fixes, and the verdict.

    Where the executed copy is need not be told to who has `named` its place.
    """
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
        style = STYLES.get(cell.verdict, "yellow")
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
    if found.trials:
        console.print(f"\nRun {1 + len(found.trials)} times:")
    for trial in found.trials:
        held = ", ".join(trial.conditions) or "the same again"
        problem = f" (not run: {trial.problem})" if trial.problem else ""
        console.print(Text(f"  {held}: {trial.why}{problem}", "dim"))
    for note in found.notes:
        console.print(Text.assemble(("note: ", "bold"), note))
    console.print()
    style = "green" if found.verdict in REPRODUCED else "bold red"
    console.print(Text(sentence(found), style))
    if not named:
        console.print(Text(f"Executed copy: {found.executed}", "dim"))
