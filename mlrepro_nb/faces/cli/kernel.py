"""``mlrepro kernel``: a kernel with everything set in time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlrepro_nb.faces.cli._console import print_json

if TYPE_CHECKING:
    from mlrepro_nb.execute.kernels import Kernelspec

_NAME = "mlrepro"


@click.group("kernel")
def command() -> None:
    """Install a kernel that records, and that fixes what a cell cannot fix any more.

    \b
    mlrepro kernel install                  for this environment
    mlrepro kernel install --threads 4      sums depend on how many threads there are
    mlrepro kernel list
    mlrepro kernel uninstall

    Python reads PYTHONHASHSEED, and the numeric libraries their thread counts,
    CUBLAS_WORKSPACE_CONFIG and XLA_FLAGS, when they start: `%mlrepro seed N` comes
    too late for them. A notebook that runs in this kernel has them from the start,
    and needs no `%load_ext mlrepro_nb`.
    """


_name = click.option("--name", default=_NAME, show_default=True, help="What notebooks call it.")
_user = click.option("--user", is_flag=True, help="For you, whatever environment Jupyter is in.")
_prefix = click.option(
    "--prefix", type=click.Path(path_type=Path), help="For the environment in this folder."
)
_sys_prefix = click.option(
    "--sys-prefix", is_flag=True, help="For this environment: where none of these is given."
)


@command.command("install")
@_name
@click.option("--display-name", metavar="TEXT", help="What people see.")
@click.option(
    "--threads", type=click.IntRange(1), help="Of OpenMP and BLAS; by default the cores there are."
)
@click.option(
    "--hash-seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
    help="PYTHONHASHSEED.",
)  # fmt: skip
@_user
@_prefix
@_sys_prefix
@click.option("--replace", is_flag=True, help="Also one of ours that starts another Python.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def install(
    name: str, display_name: str | None, threads: int | None, hash_seed: int, user: bool,
    prefix: Path | None, sys_prefix: bool, replace: bool, as_json: bool,
) -> None:  # fmt: skip
    """Install the kernel for the Python that runs this command.

    A kernelspec that mlrepro did not make is left alone.
    """
    from mlrepro_nb.errors import UsageError
    from mlrepro_nb.execute import kernels

    if sum((user, prefix is not None, sys_prefix)) > 1:
        raise UsageError("--user, --prefix and --sys-prefix exclude each other.", "Give one.")
    made = kernels.install(
        name, display_name=display_name, threads=threads, hash_seed=hash_seed, user=user,
        prefix=prefix, replace=replace,
    )  # fmt: skip
    if as_json:
        print_json(made)
        return
    click.echo(f"Installed {made.display_name!r} as {made.name} in {made.path}")
    for key, value in made.variables.items():
        click.echo(f"  {key}={value}")
    for note in made.notes:
        click.echo(note, err=True)
    click.echo(f"Choose it in Jupyter, or: mlrepro record NOTEBOOK --kernel {made.name}", err=True)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(as_json: bool) -> None:
    """List the kernels that mlrepro installed, where Jupyter finds them from here."""
    from mlrepro_nb.execute import kernels

    found = kernels.installed()
    if as_json:
        print_json(found)
        return
    for one in found:
        _show(one)
    if not found:
        click.echo("None yet. `mlrepro kernel install` makes one.", err=True)


@command.command("uninstall")
@_name
@_user
@_prefix
@_sys_prefix
def uninstall(name: str, user: bool, prefix: Path | None, sys_prefix: bool) -> None:
    """Remove a kernel that mlrepro installed."""
    import sys

    from mlrepro_nb.execute import kernels

    if sys_prefix and prefix is None:
        prefix = Path(sys.prefix)
    click.echo(f"Removed {kernels.uninstall(name, user=user, prefix=prefix)}")


def _show(one: Kernelspec) -> None:
    settings = " ".join(f"{key}={value}" for key, value in one.variables.items())
    click.echo(f"{one.name}  {one.display_name}  {one.python}\n  {one.path}\n  {settings}")
