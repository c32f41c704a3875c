"""``mlrepro``: one module a verb, loaded when it is called, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from mlrepro_nb import __version__

_READ_RECORDS = frozenset({"verify", "build", "trace", "log", "show", "diff", "stamp"})
_COMMANDS = {
    "record": "Run a notebook headless and record what made its results.",
    "verify": "Run a notebook again and say whether, and if not why, it reproduces.",
    "build": "Turn a recorded notebook into a container image.",
    "rollout": "Render an image's Kubernetes manifests, and apply them if told.",
    "trace": "Walk from anything back to commit, data, run and cell.",
    "log": "List what the store has.",
    "show": "Print one record.",
    "diff": "Say what changed between two records.",
    "stamp": "Write into a notebook's file which record it is from.",
    "key": "Make a key pair that signs what goes beside an image.",
    "kernel": "Install a kernel that records and has all settings in time.",
}


class _Verbs(click.Group):
    """Commands found by name in this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        found = super().resolve_command(ctx, args)
        if found[0] in _READ_RECORDS and not {"-h", "--help"} & set(args):
            _recover(args[1:])
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The one-line helps stand above so that listing them imports no verb.
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        from mlrepro_nb.errors import MlreproError

        try:
            return super().invoke(ctx)
        except MlreproError as error:
            from mlrepro_nb.faces.cli._console import explain

            explain(error)
            ctx.exit(error.exit_code)


def _recover(arguments: list[str]) -> None:
    """Make records of what killed kernels had reported, so that a verb finds what ran."""
    from pathlib import Path

    from mlrepro_nb.errors import MlreproError
    from mlrepro_nb.store import Store

    files = (Path(argument) for argument in arguments if argument.endswith(".ipynb"))
    for start in {Path.cwd(), *(file.resolve().parent for file in files if file.is_file())}:
        try:
            store = Store.find(start)
            if not any(store.journals.folder.glob("*.jsonl")):
                continue
            from mlrepro_nb.record import recover

            for digest in recover(store):
                said = f"Recovered {digest[7:19]} from a kernel that ended before its last report."
                click.echo(said, err=True)
        except (MlreproError, OSError):
            continue  # the verb itself says what is wrong with the store


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlrepro")
def main() -> None:
    """Make a notebook's result provable: record, verify, build, rollout, trace.

    \b
    mlrepro record train.ipynb          run it headless, keep what made the result
    mlrepro verify train.ipynb          run it again: does it reproduce, and if not, why
    mlrepro build train.ipynb           a container image from the record
    mlrepro rollout IMAGE --apply       to Kubernetes
    mlrepro trace IMAGE|POD|FILE|...    back to commit, data, run and cell

    Results go to standard output (--json: one document), progress to standard
    error. Exit codes: 0 it holds, 1 it does not, 2 usage, 3 something outside failed.
    """


if __name__ == "__main__":
    sys.exit(main())
