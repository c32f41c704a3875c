"""The verbs of ``%mlrepro``, and what help says of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec


class Verb(msgspec.Struct, frozen=True):
    """A verb of the magic."""

    usage: str
    summary: str
    text: str = ""
    """What else help says; of a command its own help is shown."""
    takes: tuple[str, ...] = ()
    """What its arguments name, to complete them: ``record`` ``notebook`` ``image`` ``data``."""
    command: bool = False
    """Whether it is ``mlrepro VERB``, with that command's options."""


VERBS: dict[str, Verb] = {
    "status": Verb(
        "status", "what the record holds so far",
        "Shows the parts of the record as they are now, what is not seeded, what could not be\n"
        "recorded, and a line for each execution. Nothing is kept by it.",
    ),
    "seed": Verb(
        "seed N", "seed every generator",
        "N is a whole number from 0 to 4294967295. Libraries that are loaded are seeded at once,\n"
        "others when they are imported. What comes too late for this process is said.",
    ),
    "expect": Verb(
        "expect NAME [>= LIMIT] [delta D]", "what a metric must be, and what difference matters",
        "    %mlrepro expect accuracy >= 0.93 delta 0.01\n\n"
        "NAME is an MLflow metric, a scrap of scrapbook's or a variable that holds one number;\n"
        "where several have it, the first of these counts. Operators are >= <= > < == !=. It is\n"
        "looked at now and when the run ends, and goes into the record with what the metric was.\n"
        "delta is the smallest difference that matters: `mlrepro verify --runs 10` runs the\n"
        "notebook with varied seeds and says whether the metric is the same within it.\n"
        "Without arguments it says what is expected so far.",
    ),
    "data": Verb(
        "data", "the files that were read and written",
        "Shows for each its digest, its size, the cell, and whether git or DVC has it.",
    ),
    "env": Verb(
        "env", "the packages that were imported",
        "Shows their versions and origins, and the libraries that numbers are made with.",
    ),
    "record": Verb(
        "record", "keep a record of what ran so far",
        "The record goes into the project's store; its digest is shown. Recording goes on.\n\n"
        "    %%mlrepro record --name NAME\n\n"
        "as a cell's first line gives that cell a name in the record; it runs as any other cell.",
        takes=(),
    ),
    "verify": Verb("verify [NOTEBOOK]", "run a notebook again, from the top: does it reproduce?",
                   takes=("notebook", "record"), command=True),
    "build": Verb("build [NOTEBOOK]", "a container image from the record",
                  takes=("notebook", "record"), command=True),
    "containerize": Verb(
        "containerize", "a form that builds and rolls out",
        "Opens a form in the notebook; it takes a notebook or a record, by default this one.",
        takes=("notebook", "record"),
    ),
    "rollout": Verb("rollout IMAGE", "the image to Kubernetes", takes=("image",), command=True),
    "trace": Verb("trace [X]", "where something came from, and what was made of it",
                  takes=("record", "notebook", "image", "data"), command=True),
    "lineage": Verb(
        "lineage [X]", "the same, drawn",
        "Draws the graph of anything that `trace` takes, by default of this notebook.",
        takes=("record", "notebook", "image", "data"),
    ),
    "log": Verb("log", "what the store has", command=True),
    "show": Verb("show [X]", "one record", takes=("record", "notebook"), command=True),
    "diff": Verb("diff A B", "what changed between two records",
                 takes=("record", "notebook"), command=True),
    "help": Verb("help [VERB]", "this, or what a verb does"),
}  # fmt: skip


def overview() -> str:
    """Return the table of all verbs."""
    width = max(len(verb.usage) for verb in VERBS.values())
    lines = [f"%mlrepro {verb.usage:<{width}}  {verb.summary}" for verb in VERBS.values()]
    lines += ["", "%mlrepro help VERB says more. %%mlrepro record --name NAME names a cell."]
    return "\n".join(lines)


def explain(name: str) -> str:
    """Return what help says of one verb."""
    verb = VERBS[name]
    if not verb.command:
        return f"%mlrepro {verb.usage}\n{verb.summary}\n\n{verb.text}".rstrip()
    import click

    found = command(name)
    context = click.Context(found, info_name=f"%mlrepro {name}", max_content_width=88)
    text = str(found.get_help(context))
    if "[" in verb.usage:
        text += "\n\nWithout one, it is this notebook."
    return text


def command(name: str) -> Any:
    """Return the command of a verb."""
    return import_module(f"mlrepro_nb.faces.cli.{name}").command


def unknown(name: str) -> str:
    """Return what to say of a verb that there is not."""
    import difflib  # big, and most never misspell a verb

    close = difflib.get_close_matches(name, VERBS, n=2)
    hint = f"Did you mean {' or '.join(f'%mlrepro {one}' for one in close)}?" if close else ""
    return f"mlrepro: there is no {name!r}. {hint or '%mlrepro help lists what there is.'}"
