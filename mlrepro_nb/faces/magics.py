"""``%mlrepro`` and ``%%mlrepro``, and what ``%load_ext mlrepro_nb`` starts."""

from __future__ import annotations

import atexit
import contextlib
import functools
import inspect
import os
import shlex
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlrepro_nb.faces._completion import install as install_completion
from mlrepro_nb.faces._completion import uninstall as uninstall_completion
from mlrepro_nb.faces._verbs import VERBS, command, explain, overview, unknown

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from mlrepro_nb.capture import Recorder
    from mlrepro_nb.model import Expectation
    from mlrepro_nb.record import LiveSession

_BUSY = 2.0
"""Seconds after which a main thread that does not answer is taken to be busy."""
_HANDLES = 256
"""More that a kernel may hold open when it ends; a report and a goodbye take a few dozen."""
_ANSWER = 1.0
"""Seconds that the answer to a request to shut down may take; it takes milliseconds."""

_state: _Loaded | None = None


class _Loaded:
    """What `load` did to a shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.live: LiveSession | None = None
        self.recorder: Recorder | None = None
        self.seed: int | None = None
        self.expected: dict[str, Expectation] = {}


def load(ipython: InteractiveShell) -> None:
    """Start recording and offer the magics; a second call does nothing."""
    global _state
    if _state is not None and _state.shell is ipython:
        return
    loaded = _Loaded(ipython)
    ipython.register_magic_function(_magic, magic_kind="line_cell", magic_name="mlrepro")
    install_completion(ipython, _unrecorded)
    transforms = getattr(ipython, "input_transformers_cleanup", None)
    if transforms is not None and _without_name not in transforms:
        transforms.append(_without_name)
    if journal := os.environ.get("MLREPRO_EVENTS"):
        _record_to_file(loaded, journal)
    else:
        _record_live(loaded)
    _state = loaded
    _seal_before_the_end(loaded)


def unload(ipython: InteractiveShell) -> None:
    """Stop recording, seal what ran, and take the magics away."""
    global _state
    loaded, _state = _state, None
    atexit.unregister(_at_exit)
    if loaded is not None:
        _seal(loaded)
    ipython.magics_manager.magics["line"].pop("mlrepro", None)
    ipython.magics_manager.magics["cell"].pop("mlrepro", None)
    uninstall_completion(ipython)
    with contextlib.suppress(ValueError, AttributeError):
        ipython.input_transformers_cleanup.remove(_without_name)


def _record_to_file(loaded: _Loaded, journal: str) -> None:
    from pathlib import Path

    from mlrepro_nb.capture import Recorder
    from mlrepro_nb.store import Journal, Store

    # The variable is for this process: a kernel that the notebook starts is not this run.
    mode = os.environ.get("MLREPRO_MODE", "headless")
    sink = _telling_secrets(Journal(Path(journal)).append, os.environ.pop("MLREPRO_KEY", ""))
    store = Store(Path(os.environ["MLREPRO_STORE"])) if "MLREPRO_STORE" in os.environ else None
    if mode == "verify" or store is None:  # a rerun's files are copies
        cache = keep = None
    else:
        rehash = "MLREPRO_REHASH" in os.environ
        cache = store.digests.rehashing() if rehash else store.digests
        keep = store.blobs.put
    loaded.recorder = Recorder(
        loaded.shell, sink, mode=mode, cache=cache, keep=keep,  # type: ignore[arg-type]
    )  # fmt: skip
    loaded.recorder.start()


def _telling_secrets(append: Callable[[str, Any], None], key: str) -> Callable[[str, Any], None]:
    """Return a sink that also tells who started this kernel which texts its outputs must not show.

    They are told under a key that only that process has.
    """
    from mlrepro_nb.capture import secrets

    told = 0

    def sink(kind: str, data: Any) -> None:
        nonlocal told
        append(kind, data)
        if key and kind in ("did", "seal") and (count := secrets.known()) != told:
            told = count
            append("secrets", secrets.sealed(key))

    return sink


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


def _seal_before_the_end(loaded: _Loaded) -> None:
    """Have the recording sealed when the kernel is told to shut down or a cell exits.

    That is earlier than the interpreter's own exit, where no thread can be
    started any more (Python 3.12); a terminal's IPython has only that.
    """
    atexit.register(_at_exit)
    if loaded.recorder is not None:
        loaded.recorder.ending = _at_exit
    kernel: Any = getattr(loaded.shell, "kernel", None)
    original = getattr(kernel, "do_shutdown", None)
    if original is None or getattr(original, "seals", False):
        return

    @functools.wraps(original)
    async def do_shutdown(restart: bool) -> Any:
        atexit.register(_until_answered, threading.current_thread())
        _spare_handles()
        _in_main_thread(kernel, loaded, _at_exit)
        _bury_the_dead(kernel)
        answer = original(restart)
        return await answer if inspect.isawaitable(answer) else answer

    do_shutdown.seals = True  # type: ignore[attr-defined]
    kernel.do_shutdown = do_shutdown


def _spare_handles() -> None:
    """Let a kernel that shuts down open files again, where a cell has used up all that it may.

    Without one, our report fails, and ipykernel waits for good for the sockets that it could not
    close (`IPKernelApp.close` of ipykernel 7.4).
    """
    with contextlib.suppress(ImportError, ValueError, OSError):  # only root may raise the other
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = hard if hard != soft else hard + _HANDLES
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _bury_the_dead(kernel: Any) -> None:
    """Have a kernel that shuts down not wait for a child that is dead.

    One that a cell started and did not wait for stays a zombie, which ipykernel takes for one
    that does not end, and tries to end for 29 s (`Kernel._process_children` of ipykernel 7.4).
    """
    children = getattr(kernel, "_process_children", None)
    if children is None:
        return

    def living() -> list[Any]:
        found = []
        for child in children():
            with contextlib.suppress(Exception):  # it has just ended
                if child.status() != "zombie":
                    found.append(child)
        return found

    kernel._process_children = living  # noqa: SLF001


def _in_main_thread(kernel: Any, loaded: _Loaded, act: Callable[[], None]) -> None:
    """Do something where the cells ran, unless one runs there still.

    A request to shut down comes in a thread of its own, in which generators and
    the namespace could change while they are looked at.
    """
    loop = getattr(kernel, "io_loop", None)
    busy = loaded.recorder is not None and loaded.recorder.busy
    if loop is None or busy or threading.current_thread() is threading.main_thread():
        return act()
    done = threading.Event()

    def run() -> None:
        act()
        done.set()

    loop.add_callback(run)
    if not done.wait(_BUSY):
        act()
    return None


def _until_answered(thread: threading.Thread) -> None:
    """Wait until the thread that was told to shut down has done so.

    ipykernel ends the thread that sends its output while that one may still wait for it, for 10 s
    or for good (`IPKernelApp.close` of ipykernel 7.4, one kernel in six).
    """
    if thread is not threading.current_thread():
        thread.join(_ANSWER)


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
    from mlrepro_nb.errors import MlreproError

    try:
        words = shlex.split(line)
    except ValueError as error:
        return _say(f"mlrepro: {line!r} cannot be read: {error}.")
    verb, arguments = (words[0], words[1:]) if words else ("help", [])
    if verb in ("-h", "--help", "?"):
        verb = "help"
    if cell is not None:
        return _cell_magic(verb, cell)
    if verb not in VERBS:
        return _say(unknown(verb))
    if verb != "help" and set(arguments) & {"-h", "--help", "?"}:
        verb, arguments = "help", [verb]
    try:
        if VERBS[verb].command:
            return _delegate(verb, arguments)
        if len(arguments) > _MOST_ARGUMENTS.get(verb, 0):
            return _say(f"mlrepro: it is %mlrepro {VERBS[verb].usage}; %mlrepro help {verb}.")
        return _ACTIONS[verb](arguments)
    except MlreproError as error:
        return _say(f"mlrepro: {_one_line(error)}")


_magic.__doc__ = f"""Record, verify, build, roll out and trace this notebook.

{overview()}
"""


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


def _help(arguments: list[str]) -> None:
    if not arguments:
        return _say(overview())
    verb = arguments[0].removeprefix("%mlrepro").strip()
    return _say(explain(verb) if verb in VERBS else unknown(verb))


def _status(_arguments: list[str]) -> None:
    live = _live()
    if live is None:
        return
    record = live.preview()
    face = status_face()
    rows = face.status(record, _state.seed if _state else None)
    _show("mlrepro is recording", rows, face.executions(record))


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
    if arguments and arguments[0].startswith("--name"):
        return _say("mlrepro: --name names a cell: write %%mlrepro record --name NAME above it.")
    if arguments:
        return _say(f"mlrepro: %mlrepro record takes no {arguments[0]}. %mlrepro help record")
    with live.recorder.paused():
        digest, record = live.seal(lock=True)
        for line in live.notes:
            _say(f"mlrepro: {line}")
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

    seeding = seed_everything(value)
    if _state is not None:
        _state.seed = value
    return _say("\n".join(seeding.sentences()))


def _expect(arguments: list[str]) -> None:
    from mlrepro_nb import metrics

    recorder = _state.recorder if _state is not None else None
    if not arguments:
        known = [metrics.wording(one) for one in _state.expected.values()] if _state else []
        return _say("\n".join(known) or "Nothing is expected so far. %mlrepro help expect")
    expected = metrics.expectation(" ".join(arguments))
    if _state is not None:
        _state.expected[expected.metric] = expected
    if recorder is None:
        return _say(f"Expecting {metrics.wording(expected)}, but mlrepro is not recording.")
    now = recorder.metrics.declare(expected)
    said = metrics.outcome(now) if now.value is not None or now.problem else (
        "there is none yet; it is looked at again when the run ends, MLflow's then, too"
    )  # fmt: skip
    return _say(f"Expecting {metrics.wording(expected)}: {said}.")


def _unrecorded() -> contextlib.AbstractContextManager[None]:
    recorder = _state.recorder if _state is not None else None
    return recorder.paused() if recorder is not None else contextlib.nullcontext()


def _widget(name: str) -> Any:
    def show(arguments: list[str]) -> Any:
        from mlrepro_nb.faces import widgets

        target = arguments[0] if arguments else None
        return getattr(widgets, name)(target)

    return show


def _delegate(verb: str, arguments: list[str]) -> None:
    """Run the command of the same name, on this notebook where it names no other."""
    import click

    here = _state.recorder.notebook if _state and _state.recorder else None
    positional = any(not word.startswith("-") for word in arguments)
    if here is not None and not positional and verb in ("verify", "build", "show", "trace"):
        arguments = [str(here), *arguments]
    with _unrecorded():
        try:
            command(verb).main(args=arguments, prog_name=f"%mlrepro {verb}", standalone_mode=False)
        except click.ClickException as error:
            _say(f"mlrepro: {_one_line(error.format_message())} %mlrepro help {verb}.")
        except (click.Abort, click.exceptions.Exit):
            return


# `seed`, `expect` and `record` say themselves what is wrong with theirs.
_MOST_ARGUMENTS = {
    "help": 1, "lineage": 1, "containerize": 1, "seed": 99, "expect": 99, "record": 99,
}  # fmt: skip
_ACTIONS: dict[str, Callable[[list[str]], Any]] = {
    "status": _status,
    "seed": _seed,
    "expect": _expect,
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


def _show(title: str, rows: list[tuple[str, str]], table: Any = None) -> None:
    from IPython.display import display

    display(status_face().bundle(title, rows, table), raw=True)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _say(text: str) -> None:
    print(text)  # noqa: T201
