"""Readers and writers that reach the file system without Python's audit events.

Arrow, Polars, HDF5 and DuckDB open files in C++ or Rust. The functions here
are wrapped as soon as their module is imported; a wrapper notes the path and
calls the function. One line a function: where its path is, what it does to it.
"""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH110, PTH112, PTH118, PTH207
from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from mlrepro_nb.capture.data.audit import Access
from mlrepro_nb.capture.data.files import FileWatch
from mlrepro_nb.capture.imports import ImportHook
from mlrepro_nb.capture.watch import Watch

# module -> (attribute, name of the path's parameter, position without self, access)
_Reader = tuple[str, str, int, Access]

READERS: dict[str, tuple[_Reader, ...]] = {
    "pyarrow": (
        ("memory_map", "path", 0, "both"),
        ("OSFile", "path", 0, "both"),
        ("input_stream", "source", 0, "read"),
        ("output_stream", "source", 0, "write"),
    ),
    "pyarrow.parquet.core": (
        ("ParquetFile.__init__", "source", 0, "read"),
        ("ParquetDataset.__init__", "path_or_paths", 0, "read"),
        ("ParquetWriter.__init__", "where", 0, "write"),
    ),
    "pyarrow.dataset": (
        ("dataset", "source", 0, "read"),
        ("parquet_dataset", "metadata_path", 0, "read"),
    ),
    "pyarrow.csv": (
        ("read_csv", "input_file", 0, "read"),
        ("open_csv", "input_file", 0, "read"),
        ("write_csv", "output_file", 1, "write"),
        ("CSVWriter", "sink", 0, "write"),
    ),
    "pyarrow.json": (("read_json", "input_file", 0, "read"),),
    "pyarrow.orc": (
        ("ORCFile.__init__", "source", 0, "read"),
        ("ORCWriter.__init__", "where", 0, "write"),
    ),
    "pyarrow.feather": (
        ("read_table", "source", 0, "read"),
        ("read_feather", "source", 0, "read"),
        ("write_feather", "dest", 1, "write"),
    ),
    "pyarrow.ipc": (
        ("open_file", "source", 0, "read"),
        ("open_stream", "source", 0, "read"),
        ("RecordBatchFileWriter.__init__", "sink", 0, "write"),
        ("RecordBatchStreamWriter.__init__", "sink", 0, "write"),
    ),
    "polars": (
        *((f"{verb}_{form}", "source", 0, "read")
          for verb in ("read", "scan")
          for form in ("csv", "parquet", "ipc", "ndjson", "delta")),
        ("read_json", "source", 0, "read"),
        ("read_ipc_stream", "source", 0, "read"),
        ("read_avro", "source", 0, "read"),
        ("read_excel", "source", 0, "read"),
        *((f"DataFrame.write_{form}", "file", 0, "write")
          for form in ("csv", "parquet", "ipc", "ipc_stream", "ndjson", "json", "avro")),
        ("DataFrame.write_excel", "workbook", 0, "write"),
        *((f"LazyFrame.sink_{form}", "path", 0, "write")
          for form in ("csv", "parquet", "ipc", "ndjson")),
    ),
    "h5py._hl.files": (("File.__init__", "name", 0, "both"),),
    "netCDF4": (("Dataset", "filename", 0, "both"),),
    "tables.file": (("open_file", "filename", 0, "both"),),
    "lightgbm.basic": (("Dataset.__init__", "data", 0, "read"),),
    "xgboost.core": (
        ("DMatrix.__init__", "data", 0, "read"),
        ("Booster.load_model", "fname", 0, "read"),
        ("Booster.save_model", "fname", 0, "write"),
    ),
    "catboost.core": (("Pool.__init__", "data", 0, "read"),),
    "safetensors": (("safe_open", "filename", 0, "read"),),
    "safetensors.torch": (
        ("load_file", "filename", 0, "read"),
        ("save_file", "filename", 1, "write"),
    ),
    "safetensors.numpy": (
        ("load_file", "filename", 0, "read"),
        ("save_file", "filename", 1, "write"),
    ),
    "cv2": (
        ("imread", "filename", 0, "read"),
        ("imwrite", "filename", 0, "write"),
        ("VideoCapture", "filename", 0, "read"),
    ),
    "torchaudio": (("load", "uri", 0, "read"), ("save", "uri", 0, "write")),
    "torchvision.io": (("read_image", "path", 0, "read"), ("read_file", "path", 0, "read")),
    "torch": (("from_file", "filename", 0, "read"),),
    "fsspec.core": (("open_files", "urlpath", 0, "read"),),
    "requests.sessions": (("Session.request", "url", 1, "read"),),
    "httpx._client": (("Client.request", "url", 1, "read"),),
}  # fmt: skip

_DUCKDB_METHODS = (
    "sql", "query", "execute", "read_csv", "read_parquet", "read_json", "from_query",
    "from_csv_auto", "from_parquet", "executemany",
)  # fmt: skip

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_QUOTED = re.compile(r"'((?:[^']|'')+)'")
_COPY_TO = re.compile(r"(?is)\bto\s*$")
_ATTACH = re.compile(r"(?is)\battach\s+(?:database\s+)?(?:if\s+not\s+exists\s+)?$")


class ReaderWatch(Watch):
    """Tells a `FileWatch` what the wrapped readers and writers open."""

    title = "Arrow, Polars and HDF5 readers"

    def __init__(self, watch: FileWatch) -> None:
        self._hook = import_hook(watch)

    def start(self) -> None:
        """Wrap what is imported, and what will be."""
        self._hook.start()

    def stop(self) -> None:
        """Wrap no more modules."""
        self._hook.stop()


def import_hook(watch: FileWatch) -> ImportHook:
    """Return the hook that wraps the readers of every module that is or will be imported."""
    callbacks: dict[str, Callable[[ModuleType], None]] = {
        name: functools.partial(_wrap_all, readers=readers, watch=watch)
        for name, readers in READERS.items()
    }
    callbacks["duckdb"] = functools.partial(_wrap_duckdb, watch=watch)
    return ImportHook(callbacks)


def _wrap_all(module: ModuleType, readers: tuple[_Reader, ...], watch: FileWatch) -> None:
    layer = f"wrapper:{module.__name__.partition('.')[0]}"
    for attribute, parameter, position, access in readers:
        owner, name = _owner(module, attribute)
        if owner is None:
            continue
        method = "." in attribute
        note = functools.partial(_note, watch, parameter, position + method, access, layer)
        _wrap(owner, name, note)
        if not method:
            # The function may have been taken into the package's own namespace too.
            _wrap_alias(module, name, owner)


def _wrap_alias(module: ModuleType, name: str, owner: Any) -> None:
    import sys

    wrapped = getattr(owner, name)
    package = sys.modules.get(module.__name__.partition(".")[0])
    inner = getattr(wrapped, "__wrapped__", None)
    if package is not None and inner is not None and getattr(package, name, None) is inner:
        setattr(package, name, wrapped)


def _owner(module: ModuleType, attribute: str) -> tuple[Any, str]:
    owner: Any = module
    *parents, name = attribute.split(".")
    for parent in parents:
        owner = getattr(owner, parent, None)
    if owner is None or getattr(owner, name, None) is None:
        return None, name
    return owner, name


def _wrap(owner: Any, name: str, note: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> None:
    original = getattr(owner, name)
    if isinstance(original, type):
        return _wrap_class(owner, name, original, note)
    if getattr(original, "__mlrepro__", False):
        # Wrapped for a recorder that was stopped: this one replaces it.
        original = original.__wrapped__

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        note(args, kwargs)
        return original(*args, **kwargs)

    wrapper.__mlrepro__ = True  # type: ignore[attr-defined]
    try:
        setattr(owner, name, wrapper)
    except (AttributeError, TypeError):
        return None  # an immutable type: what it opens is left to the other layers
    return None


def _wrap_class(owner: Any, name: str, original: type, note: Any) -> None:
    """Stand in for a class of an extension module, whose methods cannot be set."""

    class Meta(type(original)):  # type: ignore[misc]
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            note(args, kwargs)
            return original(*args, **kwargs)

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, original)

        def __subclasscheck__(cls, subclass: Any) -> bool:
            return issubclass(subclass, original)

    try:
        stand_in = Meta(name, (original,), {"__module__": original.__module__})
        setattr(owner, name, stand_in)
    except TypeError:
        return


def _note(
    watch: FileWatch, parameter: str, position: int, access: Access, layer: str,
    args: tuple[Any, ...], kwargs: dict[str, Any],
) -> None:  # fmt: skip
    try:
        given = kwargs.get(parameter, args[position] if len(args) > position else None)
        if access == "both":
            mode = kwargs.get("mode", args[position + 1] if len(args) > position + 1 else "r")
            access = _of_mode(str(mode))
        elif parameter == "urlpath":
            mode = kwargs.get("mode", args[position + 1] if len(args) > position + 1 else "rb")
            access = "read" if str(mode).startswith("r") else "write"
        for path in _paths(given):
            if _REMOTE.match(path) and not path.startswith("file://"):
                watch.note_url(path, layer, "write" if access == "write" else "read")
            elif parameter != "url":
                watch.note(path.removeprefix("file://"), access, layer)
    except Exception as error:  # noqa: BLE001 - it must not become the user's exception
        watch.failed(error)


def _of_mode(mode: str) -> Access:
    if mode in ("r", "rb", "None"):
        return "read"
    return "write" if mode[0] in "wx" else "both"


def _paths(given: Any) -> Iterator[str]:
    """Yield the files that an argument names: a path, a pattern, a folder, or several."""
    if isinstance(given, bytes):
        # A path or the very data; only one that exists is a path.
        given = os.fsdecode(given) if len(given) < 4096 and os.path.exists(given) else None
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if isinstance(given, str):
        if "\n" in given or len(given) > 4096:
            return
        if _REMOTE.match(given):
            yield given
        elif os.path.isdir(given):
            for folder, _, names in os.walk(given):
                yield from (os.path.join(folder, name) for name in sorted(names)
                            if not name.startswith((".", "_")))  # fmt: skip
        elif any(mark in given for mark in "*?[") and not os.path.exists(given):
            yield from sorted(glob.glob(given, recursive=True))
        elif given:
            yield given
    elif isinstance(given, list | tuple):
        for one in given:
            if isinstance(one, str | os.PathLike):
                yield from _paths(one)


def _wrap_duckdb(module: ModuleType, watch: FileWatch) -> None:
    def of_method(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            for value in (*args, *kwargs.values()):
                if isinstance(value, str | os.PathLike | list):
                    _note_sql(watch, value)
        except Exception as error:  # noqa: BLE001
            watch.failed(error)

    def of_connect(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            database = kwargs.get("database", args[0] if args else ":memory:")
            if database and not str(database).startswith((":", "md:")):
                read_only = kwargs.get("read_only", args[1] if len(args) > 1 else False)
                watch.note(str(database), "read" if read_only else "both", "wrapper:duckdb")
        except Exception as error:  # noqa: BLE001
            watch.failed(error)

    _wrap(module, "connect", of_connect)
    connection = getattr(module, "DuckDBPyConnection", None)
    for name in _DUCKDB_METHODS:
        if callable(getattr(module, name, None)):
            _wrap(module, name, of_method)
        if connection is not None and callable(getattr(connection, name, None)):
            _wrap(connection, name, of_method)
    relation = getattr(module, "DuckDBPyRelation", None)
    for name in ("write_csv", "to_csv", "write_parquet", "to_parquet"):
        if relation is not None and callable(getattr(relation, name, None)):
            _wrap(relation, name, functools.partial(
                _note, watch, "file_name", 1, "write", "wrapper:duckdb"))  # fmt: skip


def _note_sql(watch: FileWatch, value: Any) -> None:
    """Note the files that a statement quotes: DuckDB reads ``'data.parquet'`` as a table."""
    if not isinstance(value, str) or not re.search(r"\s", value):
        for path in _paths(value):
            if os.path.exists(path):
                watch.note(path, "read", "wrapper:duckdb")
        return
    for match in _QUOTED.finditer(value):
        text = match.group(1).replace("''", "'")
        if _COPY_TO.search(value[: match.start()]):
            watch.note(text, "write", "wrapper:duckdb")
            continue
        if _ATTACH.search(value[: match.start()]):
            watch.note(text, "both", "wrapper:duckdb")
            continue
        for path in _paths(text):
            if _REMOTE.match(path):
                watch.note_url(path, "wrapper:duckdb")
            elif os.path.exists(path):
                watch.note(path, "read", "wrapper:duckdb")
