"""Apache Arrow: files, data sets, file systems."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from mlrepro_nb.capture.data.audit import Access, target
from mlrepro_nb.capture.data.readers.calls import (
    Call,
    argument,
    note_path,
    opens,
    paths,
    reads,
    scheme,
    writes,
)
from mlrepro_nb.capture.data.readers.wrap import Wrappers, class_stand_in

READERS: dict[str, tuple[Call, ...]] = {
    "pyarrow": (
        opens("memory_map", "path"),
        writes("create_memory_map", "path"),
        opens("OSFile", "path"),
        reads("input_stream", "source"),
        writes("output_stream", "source"),
    ),
    "pyarrow.parquet.core": (
        reads("ParquetFile.__init__", "source"),
        reads("ParquetDataset.__init__", "path_or_paths"),
        reads("read_table", "source"),
        reads("read_metadata", "where"),
        reads("read_schema", "where"),
        writes("ParquetWriter.__init__", "where"),
        writes("write_to_dataset", "root_path", 1),
        writes("write_metadata", "where", 1),
    ),
    "pyarrow.dataset": (
        reads("dataset", "source"),
        reads("parquet_dataset", "metadata_path"),
        writes("write_dataset", "base_dir", 1),
    ),
    "pyarrow.csv": (
        reads("read_csv", "input_file"),
        reads("open_csv", "input_file"),
        writes("write_csv", "output_file", 1),
        writes("CSVWriter", "sink"),
    ),
    "pyarrow.json": (reads("read_json", "input_file"), reads("open_json", "input_file")),
    "pyarrow.orc": (
        reads("ORCFile.__init__", "source"),
        reads("read_table", "source"),
        writes("ORCWriter.__init__", "where"),
    ),
    "pyarrow.feather": (
        reads("read_table", "source"),
        reads("read_feather", "source"),
        reads("FeatherDataset.__init__", "path_or_paths"),
        writes("write_feather", "dest", 1),
    ),
    "pyarrow.ipc": (
        reads("open_file", "source"),
        reads("open_stream", "source"),
        reads("RecordBatchFileReader.__init__", "source"),
        reads("RecordBatchStreamReader.__init__", "source"),
        writes("RecordBatchFileWriter.__init__", "sink"),
        writes("RecordBatchStreamWriter.__init__", "sink"),
    ),
    "pyarrow.fs": (
        reads("copy_files", "source"),
        writes("copy_files", "destination", 1),
    ),
}

_METHODS: dict[str, Access] = {
    "open_input_file": "read", "open_input_stream": "read", "open_output_stream": "write",
    "open_append_stream": "both",
}  # fmt: skip
_FILESYSTEMS = ("LocalFileSystem", "S3FileSystem", "GcsFileSystem", "AzureFileSystem",
                "HadoopFileSystem", "SubTreeFileSystem")  # fmt: skip


def wrap_filesystems(module: ModuleType, wrappers: Wrappers) -> None:
    """Wrap the file systems' methods that open a file: they are Cython's and cannot be set."""
    for name in _FILESYSTEMS:
        original = vars(module).get(name)
        if isinstance(original, type):
            body: dict[str, Any] = {
                method: _opening(getattr(original, method), access)
                for method, access in _METHODS.items()
            }
            body |= {"__module__": original.__module__, "__doc__": original.__doc__}
            made = type(original)(name, (original,), body)
            wrappers.replace(module, name, class_stand_in(original, None, module.__name__, made))


def _opening(original: Any, access: Access) -> Any:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch = target()
        if watch is not None:
            try:
                given, elsewhere = argument(args, kwargs, "path", 0), scheme(self)
                base = getattr(self, "base_path", None)  # of a subtree
                if isinstance(base, str) and isinstance(given, str):
                    given, elsewhere = base + given, scheme(self.base_fs)
                for path in paths(given, remote=elsewhere, inside=access != "write"):
                    note_path(watch, path, access, "wrapper:pyarrow")
            except Exception as error:  # noqa: BLE001 - it must not become the user's exception
                watch.failed(error)
        return original(self, *args, **kwargs)

    return method
