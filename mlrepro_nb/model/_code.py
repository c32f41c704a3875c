"""What ran: cells as executed, what they bound and changed, local modules."""

from __future__ import annotations

from typing import Literal

import msgspec


class ExecutedCell(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of one cell, in the order in which the kernel ran them.

    `source` is the text as executed with secrets masked; `digest` is over the
    unmasked text, so that an edit after the run shows.
    """

    order: int
    index: int | None = None
    id: str | None = None
    execution_count: int | None = None
    name: str | None = None
    source: str
    digest: str
    status: Literal["ok", "error", "interrupted"] = "ok"
    started: str
    duration: float
    origin: Literal["notebook", "console", "other"] = "notebook"
    """Who asked for it: this notebook, a console on the same kernel, another notebook on it."""
    in_file: Literal["same", "edited", "gone"] | None = None
    """What the notebook's file had of the cell when the record was made; None where the file
    was not there, or not saved since."""
    defines: tuple[str, ...] = ()
    """Names that it bound."""
    deletes: tuple[str, ...] = ()
    """Names that it unbound."""
    mutates: tuple[str, ...] = ()
    """Names of objects that its source changes in place."""
    uses: dict[str, int | None] = {}
    """Names that it needed, and the `order` of the execution that had bound each. A result taken
    from the history (``_``, ``Out[3]``) counts as a name. None: see `Code.outside`."""
    effects: Effects | None = None
    lists: tuple[str, ...] = ()
    """Folders of the repository in which it looked for files, from its root."""


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution changed beyond the notebook's names."""

    commands: tuple[str, ...] = ()
    """Shell commands and magics in its source, as ``!pip install x`` and ``%cd data``, masked."""
    folder: str | None = None
    """Working folder after it, if it changed; from the repository's root where it is inside."""
    path: tuple[str, ...] = ()
    """What it put on ``sys.path`` (``+…``) and took off it (``-…``)."""
    variables: tuple[str, ...] = ()
    """Names of the environment variables that it set (``+…``) or removed (``-…``)."""
    distributions: tuple[str, ...] = ()
    """What it installed (``+name==version``) and uninstalled (``-name==version``)."""


class OutsideChange(msgspec.Struct, frozen=True, kw_only=True):
    """Names that were bound or unbound while no cell ran."""

    names: tuple[str, ...]
    deleted: tuple[str, ...] = ()
    after: int | None = None
    """`ExecutedCell.order` of the execution before it."""
    before: int | None = None
    """…and of the one after it."""
    by: tuple[Literal["widget", "debugger", "tool", "background"], ...] = ()
    """What was seen that may have done it: a widget's callback, the debugger, code that a tool
    ran unseen (a variable inspector); else something in the background, a thread or a task."""


class WidgetMove(msgspec.Struct, frozen=True, kw_only=True):
    """A widget that a person set by hand between two executions."""

    model: str
    """``IntSliderModel``"""
    description: str | None = None
    names: tuple[str, ...] = ()
    """Names of the notebook that stand for the widget."""
    trait: str
    """``value``; ``click`` of a button."""
    before: str | None = None
    """JSON, shortened; a password is masked, binary content a digest."""
    after: str | None = None
    times: int = 1
    made: int | None = None
    """`ExecutedCell.order` of the execution that showed it."""
    previous: int | None = None
    """…of the last execution before the move."""
    next: int | None = None
    """…and of the first after it."""


class ModuleVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a module held from an execution on."""

    digest: str
    execution: int | None = None
    """`ExecutedCell.order` of the first execution that ran with it."""


class LocalModule(msgspec.Struct, frozen=True, kw_only=True):
    """A module of the user's own, not of a distribution."""

    name: str
    path: str
    """In the project; absolute where it was imported from elsewhere."""
    digest: str
    """Of what ran last: a file that was edited but not loaded again changes nothing."""
    kept: str | None = None
    """Digest of the blob that holds its source, secrets masked, where it is not in the project:
    of what is, git and the diff tell."""
    versions: tuple[ModuleVersion, ...] = ()
    """What it held when, oldest first, if it was loaded again with other content."""


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """Where the code was and what ran."""

    remote: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    diff: str | None = None
    """Digest of the blob that holds ``git diff HEAD`` plus untracked sources, secrets masked."""
    notebook: str
    """Path of the notebook in the repository, ``/`` between the parts."""
    cells: tuple[ExecutedCell, ...] = ()
    modules: tuple[LocalModule, ...] = ()
    unexecuted: tuple[int, ...] = ()
    """Indices of the file's code cells that did not run."""
    outside: tuple[OutsideChange, ...] = ()
    widgets: tuple[WidgetMove, ...] = ()
