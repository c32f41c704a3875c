"""DuckDB: what its statements, connections and relations read and write."""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH110, PTH113
from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from mlrepro_nb.capture.data.audit import target
from mlrepro_nb.capture.data.readers.calls import argument, note_path, paths
from mlrepro_nb.capture.data.readers.sql import files
from mlrepro_nb.capture.data.readers.wrap import Note, Wrappers

_LAYER = "wrapper:duckdb"
_STATEMENTS = ("sql", "query", "execute", "executemany", "from_query")
_READS = ("read_csv", "read_parquet", "read_json", "from_csv_auto", "from_parquet")
_WRITES = ("write_csv", "to_csv", "write_parquet", "to_parquet")


def wrap_duckdb(module: ModuleType, wrappers: Wrappers) -> None:
    """Wrap the module's functions, and the same methods of connections and relations."""
    wrappers.wrap(module, "connect", _connecting(0))
    for name in _STATEMENTS:
        wrappers.wrap(module, name, _running(0))
        wrappers.wrap(module, f"DuckDBPyConnection.{name}", _running(1))
    for name in _READS:
        wrappers.wrap(module, name, _reading(0))
        wrappers.wrap(module, f"DuckDBPyConnection.{name}", _reading(1))
    for name in _WRITES:
        wrappers.wrap(module, name, _writing(1))
        wrappers.wrap(module, f"DuckDBPyRelation.{name}", _writing(1))
    wrappers.wrap(module, "DuckDBPyRelation.query", _running(2))


def _guarded(note: Any) -> Note:
    def guarded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch = target()
        if watch is None:
            return
        try:
            note(watch, args, kwargs)
        except Exception as error:  # noqa: BLE001 - it must not become the user's exception
            watch.failed(error)

    return guarded


def _connecting(position: int) -> Note:
    def note(watch: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        database = str(argument(args, kwargs, "database", position) or ":memory:")
        if not database.startswith((":", "md:")):
            only = argument(args, kwargs, "read_only", position + 1)
            note_path(watch, database, "read" if only else "both", _LAYER)

    return _guarded(note)


def _running(position: int) -> Note:
    def note(watch: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        statement = argument(args, kwargs, "query", position)
        if not isinstance(statement, str):
            statement = getattr(statement, "query", None)  # of extract_statements
        if not isinstance(statement, str):
            return
        for text, access in files(statement):
            for path in paths(text, inside=access != "write"):
                if access != "read" or "://" in path or os.path.exists(path):
                    note_path(watch, path, access, _LAYER)
        # ``read_csv(?)``: only a parameter that is a file is one.
        given = argument(args, kwargs, "parameters", position + 1)
        given = kwargs.get("params", given)
        values = list(given.values()) if isinstance(given, dict) else given
        if "?" in statement or "$" in statement:
            for value in values if isinstance(values, list | tuple) else ():
                for path in paths(value) if isinstance(value, str) else ():
                    if os.path.isfile(path):
                        note_path(watch, path, "read", _LAYER)

    return _guarded(note)


def _reading(position: int) -> Note:
    def note(watch: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        names = ("path_or_buffer", "file_glob", "file_globs", "path", "name")
        given = next((kwargs[name] for name in names if name in kwargs), None)
        if given is None and len(args) > position:
            given = args[position]
        for path in paths(given):
            note_path(watch, path, "read", _LAYER)

    return _guarded(note)


def _writing(position: int) -> Note:
    def note(watch: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for path in paths(argument(args, kwargs, "file_name", position), inside=False):
            note_path(watch, path, "write", _LAYER)

    return _guarded(note)
