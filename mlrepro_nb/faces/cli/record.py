"""``mlrepro record``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlrepro_nb.faces.cli._console import print_json, progress


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter.")
@click.option(
    "-f", "file", type=click.Path(path_type=Path), metavar="FILE", help="Parameters, as YAML."
)
@click.option("-o", "output", type=click.Path(path_type=Path), help="Write the executed copy here.")
@click.option("--inplace", is_flag=True, help="Write the executed copy over the notebook.")
@click.option("--kernel", metavar="NAME", help="Run it in this kernelspec.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for a cell.")
@click.option("--no-lock", is_flag=True, help="Do not resolve the lock of the environment.")
@click.option("--rehash", is_flag=True, help="Read unchanged files again, too.")
@click.option(
    "--deep",
    is_flag=True,
    envvar="MLREPRO_DEEP",
    help="Have strace follow the kernel: no file that it or a child opens is missed (Linux).",
)
@click.option("--redact", is_flag=True, help="Mask secrets in the outputs of the executed copy.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@click.pass_context
def command(
    ctx: click.Context, notebook: Path, pairs: tuple[tuple[str, str], ...], file: Path | None,
    output: Path | None, inplace: bool, kernel: str | None, timeout: float | None, no_lock: bool,
    rehash: bool, deep: bool, redact: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run NOTEBOOK headless in a fresh kernel and record what made its results.

    The notebook itself is left as it is. The record of a notebook that raises, or
    whose metrics are not as it expects them (%mlrepro expect), is kept too; the
    command then exits with 1.
    """
    from mlrepro_nb.metrics import met, outcome, wording
    from mlrepro_nb.record import record

    parameters = {**(_from_file(file) if file else {}), **_from_pairs(pairs)}
    if inplace:
        click.echo(f"The executed copy will be written over {notebook}.", err=True)
    with progress() as report:
        digest, made = record(
            notebook, parameters=parameters, output=output, inplace=inplace, kernel=kernel,
            timeout=timeout, lock=not no_lock, rehash=rehash, deep=deep, redact=redact,
            report=report,
        )  # fmt: skip
    if as_json:
        print_json({"digest": digest, "status": made.results.status, "record": made})
    else:
        _summary(digest, made)
    missed = [one for one in made.results.expectations if not met(one)]
    for one in missed:
        click.secho(f"expected {wording(one)}: {outcome(one)}", fg="red", err=True)
    ctx.exit(0 if made.results.status == "ok" and not missed else 1)


def _from_pairs(pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    # As YAML, so that 3 is a number and [1, 2] a list; papermill reads them the same way.
    return {name: _scalar(value) for name, value in pairs}


def _scalar(text: str) -> Any:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, str | int | float | bool | list | dict | None) else text


def _from_file(path: Path) -> dict[str, Any]:
    import yaml

    from mlrepro_nb.errors import UsageError

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"The parameters file {path} cannot be read: {error.strerror}.", "Check its path."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not YAML: {str(error).splitlines()[0]}.", "Write `name: value` lines."
        ) from None
    if not isinstance(found, dict) and found is not None:
        raise UsageError(f"{path} holds no parameters.", "Write `name: value` lines.")
    return {str(name): value for name, value in (found or {}).items()}


def _summary(digest: str, made: Any) -> None:
    from mlrepro_nb.faces import _status

    click.echo(_status.bundle(made.code.notebook, _status.status(made, None))["text/plain"])
    if made.results.status != "ok":
        first = (made.results.error or "").partition("\n")[0]
        click.secho(f"\n{made.results.status}: {first}", fg="red")
    click.echo(f"\n{digest}")
