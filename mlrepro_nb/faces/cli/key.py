"""``mlrepro key``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from mlrepro_nb.connect import signature
from mlrepro_nb.errors import UsageError
from mlrepro_nb.faces.cli._console import print_json


@click.group("key")
def command() -> None:
    """Keys that sign what goes beside an image."""


@command.command("new")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def make(path: Path, as_json: bool) -> None:
    """Make a key pair: PATH.key, to sign with, and PATH.pub, to verify with.

    The private key is encrypted with the password of MLREPRO_KEY_PASSWORD, or one
    that is asked for. No file is overwritten.
    """
    path = path.expanduser()
    password = os.environ.get(signature.PASSWORD) or ask(f"{path}.key", new=True)
    secret, shown = signature.new_pair(path, password)
    hint = signature.public(shown).hint
    if as_json:
        print_json({"private": str(secret), "public": str(shown), "hint": hint})
        return
    click.echo(f"private  {secret}  (keep it out of git; mlrepro build --sign {secret})")
    click.echo(f"public   {shown}  (mlrepro trace IMAGE --verify --key {shown})")
    click.echo(f"hint     {hint}")


def ask(key: str, *, new: bool = False) -> str:
    """Ask for the password of a private key, where somebody can answer."""
    if not sys.stdin.isatty():
        raise UsageError(f"The key {key} wants its password.", f"Set {signature.PASSWORD}.")
    question = f"Password of {key}"
    return str(click.prompt(question, hide_input=True, confirmation_prompt=new, err=True))
