"""What child processes of the kernel open: they say so themselves.

A forked child inherits the audit hook and the wrapped readers; a worker of
multiprocessing or loky that is a new interpreter is given both when it starts.
They write a line for each file into memory that all of them share (a memfd),
before they open it. The kernel reads the lines at the end of each cell.
"""

# Paths stay strings here: this runs for every file that a child opens.
# ruff: noqa: PTH100
from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import sys
from types import ModuleType
from typing import Any, Literal

from mlrepro_nb.capture.data import audit
from mlrepro_nb.capture.data.audit import Access, as_path, by_library, by_machinery
from mlrepro_nb.capture.data.hashing import regular, signature
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
        self._read = 0
        self._rest = b""
        self._wrappers = Wrappers()
        self._hook = ImportHook(dict.fromkeys(_SPAWNS, self._wrap))

    def start(self) -> None:
        """Make the memory that children write to; without memfd they are not seen."""
        if not hasattr(os, "memfd_create"):
            return
        self._handle = os.memfd_create("mlrepro-children")
        _append(self._handle)
        self._identity = _identity(self._handle)
        channel = f"/proc/{os.getpid()}/fd/{self._handle}"
        audit.after_fork(functools.partial(Reporter, self._handle, self._identity, channel))
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
        elif kind == "started":
            self._files.program(told["commands"])
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
        source = (
            "try:\n"
            "    from mlrepro_nb.capture.data.children import begin\n"
            f"    begin({self.channel!r}, {sys.version_info[:2]!r})\n"
            "except Exception:\n"
            "    pass\n"
        )
        return exec, (source, {})


def begin(channel: str, version: tuple[int, int]) -> None:
    """In a new interpreter: report what it opens from now on."""
    if sys.version_info[:2] != version:
        return
    handle = os.open(channel, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    identity = _identity(handle)
    audit.after_fork(functools.partial(Reporter, handle, identity, channel))
    audit.attach(Reporter(handle, identity, channel))
    ReaderWatch().start()


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
    """

    def __init__(self, handle: int, identity: tuple[int, int], channel: str) -> None:
        self._identity = identity
        self._handle = handle
        self._channel = channel
        self._seen: set[tuple[str, str]] = set()

    def note(self, given: Any, access: Access, layer: str) -> None:
        """Report a path that is about to be opened."""
        path = as_path(given)
        if path is None:
            return
        absolute = os.path.abspath(path)
        if (absolute, access) in self._seen:
            return
        self._seen.add((absolute, access))
        if is_ignored(absolute) or by_machinery():
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

    def started(self, argv: list[str]) -> None:
        """Report a program that is started, in place of this one or beside it."""
        if by_machinery() or is_pool(argv):
            return
        if found := reading(argv, by_library=by_library()):
            self._tell(kind="started", commands=found)

    def entered(self, folder: str) -> None:
        """Do nothing: the kernel's working folder is another."""

    def failed(self, error: BaseException) -> None:
        """Report that watching failed."""
        self._tell(
            kind="gap",
            text=f"Watching files in a child process failed once: {type(error).__name__}: {error}",
        )

    def execution(self) -> int | None:
        """Return what is not None: a child has no cells, and always counts."""
        return 0

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


def _identity(handle: int) -> tuple[int, int]:
    try:
        status = os.fstat(handle)
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino


def _append(handle: int) -> None:
    fcntl.fcntl(handle, fcntl.F_SETFL, fcntl.fcntl(handle, fcntl.F_GETFL) | os.O_APPEND)
