"""Readers and writers that reach the file system without Python's audit events.

Arrow, Polars, HDF5 and DuckDB open files in C++ or Rust. The functions that the
tables here name are wrapped as soon as their module is imported; a wrapper notes
the path and calls the function. `calls` says how a call names its files, `wrap`
how a function is wrapped and let go of again; there is a module of tables for
each family of libraries.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType

from mlrepro_nb.capture.data.readers import (
    arrow,
    duckdb,
    frames,
    learning,
    media,
    remote,
    sqlite,
)
from mlrepro_nb.capture.data.readers.calls import Call, noting
from mlrepro_nb.capture.data.readers.wrap import Wrappers
from mlrepro_nb.capture.imports import ImportHook
from mlrepro_nb.capture.watch import Recording, Watch

READERS: dict[str, tuple[Call, ...]] = {
    **arrow.READERS, **frames.READERS, **learning.READERS, **media.READERS, **remote.READERS,
}  # fmt: skip
"""Module to the functions of it that open files."""

_MORE: dict[str, Callable[[ModuleType, Wrappers], None]] = {
    "pyarrow.fs": arrow.wrap_filesystems,
    "polars": frames.wrap_polars,
    "duckdb": duckdb.wrap_duckdb,
    "fsspec.spec": remote.wrap_filesystem,
    "fsspec.asyn": remote.wrap_async_filesystem,
    "sqlite3": sqlite.wrap_sqlite,
    "botocore.client": remote.wrap_botocore,
    **dict.fromkeys(remote.CLIENTS, remote.wrap_client),
}
"""What a table cannot say."""


class ReaderWatch(Watch):
    """Tells the active watch of `audit` what the wrapped readers and writers open."""

    title = "Arrow, Polars and HDF5 readers"

    def __init__(self, recording: Recording | None = None) -> None:
        self._recording = recording
        self._wrappers = Wrappers()
        self._hook = ImportHook(
            {name: functools.partial(self._wrap, name) for name in {*READERS, *_MORE}}
        )

    def start(self) -> None:
        """Wrap what is imported, and what will be."""
        self._hook.start()
        if self._recording is not None:
            self._wrappers.leave_tracebacks(self._recording.shell)

    def stop(self) -> None:
        """Wrap no more modules, and leave those that are as they were found."""
        self._hook.stop()
        self._wrappers.restore()

    def _wrap(self, name: str, module: ModuleType) -> None:
        layer = f"wrapper:{name.partition('.')[0]}"
        for call in READERS.get(name, ()):
            self._wrappers.wrap(module, call.attribute, noting(call, layer))
        if name in _MORE:
            _MORE[name](module, self._wrappers)
