"""The tour in a terminal (``make demo``): one notebook through all five verbs.

Every step is the command that a user would type. What the machine lacks is said
and left out: without a Docker Engine nothing is built, but all that would be
built is rendered; without a cluster, or without ROLLOUT=1, nothing is applied.

Environment: DEMO_OUT (folder for what is written), DEMO_BASE (base image),
DEMO_REPOSITORY (REGISTRY/NAME to push to), ROLLOUT=1 (apply to the cluster of
the current context).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.faces.cli.show import summary
from mlrepro_nb.model import Verification, short
from mlrepro_nb.rollout import preview
from mlrepro_nb.store import Store

HERE = Path(__file__).parent
NOTEBOOK = str((HERE / "00-tour.ipynb").relative_to(Path.cwd()))
OUT = Path(os.environ.get("DEMO_OUT", "demo-out"))
BASE = ["--base", os.environ["DEMO_BASE"]] if os.environ.get("DEMO_BASE") else []
REPOSITORY = os.environ.get("DEMO_REPOSITORY")

OUTSIDE_FAILED = 3

console = Console(highlight=False)


def mlrepro(*arguments: str, or_else: str = "") -> bool:
    """Run a command as a user types it; a failure ends the tour, unless there is another way."""
    console.print(f"\n[bold]$ mlrepro {' '.join(arguments)}[/]", soft_wrap=True)
    status = subprocess.run(
        [sys.executable, "-m", "mlrepro_nb", *arguments], check=False
    ).returncode
    if status == OUTSIDE_FAILED and or_else:
        console.print(f"\n[yellow]{or_else}")
    elif status:
        console.print(f"[red]The tour ends here: that command exited with {status}.")
        raise SystemExit(status)
    return not status


def engine_answers() -> bool:
    """Say whether a Docker Engine answers."""
    docker = shutil.which("docker")
    return (
        docker is not None
        and not subprocess.run([docker, "info"], capture_output=True, check=False).returncode
    )


def build_and_run() -> bool:
    """Build the job and run it without a network, then the service; False where none can be."""
    job = ("build", NOTEBOOK, "--kind", "job", "--allow-dirty", *BASE, "--test")
    if not mlrepro(*job, or_else="No image could be built here, so it is only rendered."):
        return False
    where = ["--repository", REPOSITORY, "--push"] if REPOSITORY else []
    mlrepro("build", NOTEBOOK, "--kind", "service", "--allow-dirty", *BASE, *where)
    return True


def render() -> None:
    """Write the Containerfile and what belongs to it: no engine is needed for that."""
    shutil.rmtree(OUT / "image", ignore_errors=True)
    mlrepro(
        "build", NOTEBOOK, "--kind", "service", "--allow-dirty", *BASE,
        "--dry-run", "-o", str(OUT / "image"),
    )  # fmt: skip


def roll_out(store: Store, *, pushed: bool) -> None:
    """Render the manifests; apply them where there is a pushed image and the user says so."""
    target = OUT / "manifests.yaml"
    if pushed:
        apply = ["--create-namespace", "--apply"] if os.environ.get("ROLLOUT") == "1" else []
        mlrepro("rollout", NOTEBOOK, "-n", "mlrepro-demo", *apply, "-o", str(target))
        return
    digest, record = store.find_record(NOTEBOOK)
    target.write_text(preview(record, digest, None, namespace="mlrepro-demo"), encoding="utf-8")
    console.print(f"\n[dim]No image was pushed: its manifests, without a digest, are in {target}")


def summarise(store: Store) -> None:
    """Print what came of it on one screen."""
    digest, record = store.find_record(NOTEBOOK)
    verification = store.get(Verification, store.find_by_key(f"record:{digest}", Verification)[0])
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    cells = [cell.verdict for cell in verification.cells]
    table.add_row(
        "verdict",
        Text(verification.verdict, style="green bold")
        + Text(f"  {len(cells)} cells compared, {len(verification.causes)} causes of difference"),
    )
    table.add_row("record", f"{short(digest)}  (mlrepro show {short(digest)})")
    for part, text in summary(record).items():
        table.add_row(f"  {part}", Text(text))
    written = sorted(p for p in OUT.rglob("*") if p.is_file())
    table.add_row("wrote", Text("\n".join(map(str, written))))
    table.add_row("picture", Text(f"{OUT / 'lineage.html'}  (open it in a browser)"))
    console.print()
    console.print(Panel(table, title="mlrepro-nb: the tour", border_style="cyan"))
    console.print("Next: [bold]make lab[/], and run notebooks/00-tour.ipynb there.")


def main() -> None:
    """Take the notebook through the five verbs."""
    OUT.mkdir(exist_ok=True)
    mlrepro("record", NOTEBOOK)
    mlrepro("verify", NOTEBOOK)
    store = Store.find(HERE)
    render()
    engine = engine_answers()
    built = engine and build_and_run()
    if not engine:
        console.print("\n[dim]No Docker Engine answers: the image was rendered, not built.")
    roll_out(store, pushed=built and REPOSITORY is not None)
    mlrepro("trace", NOTEBOOK, "--html", str(OUT / "lineage.html"))
    summarise(store)


if __name__ == "__main__":
    try:
        main()
    except MlreproError as error:
        sys.exit(str(error))
