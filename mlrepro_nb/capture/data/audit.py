"""The Python audit hook, and what its events say about files.

An audit hook cannot be removed, so one hook serves the process for good and
does nothing while no watch is attached.
"""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH100
from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Literal, Protocol

Access = Literal["read", "write", "both"]


class Opens(Protocol):
    """Who is told of what is opened: a kernel's `FileWatch`, a child's `Reporter`."""

    def note(self, given: Any, access: Access, layer: str) -> None:
        """Note that a path is about to be opened."""

    def note_url(self, url: str, layer: str, access: Literal["read", "write"] = "read") -> None:
        """Note that a URL is about to be opened."""

    def moved(self, source: str, target: str) -> None:
        """Note that a file takes another's place."""

    def removed(self, absolute: str) -> None:
        """Note that a file is about to be deleted."""

    def listed(self, folder: str) -> None:
        """Note that a folder's files are about to be listed."""

    def started(self, argv: list[str]) -> None:
        """Note that a program is about to be started."""

    def entered(self, folder: str) -> None:
        """Note that a folder is about to become the working folder."""

    def failed(self, error: BaseException) -> None:
        """Note that watching itself failed."""

    def execution(self) -> int | None:
        """Return the order of the execution that is running, or None."""


# Their own files are not the notebook's, though the notebook's cell is on the stack.
_MACHINERY = frozenset(
    {"mlflow", "mlrepro_nb", "ipykernel", "jupyter_client", "jupyter_core", "traitlets", "zmq",
     "tornado", "matplotlib_inline", "debugpy", "pip", "dvc", "git"}
)  # fmt: skip

# Whose files they open is known by who calls them, like the standard library's.
_THROUGH = frozenset({"sqlalchemy", "alembic"})

_own = threading.local()
_active: Opens | None = None
_installed = False
_after_fork: Callable[[], Opens | None] | None = None
PROGRAM = "\0a program"
"""Stands in `own_opens` for whatever git opened in the project for us."""
_READS_PROJECT = frozenset({"diff", "status", "add", "hash-object", "archive", "lock", "sync"})
own_opens: dict[str, bool] | None = None
"""What our own code opened, and whether to write, while someone (`roots`) wants to know it."""


def attach(watch: Opens) -> None:
    """Hand the process's events to a watch from now on."""
    global _active, _installed
    if not _installed:
        _installed = True
        os.register_at_fork(after_in_child=_in_child)
        sys.addaudithook(_audit)
    _active = watch


def detach(watch: Opens) -> None:
    """Hand a watch no more events."""
    global _active
    if _active is watch:
        _active = None


def after_fork(make: Callable[[], Opens | None] | None) -> None:
    """Have a forked child's events handed to what `make` returns in it."""
    global _after_fork
    _after_fork = make


def keep_own_opens(keep: bool) -> None:  # noqa: FBT001
    """Begin or end to keep what our own code opens in `own_opens`."""
    global own_opens
    own_opens = {} if keep else None


def target() -> Opens | None:
    """Return whom to tell of what this thread opens, or None: it is our own doing."""
    return None if getattr(_own, "busy", False) else _active


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Watch no thread for a while."""
    global _active
    before, _active = _active, None
    try:
        yield
    finally:
        _active = before


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Keep what this thread opens out of the record: it is our own doing."""
    before = getattr(_own, "busy", False)
    _own.busy = True
    try:
        yield
    finally:
        _own.busy = before


def _in_child() -> None:
    """In a forked child: it has none of our threads, and perhaps locked locks."""
    global _active, own_opens
    was_active, _active, own_opens = _active is not None, None, None
    if was_active and _after_fork is not None and not getattr(_own, "busy", False):
        with contextlib.suppress(Exception):
            _active = _after_fork()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for every audit event of the process: nothing may be slow before this line. Four of
    # five events of an import are this one, and a hash of the name takes longer than comparing.
    if event == "builtins.id":
        return
    if event in _HANDLERS and (_active is not None or own_opens is not None):
        _handle(_active, event, arguments)


def _handle(watch: Opens | None, event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        # Anybody may raise an event, with other arguments than Python's.
        if len(arguments) != 3:
            return
        if type(arguments[0]) is str and arguments[0].endswith(".pyc"):
            return  # an import of scikit-learn is a thousand files of bytecode
    if getattr(_own, "busy", False):
        if own_opens is not None:
            if event == "open" and type(arguments[0]) is str:
                writes = ((arguments[2] or 0) & os.O_ACCMODE) != os.O_RDONLY
                own_opens[arguments[0]] = writes or own_opens.get(arguments[0], False)
            elif event == "subprocess.Popen" and _reads_project(*arguments[1:3]):
                own_opens[PROGRAM] = False
        return
    if watch is None:  # while one of our verbs runs, other threads are not watched
        return
    _own.busy = True
    try:
        _HANDLERS[event](watch, *arguments)
    except Exception as error:  # noqa: BLE001 - it must not become the user's exception
        watch.failed(error)
    finally:
        _own.busy = False


def _reads_project(arguments: Any, folder: Any) -> bool:
    """Return whether a program that we start (git, uv) reads files of the working folder's."""
    if not isinstance(arguments, list | tuple) or _READS_PROJECT.isdisjoint(arguments):
        return False
    here, there = os.getcwd(), as_path(folder)  # noqa: PTH109
    return there is None or (here + "/").startswith(there) or there.startswith(here)


def by_machinery(*, anywhere: bool = False) -> bool:
    """Return whether what is opened is Jupyter's, MLflow's or our own, for their own ends.

    The innermost library on the stack tells: MLflow's autologging is on the
    stack of a training that reads data. With `anywhere` all of the stack does,
    down to the cell: a request goes through an HTTP library.
    """
    for top in _libraries():
        if top == "__main__":
            return False
        if top in _MACHINERY:
            return True
        if not anywhere:
            return False
    return False


def by_library() -> bool:
    """Return whether a library does this for its own ends, rather than a cell's own line."""
    top = next(_libraries(), "__main__")
    return top not in ("__main__", "IPython", "pexpect", "ptyprocess", "ipykernel")


def _libraries() -> Iterator[str]:
    """Yield the top-level modules on the stack that are not the standard library's, inside out."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        if module == "__main__":
            yield module
        elif (
            top not in sys.stdlib_module_names
            and top not in _THROUGH
            and not top.endswith("_py")  # a script that alembic runs
            and not module.startswith("mlrepro_nb.capture")
        ):
            yield top
        frame = frame.f_back


def as_path(given: Any) -> str | None:
    """Return what was given as a path, or None for a descriptor or a buffer."""
    if isinstance(given, str):
        return given
    if isinstance(given, bytes):
        return os.fsdecode(given)
    if isinstance(given, os.PathLike):
        found = os.fspath(given)
        return os.fsdecode(found) if isinstance(found, bytes) else found
    return None


# --- audit events


_PYTHONS = ("/usr/", "/proc/", "/dev/", "/sys/")


def _on_open(watch: Opens, path: Any, _mode: str | None, flags: int) -> None:
    if isinstance(path, int) or not path:
        return
    if type(path) is str and path.startswith(_PYTHONS):
        return
    kind = (flags or 0) & os.O_ACCMODE
    if kind == os.O_RDONLY:
        if (flags or 0) & getattr(os, "O_DIRECTORY", 0):
            return
        watch.note(path, "read", "audit")
    elif kind == os.O_WRONLY or flags & os.O_TRUNC:
        watch.note(path, "write", "audit")
    else:
        watch.note(path, "both", "audit")


_SQLITE_URI = re.compile(r"^file:(?://[^/]*)?([^?#]*)(?:\?(.*))?")


def sqlite_opened(watch: Opens, database: Any, layer: str = "audit") -> None:
    """Note a database that sqlite3 opens, by path or by URI."""
    path = as_path(database)
    if not path or path == ":memory:":
        return
    access: Access = "both"
    if match := _SQLITE_URI.match(path):
        query = match.group(2) or ""
        if "mode=memory" in query or match.group(1) == ":memory:":
            return
        path = match.group(1)
        if "mode=ro" in query or "immutable=1" in query:
            access = "read"
    watch.note(path, access, layer)


def _on_rename(
    watch: Opens, source: Any, target: Any, source_folder: int = -1, folder: int = -1
) -> None:
    old, new = as_path(source), as_path(target)
    if old and new and source_folder == folder == -1:
        watch.moved(os.path.abspath(old), os.path.abspath(new))


def _on_remove(watch: Opens, path: Any, folder: int = -1) -> None:
    name = as_path(path)
    if name and folder == -1:
        watch.removed(os.path.abspath(name))


def _on_truncate(watch: Opens, path: Any, _length: int) -> None:
    if not isinstance(path, int):
        watch.note(path, "write", "audit")


def _on_url(watch: Opens, url: Any, *_: Any) -> None:
    text = getattr(url, "full_url", url)
    if isinstance(text, str):
        if text.startswith("file:"):
            return
        watch.note_url(text, "audit")


def _on_process(watch: Opens, executable: Any, arguments: Any = None, *_: Any) -> None:
    given = arguments if isinstance(arguments, list | tuple) else [arguments or executable]
    argv = [text for text in map(as_path, given) if text is not None]
    program = as_path(executable)
    if program and argv and isinstance(arguments, list | tuple):
        argv[0] = program
    if argv:
        watch.started(argv)


def _on_system(watch: Opens, command: Any) -> None:
    text = as_path(command)
    if text:
        watch.started(["sh", "-c", text])


def _on_chdir(watch: Opens, folder: Any) -> None:
    if name := as_path(folder):
        watch.entered(os.path.abspath(name))


_LOOKING = frozenset({"os", "glob", "pathlib", "pathlib._abc", "pathlib._local"})
_IMPORTING = ("importlib", "_frozen_importlib", "pkgutil", "pkg_resources", "zipimport")


def _on_list(watch: Opens, folder: Any) -> None:
    name = "." if folder is None else as_path(folder)
    frame: FrameType | None = sys._getframe(3)  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__") in _LOOKING:
        frame = frame.f_back
    by = str(frame.f_globals.get("__name__")) if frame is not None else ""
    if name and not by.startswith(_IMPORTING):  # the project is on the path
        watch.listed(os.path.abspath(name))


_HANDLERS: dict[str, Callable[..., None]] = {
    "open": _on_open,
    "sqlite3.connect": sqlite_opened,
    "os.rename": _on_rename,
    "os.remove": _on_remove,
    "os.truncate": _on_truncate,
    "os.chdir": _on_chdir,
    "os.listdir": _on_list,
    "os.scandir": _on_list,
    "urllib.Request": _on_url,
    "subprocess.Popen": _on_process,
    "os.posix_spawn": _on_process,
    "os.exec": _on_process,
    "os.system": _on_system,
}
