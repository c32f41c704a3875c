"""The Python audit hook, and what its events say about files.

An audit hook cannot be removed, so one hook serves the process for good and
does nothing while no watch is attached.
"""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH100, PTH119
from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlrepro_nb.capture.data.files import FileWatch

Access = Literal["read", "write", "both"]

# Their own files are not the notebook's, though the notebook's cell is on the stack.
_MACHINERY = frozenset(
    {"mlflow", "mlrepro_nb", "ipykernel", "jupyter_client", "jupyter_core", "traitlets", "zmq",
     "tornado", "matplotlib_inline", "debugpy", "sqlalchemy", "alembic", "pip", "dvc", "git"}
)  # fmt: skip

# Programs that libraries start to learn about the machine: they read no data of the notebook's.
_HARMLESS = frozenset(
    {"git", "uname", "lscpu", "ldconfig", "gcc", "cc", "ld", "objdump", "file", "nvidia-smi",
     "dpkg", "dpkg-query", "sysctl", "hostname", "lsb_release", "which", "fc-list", "free",
     "getconf", "nproc", "docker", "kubectl", "uv"}
)  # fmt: skip

_own = threading.local()
_active: FileWatch | None = None
_installed = False


def attach(watch: FileWatch) -> None:
    """Hand the process's events to a watch from now on."""
    global _active, _installed
    if not _installed:
        _installed = True
        os.register_at_fork(after_in_child=_forget)
        sys.addaudithook(_audit)
    _active = watch


def detach(watch: FileWatch) -> None:
    """Hand a watch no more events."""
    global _active
    if _active is watch:
        _active = None


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


def _forget() -> None:
    """In a forked child: it has none of our threads, and perhaps locked locks."""
    global _active
    _active = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for every audit event of the process: nothing may be slow before this line.
    handler = _HANDLERS.get(event)
    if handler is None or _active is None:
        return
    watch = _active
    if getattr(_own, "busy", False):
        return
    _own.busy = True
    try:
        handler(watch, *arguments)
    except Exception as error:  # noqa: BLE001 - it must not become the user's exception
        watch.failed(error)
    finally:
        _own.busy = False


def by_machinery(*, anywhere: bool = False) -> bool:
    """Return whether what is opened is Jupyter's, MLflow's or our own, for their own ends.

    The innermost library on the stack tells: MLflow's autologging is on the
    stack of a training that reads data. With `anywhere` all of the stack does,
    down to the cell: a request goes through an HTTP library.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        if module == "__main__":
            return False
        if top not in sys.stdlib_module_names and not module.startswith("mlrepro_nb.capture"):
            if top in _MACHINERY:
                return True
            if not anywhere:
                return False
        frame = frame.f_back
    return False


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


def _on_open(watch: FileWatch, path: Any, _mode: str | None, flags: int) -> None:
    if isinstance(path, int) or not path:
        return
    if type(path) is str and path.startswith(("/usr/", "/proc/", "/dev/", "/sys/")):
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


def _on_sqlite(watch: FileWatch, database: Any) -> None:
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
    watch.note(path, access, "audit")


def _on_rename(
    watch: FileWatch, source: Any, target: Any, source_folder: int = -1, folder: int = -1
) -> None:
    old, new = as_path(source), as_path(target)
    if old and new and source_folder == folder == -1:
        watch.moved(os.path.abspath(old), os.path.abspath(new))


def _on_remove(watch: FileWatch, path: Any, folder: int = -1) -> None:
    name = as_path(path)
    if name and folder == -1:
        watch.removed(os.path.abspath(name))


def _on_truncate(watch: FileWatch, path: Any, _length: int) -> None:
    if not isinstance(path, int):
        watch.note(path, "write", "audit")


def _on_url(watch: FileWatch, url: Any, *_: Any) -> None:
    text = getattr(url, "full_url", url)
    if isinstance(text, str):
        if text.startswith("file:"):
            return
        watch.note_url(text, "audit")


def _on_process(watch: FileWatch, executable: Any, *arguments: Any) -> None:
    program = as_path(executable) if not isinstance(executable, list | tuple) else None
    if not program and arguments and arguments[0]:
        program = str(arguments[0][0])
    name = os.path.basename(str(program or "?").split()[0])
    if name in _HARMLESS or by_machinery() or watch.execution() is None:
        return
    if name in ("sh", "bash", "python", os.path.basename(sys.executable)) and arguments:
        command = arguments[0]
        if isinstance(command, list | tuple) and any(
            "resource_tracker" in str(part) or "semaphore_tracker" in str(part) for part in command
        ):
            return
    watch.gap(f"`{name}` was started: what a child process reads and writes is not seen.")


def _on_system(watch: FileWatch, command: Any) -> None:
    _on_process(watch, str(command).split()[0] if command else "?")


def _on_fork(watch: FileWatch) -> None:
    if not by_machinery() and watch.execution() is not None:
        watch.gap("A child process was forked: what it reads and writes is not seen.")


_HANDLERS: dict[str, Callable[..., None]] = {
    "open": _on_open,
    "sqlite3.connect": _on_sqlite,
    "os.rename": _on_rename,
    "os.remove": _on_remove,
    "os.truncate": _on_truncate,
    "urllib.Request": _on_url,
    "subprocess.Popen": _on_process,
    "os.posix_spawn": _on_process,
    "os.system": _on_system,
    "os.fork": _on_fork,
}
