"""Tables: Polars, Delta, geographic and statistical formats."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from mlrepro_nb.capture.data.audit import target
from mlrepro_nb.capture.data.readers.calls import Call, note_path, paths, reads, writes
from mlrepro_nb.capture.data.readers.wrap import Wrappers

_LAYER = "wrapper:polars"

READERS: dict[str, tuple[Call, ...]] = {
    "polars": (
        *(reads(f"{verb}_{form}", "source")
          for verb in ("read", "scan")
          for form in ("csv", "parquet", "ipc", "ndjson", "delta", "lines", "iceberg", "lance")),
        *(reads(f"read_{form}", "source")
          for form in ("json", "ipc_stream", "avro", "excel", "ods", "csv_batched",
                       "parquet_schema", "parquet_metadata", "ipc_schema")),
        *(writes(f"DataFrame.write_{form}", "file")
          for form in ("csv", "parquet", "ipc", "ipc_stream", "ndjson", "json", "avro")),
        writes("DataFrame.write_excel", "workbook"),
        writes("DataFrame.write_delta", "target"),
        *(writes(f"LazyFrame.sink_{form}", "path") for form in ("csv", "parquet", "ipc", "ndjson")),
        writes("LazyFrame.sink_delta", "target"),
    ),
    "deltalake.table": (reads("DeltaTable.__init__", "table_uri"),),
    "deltalake.writer.writer": (writes("write_deltalake", "table_or_uri"),),
    "fastexcel": (reads("read_excel", "source"),),
    "pyogrio.geopandas": (
        reads("read_dataframe", "path_or_buffer"), writes("write_dataframe", "path", 1),
    ),
    "pyreadstat": tuple(
        reads(f"read_{form}", "filename_path")
        for form in ("sas7bdat", "xport", "dta", "sav", "por", "sas7bcat")
    ),
}  # fmt: skip

_SCANS = ("csv", "parquet", "ipc", "ndjson", "lines")
_RUNS = ("collect", "collect_batches", "collect_async", "sink_csv", "sink_parquet", "sink_ipc",
         "sink_ndjson", "sink_batches")  # fmt: skip


def wrap_polars(module: ModuleType, wrappers: Wrappers) -> None:
    """Note what a lazy scan's pattern finds when it is run, which may be more than at first."""
    lazy: dict[str, set[str]] = {}

    def scanned(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = kwargs.get("source", args[0] if args else None)
        text = str(given) if hasattr(given, "__fspath__") else given
        if isinstance(text, str) and not _has_one_file(text):
            lazy.setdefault(text, set(paths(text)))

    def run(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        watch = target()
        if watch is None:
            return
        try:
            for pattern, known in lazy.items():
                new = set(paths(pattern)) - known
                known |= new
                for path in sorted(new):
                    note_path(watch, path, "read", _LAYER)
        except Exception as error:  # noqa: BLE001 - it must not become the user's exception
            watch.failed(error)

    for form in _SCANS:
        wrappers.wrap(module, f"scan_{form}", scanned)
    for name in _RUNS:
        wrappers.wrap(module, f"LazyFrame.{name}", run)


def _has_one_file(text: str) -> bool:
    return list(paths(text)) == [text]
