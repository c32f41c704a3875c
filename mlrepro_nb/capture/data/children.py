"""What child processes of the kernel open, draw and import: they say so themselves.

A forked child inherits the audit hook and the wrapped readers; a worker of
multiprocessing or loky that is a new interpreter is given both when it starts
(`spawned`). They write a line for each file into memory that all of them share (a
memfd), before they open it, and one for each generator, and for what they imported,
before they send what came of it (`sending`). The kernel reads the lines at the end of
each cell.
"""

# Paths stay strings here: this runs for every file that a child opens.
# ruff: noqa: PTH100
from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import mmap
import os
import sys
from types import ModuleType
from typing import Any, Literal

from mlrepro_nb.capture.data import audit
from mlrepro_nb.capture.data.audit import Access, as_path, by_library, by_machinery
from mlrepro_nb.capture.data.hashing import regular, signature
from mlrepro_nb.capture.data.held import held
from mlrepro_nb.capture.data.paths import is_ignored
from mlrepro_nb.capture.data.programs import is_pool, reading
from mlrepro_nb.capture.data.readers import ReaderWatch
from mlrepro_nb.capture.data.readers.wrap import Wrappers
from mlrepro_nb.capture.imports import ImportHook
from mlrepro_nb.capture.watch import Watch

_SPAWNS = ("multiprocessing.spawn", "multiprocess.spawn", "joblib.externals.loky.backend.spawn",
           "loky.backend.spawn")  # fmt: skip
"""Modules that say what a new interpreter is told first."""

_CHUNK = 1 << 20
_HEAD = 8
"""Bytes at the memory's beginning that count how often the kernel has collected something."""


class ChildrenWatch(Watch):
    """Hands what child processes report to the kernel's `FileWatch`.

    Parameters
    ----------
    files : FileWatch
        The kernel's.
    """

    title = "child processes"

    def __init__(self, files: Any) -> None:
        self._files = files
        self._handle = -1
        self._identity = (0, 0)
        self._turns: Any = None
        self._read = _HEAD
        self._rest = b""
        self._drawn: dict[tuple[str, bool | None], None] = {}
        self._imported: list[dict[str, Any]] = []
        self._wrappers = Wrappers()
        self._hook = ImportHook(dict.fromkeys(_SPAWNS, self._wrap))

    def start(self) -> None:
        """Make the memory that children write to; without memfd they are not seen."""
        if not hasattr(os, "memfd_create"):
            return
        self._handle = os.memfd_create("mlrepro-children")
        os.ftruncate(self._handle, _HEAD)
        self._turns = mmap.mmap(self._handle, _HEAD)
        _append(self._handle)
        self._identity = _identity(self._handle)
        channel = f"/proc/{os.getpid()}/fd/{self._handle}"
        audit.after_fork(
            functools.partial(Reporter, self._handle, self._identity, channel, self._turns)
        )
        self._files.children = self
        self._hook.start()

    def stop(self) -> None:
        """Hear children no more."""
        if self._handle < 0:
            return
        audit.after_fork(None)
        self._hook.stop()
        self._wrappers.restore()
        self._files.children = None
        if _identity(self._handle) == self._identity:
            os.close(self._handle)
        self._handle = -1

    def collect(self) -> None:
        """Note what children have opened since the last time."""
        if self._handle < 0 or os.fstat(self._handle).st_size == self._read:
            return
        if _identity(self._handle) != self._identity:
            return  # the notebook closed it, and the number is another file's by now
        while chunk := os.pread(self._handle, _CHUNK, self._read):
            self._read += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self._take(json.loads(line))
        turn = int.from_bytes(self._turns[:_HEAD], "little") + 1
        self._turns[:_HEAD] = turn.to_bytes(_HEAD, "little")

    def drawn(self) -> list[tuple[str, bool | None]]:
        """Return what was drawn from, as far as it was collected since the last time.

        A generator with whether it was seeded, or a source of entropy with None.
        """
        found, self._drawn = self._drawn, {}
        return list(found)

    def imported(self) -> list[dict[str, Any]]:
        """Return what was imported, as far as it was collected since the last time.

        Each has the arguments of `Reporter.imported`.
        """
        found, self._imported = self._imported, []
        return found

    def _take(self, told: dict[str, Any]) -> None:
        kind = told["kind"]
        if kind == "open":
            self._files.note_of_child(
                told["path"], told["absolute"], told["access"], told["layer"], told["was"]
            )
        elif kind == "url":
            self._files.url_of_child(told["url"], told["layer"], told["access"])
        elif kind == "moved":
            self._files.moved(told["source"], told["target"])
        elif kind == "removed":
            self._files.removed(told["absolute"])
        elif kind == "listed":
            self._files.listed_by_child(told["folder"])
        elif kind == "started":
            self._files.program(told["commands"], told["held"])
        elif kind == "drew":
            self._drawn[told["source"], told["seeded"]] = None
        elif kind == "imported":
            self._imported.append(told)
        elif kind == "gap":
            self._files.gap(told["text"])

    def _wrap(self, module: ModuleType) -> None:
        original = module.get_preparation_data

        @functools.wraps(original)
        def get_preparation_data(*args: Any, **kwargs: Any) -> Any:
            told = original(*args, **kwargs)
            if self._handle >= 0 and isinstance(told, dict) and audit.target() is not None:
                told["mlrepro"] = _Beginning(f"/proc/{os.getpid()}/fd/{self._handle}")
            return told

        self._wrappers.replace(module, "get_preparation_data", get_preparation_data)


class _Beginning:
    """Starts to report in the process that unpickles it, whatever that process has installed."""

    def __init__(self, channel: str) -> None:
        self.channel = channel

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_BEGIN.format(channel=self.channel, version=sys.version_info[:2]), {})


_BEGIN = """
try:
    from mlrepro_nb.capture.spawned import begin
    begin({channel!r}, {version!r})
except Exception as error:
    try:
        import json
        text = "What a worker process reads, writes, draws and imports is not known: "
        text += f"{{type(error).__name__}}: {{error}}"
        with open({channel!r}, "ab") as told:
            told.write(json.dumps({{"kind": "gap", "text": text}}).encode() + b"\\n")
    except Exception:
        pass
"""


def begin(channel: str) -> Reporter:
    """In a new interpreter: report what it opens from now on."""
    handle = os.open(channel, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    make = functools.partial(Reporter, handle, _identity(handle), channel, mmap.mmap(handle, _HEAD))
    audit.after_fork(make)
    reporter = make()
    audit.attach(reporter)
    ReaderWatch().start()
    return reporter


class Reporter:
    """In a child: writes down what it opens. It holds no lock, which a fork may have left locked.

    Parameters
    ----------
    handle : int
        Where to.
    identity : tuple of int
        Device and inode behind it: a child that closes all it inherited may open a
        file of its own under the number.
    channel : str
        Path by which it can be opened anew then.
    turns : mmap
        Its beginning, which changes whenever the kernel has collected what was told: a worker
        may stay for many cells, and each must hear what it had it do.
    """

    def __init__(
        self, handle: int, identity: tuple[int, int], channel: str, turns: mmap.mmap
    ) -> None:
        self._identity = identity
        self._handle = handle
        self._channel = channel
        self._turns, self._turn = turns, b""
        self._seen: set[tuple[str, str | bool | None]] = set()

    def note(self, given: Any, access: Access, layer: str) -> None:
        """Report a path that is about to be opened."""
        path = as_path(given)
        if path is None:
            return
        absolute = os.path.abspath(path)
        if not self._is_new((absolute, access)) or is_ignored(absolute, access) or by_machinery():
            return
        status = regular(absolute) if access == "both" else None
        self._tell(
            kind="open", path=path, absolute=absolute, access=access, layer=layer,
            was=signature(status) if status is not None and status.st_size else None,
        )  # fmt: skip

    def note_url(self, url: str, layer: str, access: Literal["read", "write"] = "read") -> None:
        """Report a URL that is about to be opened."""
        if not by_machinery(anywhere=True):
            self._tell(kind="url", url=url, layer=layer, access=access)

    def moved(self, source: str, target: str) -> None:
        """Report that a file takes another's place."""
        self._tell(kind="moved", source=source, target=target)

    def removed(self, absolute: str) -> None:
        """Report that a file is about to be deleted."""
        self._tell(kind="removed", absolute=absolute)

    def listed(self, folder: str) -> None:
        """Report that a folder's files are about to be listed."""
        if self._is_new((folder, "list")) and not by_machinery():
            self._tell(kind="listed", folder=folder)

    def started(self, argv: list[str]) -> None:
        """Report a program that is started, in place of this one or beside it."""
        if by_machinery() or is_pool(argv):
            return
        if found := reading(argv, by_library=by_library()):
            self._tell(kind="started", commands=found, held=held(found))

    def entered(self, folder: str) -> None:
        """Do nothing: the kernel's working folder is another."""

    def failed(self, error: BaseException) -> None:
        """Report that watching failed."""
        self._tell(
            kind="gap",
            text=f"Watching files in a child process failed once: {type(error).__name__}: {error}",
        )

    def drew(self, source: str, seeded: bool | None) -> None:  # noqa: FBT001
        """Report that a generator was drawn from, or, with None, entropy."""
        if self._is_new((source, seeded)):
            self._tell(kind="drew", source=source, seeded=seeded)

    def imported(
        self, edges: list[Any], sources: list[tuple[str, str, float]], packages: list[str]
    ) -> None:
        """Report what came into this process.

        Parameters
        ----------
        edges : list
            Of each top-level module: its name, who asked for it, and by which calls.
        sources : list
            Of each module of no distribution's: its name, its file, and when it was imported.
        packages : list of str
            In which a module came.
        """
        self._tell(kind="imported", edges=edges, sources=sources, packages=packages)

    def execution(self) -> int | None:
        """Return what is not None: a child has no cells, and always counts."""
        return 0

    def _is_new(self, told: tuple[str, str | bool | None]) -> bool:
        """Return whether the kernel has not been told of something since it last collected."""
        if (turn := self._turns[:_HEAD]) != self._turn:
            self._turn = turn
            self._seen.clear()
        new = told not in self._seen
        self._seen.add(told)
        return new

    def _tell(self, **told: Any) -> None:
        line = json.dumps(told).encode() + b"\n"
        with contextlib.suppress(OSError):
            if _identity(self._handle) == self._identity:
                os.write(self._handle, line)
                return
            handle = os.open(self._channel, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                if _identity(handle) == self._identity:
                    os.write(handle, line)
            finally:
                os.close(handle)


def reporter() -> Reporter | None:
    """In a forked child: return who tells the kernel, or None where nobody can."""
    found = audit.target()
    return found if isinstance(found, Reporter) else None


def _identity(handle: int) -> tuple[int, int]:
    try:
        status = os.fstat(handle)
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino


def _append(handle: int) -> None:
    fcntl.fcntl(handle, fcntl.F_SETFL, fcntl.fcntl(handle, fcntl.F_GETFL) | os.O_APPEND)
