"""``%mlrepro`` and ``%%mlrepro``, and what ``%load_ext mlrepro_nb`` starts."""

from __future__ import annotations

import atexit
import contextlib
import difflib
import os
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from mlrepro_nb.capture import Recorder
    from mlrepro_nb.record import LiveSession

_LINES = {
    "status": "what the record holds so far",
    "seed N": "seed random, NumPy and torch",
    "data": "the files that were read and written",
    "env": "the packages that were imported",
    "record [--name NAME]": "keep a record of what ran so far; in %%mlrepro, name the cell",
    "verify [NOTEBOOK]": "run a notebook again, from the top: does it reproduce?",
    "build | containerize": "a container image from the record; containerize opens a form",
    "rollout IMAGE": "the image to Kubernetes",
    "trace X | lineage": "where something came from; lineage draws it",
    "log | show | diff A B": "what the store has",
    "help": "this",
}
_DELEGATED = ("verify", "build", "rollout", "trace", "log", "show", "diff")

_state: _Loaded | None = None


class _Loaded:
    """What `load` did to a shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.live: LiveSession | None = None
        self.recorder: Recorder | None = None
        self.seed: int | None = None


def load(ipython: InteractiveShell) -> None:
    """Start recording and offer the magics; a second call does nothing."""
    global _state
    if _state is not None and _state.shell is ipython:
        return
    loaded = _Loaded(ipython)
    ipython.register_magic_function(_magic, magic_kind="line_cell", magic_name="mlrepro")
    transforms = getattr(ipython, "input_transformers_cleanup", None)
    if transforms is not None and _without_name not in transforms:
        transforms.append(_without_name)
    if journal := os.environ.get("MLREPRO_EVENTS"):
        _record_to_file(loaded, journal)
    else:
        _record_live(loaded)
    _state = loaded
    atexit.register(_at_exit)


def unload(ipython: InteractiveShell) -> None:
    """Stop recording, seal what ran, and take the magics away."""
    global _state
    loaded, _state = _state, None
    atexit.unregister(_at_exit)
    if loaded is not None:
        _seal(loaded)
    ipython.magics_manager.magics["line"].pop("mlrepro", None)
    ipython.magics_manager.magics["cell"].pop("mlrepro", None)
    with contextlib.suppress(ValueError, AttributeError):
        ipython.input_transformers_cleanup.remove(_without_name)


def _record_to_file(loaded: _Loaded, journal: str) -> None:
    import msgspec

    from mlrepro_nb.capture import Recorder

    # The variable is for this process: a kernel that the notebook starts is not this run.
    mode = os.environ.get("MLREPRO_MODE", "headless")
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def sink(kind: str, data: Any) -> None:
        os.write(handle, msgspec.json.encode([kind, data]) + b"\n")

    loaded.recorder = Recorder(loaded.shell, sink, mode=mode)  # type: ignore[arg-type]
    loaded.recorder.start()


def _record_live(loaded: _Loaded) -> None:
    from mlrepro_nb.errors import MlreproError
    from mlrepro_nb.record import LiveSession
    from mlrepro_nb.store import Store

    try:
        store = Store.find()
        loaded.live = LiveSession(loaded.shell, store)
        loaded.live.start()
        loaded.recorder = loaded.live.recorder
    except MlreproError as error:
        loaded.live = None
        _say(f"mlrepro is not recording: {error}")


def _at_exit() -> None:
    global _state
    loaded, _state = _state, None
    if loaded is not None:
        with contextlib.suppress(Exception):
            _seal(loaded)


def _seal(loaded: _Loaded) -> None:
    if loaded.live is not None:
        loaded.live.stop()
    elif loaded.recorder is not None:
        loaded.recorder.stop()


# --- the magics


def _magic(line: str, cell: str | None = None) -> Any:
    """Do what ``%mlrepro VERB`` asks; errors are shown in a line, without a traceback."""
    from mlrepro_nb.errors import MlreproError

    try:
        words = shlex.split(line)
    except ValueError as error:
        return _say(f"mlrepro: {line!r} cannot be read: {error}.")
    verb, arguments = (words[0], words[1:]) if words else ("help", [])
    if cell is not None:
        return _cell_magic(verb, cell)
    try:
        if verb in _DELEGATED:
            return _delegate(verb, arguments)
        action = _ACTIONS.get(verb)
        if action is None:
            return _say(_unknown(verb))
        return action(arguments)
    except MlreproError as error:
        return _say(f"mlrepro: {error}")


def _unknown(verb: str) -> str:
    known = (*_ACTIONS, *_DELEGATED)
    close = difflib.get_close_matches(verb, known, n=2)
    hint = f"Did you mean {' or '.join(f'%mlrepro {name}' for name in close)}?" if close else ""
    return f"mlrepro: there is no {verb!r}. {hint or '%mlrepro help lists what there is.'}"


def _cell_magic(verb: str, cell: str) -> Any:
    if verb != "record":
        return _say(
            f"mlrepro: %%mlrepro {verb} is none; %%mlrepro record --name NAME names a cell."
        )
    # Reached only below another cell magic (%%time); alone, `_without_name` made it a plain cell.
    assert _state is not None
    result = _state.shell.run_cell(cell, store_history=False)
    result.raise_error()
    return None


def _without_name(lines: list[str]) -> list[str]:
    """Take a ``%%mlrepro record`` line off a cell, which then runs as if it were not there.

    The cell keeps all that a plain cell can do (await, magics, a last
    expression that is shown), and its line numbers. The recorder reads the name
    off the raw source.
    """
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        words = line.split()
        if words[:2] == ["%%mlrepro", "record"]:
            return [*lines[:number], "\n", *lines[number + 1 :]]
        break
    return lines


def _help(_arguments: list[str]) -> None:
    width = max(map(len, _LINES))
    _say("\n".join(f"%mlrepro {name:<{width}}  {what}" for name, what in _LINES.items()))


def _status(_arguments: list[str]) -> None:
    live = _live()
    if live is None:
        return
    record = live.preview()
    _show("mlrepro is recording", status_face().status(record, _state.seed if _state else None))


def _data(_arguments: list[str]) -> None:
    if (live := _live()) is not None:
        _show("Files", status_face().data(live.preview()))


def _environment(_arguments: list[str]) -> None:
    if (live := _live()) is not None:
        _show("Environment", status_face().environment(live.preview()))


def _record(arguments: list[str]) -> None:
    live = _live()
    if live is None:
        return None
    if arguments:
        return _say("mlrepro: --name names a cell: write %%mlrepro record --name NAME above it.")
    with live.recorder.paused():
        digest, record = live.seal()
    face = status_face()
    _show(f"Recorded {digest}", face.status(record, _state.seed if _state else None))
    return None


def _seed(arguments: list[str]) -> None:
    from mlrepro_nb.errors import UsageError

    try:
        value = int(arguments[0])
        if not 0 <= value < 2**32 or len(arguments) > 1:
            raise ValueError
    except (IndexError, ValueError):
        raise UsageError(
            "A seed is a whole number from 0 to 4294967295.", "For example: %mlrepro seed 7"
        ) from None
    from mlrepro_nb.capture.randomness.seeding import seed_everything

    done, later = seed_everything(value)
    if _state is not None:
        _state.seed = value
    hash_seed = os.environ.get("PYTHONHASHSEED", "random")
    text = f"Seeded {', '.join(done)} with {value}; {' and '.join(later)} will be when imported."
    if not later:
        text = f"Seeded {', '.join(done)} with {value}."
    if hash_seed in ("random", ""):
        text += " PYTHONHASHSEED cannot be set in a running process: set it in the kernelspec."
    return _say(text)


def _widget(name: str) -> Any:
    def show(arguments: list[str]) -> Any:
        from mlrepro_nb.faces import widgets

        target = arguments[0] if arguments else None
        return getattr(widgets, name)(target)

    return show


def _delegate(verb: str, arguments: list[str]) -> None:
    """Run the command of the same name, on this notebook where it names no other."""
    from importlib import import_module

    import click

    command = import_module(f"mlrepro_nb.faces.cli.{verb}").command
    here = _state.recorder.notebook if _state and _state.recorder else None
    positional = any(not word.startswith("-") for word in arguments)
    if here is not None and not positional and verb in ("verify", "build", "show", "trace"):
        arguments = [str(here), *arguments]
    paused = _state.recorder.paused() if _state and _state.recorder else contextlib.nullcontext()
    with paused:
        try:
            command.main(args=arguments, prog_name=f"%mlrepro {verb}", standalone_mode=False)
        except click.ClickException as error:
            _say(f"mlrepro: {error.format_message()}")
        except (click.Abort, click.exceptions.Exit):
            return


_ACTIONS: dict[str, Callable[[list[str]], Any]] = {
    "status": _status,
    "seed": _seed,
    "data": _data,
    "env": _environment,
    "record": _record,
    "lineage": _widget("lineage"),
    "containerize": _widget("containerize"),
    "help": _help,
}


def status_face() -> Any:
    """Return the module that renders; imported only when something is shown."""
    from mlrepro_nb.faces import _status

    return _status


def _live() -> LiveSession | None:
    if _state is not None and _state.live is not None:
        return _state.live
    if _state is not None and _state.recorder is not None:
        count = _state.recorder.executions
        _show("mlrepro is recording", [
            ("headless", f"{count} executions so far; the record is made when the run ends"),
        ])  # fmt: skip
    else:
        _say("mlrepro is not recording. Run %load_ext mlrepro_nb in a git repository.")
    return None


def _show(title: str, rows: list[tuple[str, str]]) -> None:
    from IPython.display import display

    display(status_face().bundle(title, rows), raw=True)


def _say(text: str) -> None:
    print(text)  # noqa: T201
