"""Files that the process opens: seen by a Python audit hook and by `readers`.

An audit hook cannot be removed, so one hook serves the process for good and
does nothing while no `FileWatch` is active.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Literal

from mlrepro_nb.capture.hashing import DigestCache, FileDigest, hash_file, regular, signature
from mlrepro_nb.capture.paths import is_ignored, is_source

Access = Literal["read", "write", "both"]

_AT_ONCE = 512 << 20
"""Bytes of the largest file that a cell waits for, which it is about to overwrite."""

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


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Keep what this thread opens out of the record: it is our own doing."""
    before = getattr(_own, "busy", False)
    _own.busy = True
    try:
        yield
    finally:
        _own.busy = before


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


class FileWatch:
    """Notes which files are opened, and learns their digests in a thread.

    Parameters
    ----------
    emit : callable
        Receives ``("file", {...})`` and ``("gap", {...})`` events, from any thread.
    execution : callable
        Returns the order of the cell that is running, or None.
    cache : DigestCache, optional
        Digests of earlier sessions.
    wants_md5 : callable, optional
        Whether to take a file's MD5 too (DVC tracks it).
    """

    def __init__(
        self,
        emit: Callable[[str, Any], None],
        execution: Callable[[], int | None],
        *,
        cache: DigestCache | None = None,
        wants_md5: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._emit = emit
        self._execution = execution
        self._cache = cache
        self._wants_md5 = wants_md5
        self._seen: set[tuple[str, str, int | None]] = set()
        self._pending: list[dict[str, Any]] = []
        self._unhashed: dict[str, int | None] = {}
        """Files that were read and whose digest is not known yet: path to execution."""
        self._written: dict[str, tuple[int | None, tuple[int, ...] | None]] = {}
        self._both: dict[str, tuple[int, ...] | None] = {}
        """Files opened to read and write: path to signature when they were last looked at."""
        self._digests: dict[str, FileDigest] = {}
        self._lock = threading.RLock()
        self._jobs: queue.SimpleQueue[tuple[str, str, int | None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._queued = 0
        self._gaps: set[str] = set()
        self.sources: dict[str, int | None] = {}
        """Python sources outside the distributions that were opened."""

    # --- life

    def start(self) -> None:
        """Begin to watch. One watch is active in a process."""
        global _active, _installed
        self._thread = threading.Thread(target=self._work, name="mlrepro-files", daemon=True)
        self._thread.start()
        if not _installed:
            _installed = True
            os.register_at_fork(after_in_child=_forget)
            sys.addaudithook(_audit)
        _active = self

    def stop(self) -> None:
        """Watch no more."""
        global _active
        if _active is self:
            _active = None
        self._jobs.put(None)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Watch no thread for a while."""
        global _active
        before, _active = _active, None
        try:
            yield
        finally:
            _active = before

    def failed(self, error: BaseException) -> None:
        """Note that the hook itself failed."""
        self.gap(f"Watching files failed once: {type(error).__name__}: {error}")

    def gap(self, text: str) -> None:
        """Note what could not be seen."""
        if text not in self._gaps:
            self._gaps.add(text)
            with unwatched():
                self._emit("gap", {"text": text, "order": self._execution()})

    # --- what was opened

    def note(self, given: Any, access: Access, layer: str) -> None:
        """Note that a path, a folder's or file's, is about to be opened."""
        path = _as_path(given)
        if path is None:
            return
        absolute = os.path.abspath(path)
        order = self._execution()
        key = (absolute, access, order)
        if key in self._seen:
            return
        if is_ignored(absolute):
            if is_source(absolute) and access == "read":
                self.sources.setdefault(absolute, order)
            self._seen.add(key)
            return
        if _by_machinery():
            return
        with self._lock:
            self._seen.add(key)
            if access == "both":
                self._note_both(path, absolute, order, layer)
            elif access == "read":
                self._note_read(path, absolute, order, layer)
            else:
                self.about_to_change(absolute)
                self._note_write(path, absolute, order, layer)

    def note_url(self, url: str, layer: str, access: Literal["read", "write"] = "read") -> None:
        """Note that a URL is about to be opened."""
        from mlrepro_nb.capture.secrets import mask

        key = (url, "url", self._execution())
        if key in self._seen or _by_machinery(anywhere=True):
            return
        self._seen.add(key)
        self._pending.append(
            {"path": mask(url), "absolute": None, "access": access, "order": key[2],
             "layer": layer}
        )  # fmt: skip

    def about_to_change(self, absolute: str) -> None:
        """Take the digest of a file that was read, before it is overwritten."""
        if absolute not in self._unhashed:
            return
        status = regular(absolute)
        if status is not None and status.st_size <= _AT_ONCE:
            self._resolve(absolute, "read", self._unhashed.get(absolute))
        else:
            self.gap(f"{absolute} was overwritten before its digest could be taken.")

    def moved(self, source: str, target: str) -> None:
        """Note that a file takes another's place."""
        self.about_to_change(target)
        self.about_to_change(source)
        if source in self._written:
            self._written.pop(source)
            self._pending = [
                entry for entry in self._pending
                if not (entry["absolute"] == source and entry["access"] == "write")
            ]  # fmt: skip
            self._emit("removed", {"absolute": source})
        if not is_ignored(target):
            self._note_write(target, target, self._execution(), "audit")

    def removed(self, absolute: str) -> None:
        """Note that a file is about to be deleted: what was written to it is no result."""
        self.about_to_change(absolute)
        if self._written.pop(absolute, None) is not None:
            self._emit("removed", {"absolute": absolute})

    def _note_read(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        self._unhashed.setdefault(absolute, order)
        self._add(path, absolute, "read", order, layer)

    def _note_write(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        self._written[absolute] = (order, None)
        self._add(path, absolute, "write", order, layer)

    def _note_both(self, path: str, absolute: str, order: int | None, layer: str) -> None:
        status = regular(absolute)
        if status is None or status.st_size == 0:
            self._note_write(path, absolute, order, layer)
            return
        self._note_read(path, absolute, order, layer)
        self.about_to_change(absolute)
        self._both.setdefault(absolute, signature(status))

    def _add(self, path: str, absolute: str, access: str, order: int | None, layer: str) -> None:
        self._pending.append(
            {"path": path, "absolute": absolute, "access": access, "order": order, "layer": layer}
        )

    # --- at the end of a cell

    def drain(self) -> list[dict[str, Any]]:
        """Return what was opened since the last call; digests follow as ``file`` events."""
        order = self._execution()
        with self._lock:
            for absolute, before in list(self._both.items()):
                status = regular(absolute)
                now = signature(status) if status else None
                if now is not None and now != before:
                    self._both[absolute] = now
                    self._note_write(absolute, absolute, order, "audit")
            pending, self._pending = self._pending, []
            kept = []
            for entry in pending:
                absolute = entry["absolute"]
                if absolute is None:
                    kept.append(entry)
                    continue
                if regular(absolute) is None and absolute not in self._digests:
                    # Never there, a folder, or gone again: scratch of the cell's own.
                    self._unhashed.pop(absolute, None)
                    continue
                kept.append(entry)
                if entry["access"] == "write" or absolute in self._unhashed:
                    self._queue(absolute, entry["access"], entry["order"])
            if len(self._seen) > 100_000:
                self._seen.clear()
        return kept

    def settle(self, timeout: float) -> bool:
        """Wait until every digest is known, writes looked at again; return whether they all are."""
        with self._lock:
            for absolute, (order, last) in list(self._written.items()):
                status = regular(absolute)
                if status is not None and signature(status) != last:
                    self._queue(absolute, "write", order)
        return self._idle.wait(timeout)

    # --- digests

    def _queue(self, absolute: str, access: str, order: int | None) -> None:
        self._idle.clear()
        self._queued += 1
        self._jobs.put((absolute, access, order))

    def _work(self) -> None:
        _own.busy = True
        while (job := self._jobs.get()) is not None:
            try:
                self._resolve(*job)
            except Exception as error:  # noqa: BLE001
                self.gap(f"{job[0]} could not be hashed: {type(error).__name__}: {error}")
            with self._lock:
                self._queued -= 1
                if self._queued == 0:
                    self._idle.set()

    def _resolve(self, absolute: str, access: str, order: int | None) -> None:
        if access == "read" and absolute not in self._unhashed:
            return
        status = regular(absolute)
        known = self._digests.get(absolute)
        if access == "write" and status is not None:
            last = self._written.get(absolute, (order, None))[1]
            if last == signature(status):
                return
        if known is not None and status is not None and known.stat == signature(status):
            found: FileDigest | None = known
        else:
            found = hash_file(absolute, md5=self._wants_md5(absolute), cache=self._cache)
        if found is None:
            return
        with self._lock:
            if access == "read":
                if self._unhashed.pop(absolute, -1) == -1:
                    return
            elif absolute in self._written:
                self._written[absolute] = (order, found.stat)
            self._digests[absolute] = found
        self._emit(
            "file",
            {"absolute": absolute, "access": access, "order": order, "digest": found.digest,
             "md5": found.md5, "size": found.size},
        )  # fmt: skip


def _forget() -> None:
    """In a forked child: it has none of our threads, and perhaps locked locks."""
    global _active
    _active = None


def _as_path(given: Any) -> str | None:
    if isinstance(given, str):
        return given
    if isinstance(given, bytes):
        return os.fsdecode(given)
    if isinstance(given, os.PathLike):
        found = os.fspath(given)
        return os.fsdecode(found) if isinstance(found, bytes) else found
    return None


def _by_machinery(*, anywhere: bool = False) -> bool:
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


# --- audit events


def _on_open(watch: FileWatch, path: Any, mode: str | None, flags: int) -> None:
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
    path = _as_path(database)
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
    old, new = _as_path(source), _as_path(target)
    if old and new and source_folder == folder == -1:
        watch.moved(os.path.abspath(old), os.path.abspath(new))


def _on_remove(watch: FileWatch, path: Any, folder: int = -1) -> None:
    name = _as_path(path)
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
    program = _as_path(executable) if not isinstance(executable, list | tuple) else None
    if not program and arguments and arguments[0]:
        program = str(arguments[0][0])
    name = os.path.basename(str(program or "?").split()[0])
    if name in _HARMLESS or _by_machinery() or watch._execution() is None:  # noqa: SLF001
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
    if not _by_machinery() and watch._execution() is not None:  # noqa: SLF001
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
