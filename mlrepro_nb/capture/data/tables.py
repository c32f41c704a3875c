"""What a table says, however it is encoded: a digest over its schema and its rows.

A file that was written again with another compression, row-group size, quoting or
order of keys has another BLAKE3, and the same rows. This tells such a file from one
whose rows changed; it explains a difference, and is nobody's identity.

Tables are read in a process of their own (this file, run as a program): no library
is loaded into the user's kernel, and a file that breaks a reader breaks nothing.

- CSV: the fields as text, in the order of the rows.
- JSON lines: the values, without the order of keys.
- Parquet, Arrow IPC, Feather, ORC (with pyarrow): for each column its name, its type,
  where its nulls are, and its values, fed through as one, so that neither chunks nor
  dictionaries nor the width of offsets matter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

LARGEST = 1 << 30
"""Bytes of the largest file whose rows are looked at."""

_PACKED = (".gz", ".bz2", ".xz")
_FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet",
    ".pq": "parquet", ".feather": "ipc", ".arrow": "ipc", ".ipc": "ipc", ".orc": "orc",
}  # fmt: skip


def form(path: str) -> str | None:
    """Return the format of a table by its name, or None for what is no table."""
    name = path.lower()
    for suffix in _PACKED:
        if name.endswith(suffix):
            found = _FORMATS.get(os.path.splitext(name.removesuffix(suffix))[1])  # noqa: PTH122
            return found if found in ("csv", "json") else None
    return _FORMATS.get(os.path.splitext(name)[1])  # noqa: PTH122


def rows_of(paths: Sequence[str], *, timeout: float) -> dict[str, str]:
    """Return the digests of the rows of the tables that can be read in the given seconds.

    Parameters
    ----------
    paths : sequence of str
        Absolute paths; each is read as it is when its turn comes.
    timeout : float
        Seconds for all of them.
    """
    wanted = [path for path in paths if form(path)]
    if not wanted or timeout <= 0:
        return {}
    try:
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps(wanted).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
            cwd="/",
            # The folder of this file holds modules of ours under short names.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        said = done.stdout
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
    except OSError:
        return {}
    found = {}
    for line in said.splitlines(keepends=True):
        if line.endswith(b"\n"):
            path, rows = json.loads(line)
            if rows is not None:
                found[path] = rows
    return found


def rows(path: str) -> str | None:
    """Return the digest of the rows of a table, or None where it cannot be read.

    This loads pyarrow for the formats that need it, and raises nothing.
    """
    reader = {"csv": _csv, "json": _json, "parquet": _arrow, "ipc": _arrow, "orc": _arrow}
    kind = form(path)
    if kind is None:
        return None
    try:
        return reader[kind](path)
    except Exception:  # noqa: BLE001 - readers of all sorts, files of all sorts
        return None


# --- text


def _text(path: str) -> IO[str]:
    import bz2
    import gzip
    import lzma

    opener: Mapping[str, Callable[..., Any]] = {
        ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open,
    }  # fmt: skip
    suffix = os.path.splitext(path.lower())[1]  # noqa: PTH122
    return opener.get(suffix, open)(  # type: ignore[no-any-return]
        path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline=""
    )


def _csv(path: str) -> str:
    import csv

    import msgspec
    from blake3 import blake3

    csv.field_size_limit(1 << 30)
    encode = msgspec.msgpack.Encoder().encode
    found = blake3(b"csv\0")
    with _text(path) as file:
        delimiter = _delimiter(file.read(1 << 16))
        file.seek(0)
        batch: list[bytes] = []
        for row in csv.reader(file, delimiter=delimiter):
            if row:
                batch.append(encode([_plain(field) for field in row]))
            if len(batch) == 4096:
                found.update(b"".join(batch))
                batch.clear()
        found.update(b"".join(batch))
    return f"blake3:{found.hexdigest()}"


def _plain(field: str) -> str:
    """Return a field without what MessagePack has no form for."""
    return field if field.isascii() else field.encode("utf-8", "surrogateescape").decode("latin-1")


def _delimiter(start: str) -> str:
    first = start.partition("\n")[0]
    return max(",\t;|", key=first.count)


def _json(path: str) -> str:
    import msgspec
    from blake3 import blake3

    decode = msgspec.json.Decoder().decode
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    found = blake3(b"json\0")
    with _text(path) as file:
        for line in file:
            if line.strip():
                found.update(encode(decode(line)))
    return f"blake3:{found.hexdigest()}"


# --- Arrow


def _arrow(path: str) -> str:
    from blake3 import blake3

    names, columns = None, []
    for batch in _batches(path):
        if names is None:
            names = list(batch.schema.names)
            columns = [_Column(field.type) for field in batch.schema]
        for column, array in zip(columns, batch.columns, strict=True):
            column.feed(array)
    told = [[name, column.digest()] for name, column in zip(names or (), columns, strict=True)]
    return f"blake3:{blake3(json.dumps(['arrow', told]).encode()).hexdigest()}"


def _batches(path: str) -> Iterator[Any]:
    """Yield the record batches of a file, an empty one first: it tells the schema."""
    import pyarrow as pa

    kind = form(path)
    if kind == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            yield _empty(file.schema_arrow)
            yield from file.iter_batches(batch_size=1 << 16)
    elif kind == "orc":
        from pyarrow import orc

        stripes = orc.ORCFile(path)
        yield _empty(stripes.schema)
        for number in range(stripes.nstripes):
            yield stripes.read_stripe(number)
    else:
        with pa.OSFile(path) as source:
            start = source.read(6)
            source.seek(0)
            if start[:4] == b"FEA1":
                from pyarrow import feather

                table = feather.read_table(path)
                yield _empty(table.schema)
                yield from table.to_batches()
            elif start == b"ARROW1":
                reader = pa.ipc.open_file(source)
                yield _empty(reader.schema)
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number)
            else:
                stream = pa.ipc.open_stream(source)
                yield _empty(stream.schema)
                yield from stream


def _empty(schema: Any) -> Any:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema=schema)


class _Column:
    """Feeds a column of any type to hashes, whatever it is cut into."""

    def __init__(self, kind: Any) -> None:
        from blake3 import blake3

        self.kind = _bare(kind)
        self.count = 0
        self.nulls, self.values = blake3(), blake3()
        self.children = [_Column(child) for child in _inner(self.kind)]

    def feed(self, array: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.types as is_

        array = _decoded(array, self.kind)
        if array.null_count:
            where = pc.add(pc.indices_nonzero(pc.is_null(array)).cast(pa.int64()), self.count)
            self.nulls.update(_fixed(where))
        self.count += len(array)
        if is_.is_null(self.kind):
            return
        array = array.drop_null()
        if is_.is_boolean(self.kind):
            self.values.update(_fixed(array.cast(pa.uint8())))
        elif is_.is_large_string(self.kind) or is_.is_large_binary(self.kind):
            self.values.update(_fixed(pc.binary_length(array).cast(pa.int64())))
            self.children[0].values.update(_texts(array))
        elif is_.is_large_list(self.kind):
            self.values.update(_fixed(pc.list_value_length(array).cast(pa.int64())))
            self.children[0].feed(array.flatten())
        elif is_.is_struct(self.kind):
            for child, part in zip(self.children, array.flatten(), strict=True):
                child.feed(part)
        else:
            self.values.update(_fixed(array))

    def digest(self) -> str:
        from blake3 import blake3

        told = [
            str(self.kind), self.count, self.nulls.hexdigest(), self.values.hexdigest(),
            [child.digest() for child in self.children],
        ]  # fmt: skip
        return str(blake3(json.dumps(told).encode()).hexdigest())


def _bare(kind: Any) -> Any:
    """Return the one type that stands for all that hold the same values."""
    import pyarrow as pa
    import pyarrow.types as is_

    if isinstance(kind, pa.BaseExtensionType):
        return _bare(kind.storage_type)
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return _bare(kind.value_type)
    name = str(kind)
    if is_.is_string(kind) or is_.is_large_string(kind) or name == "string_view":
        return pa.large_string()
    if is_.is_binary(kind) or is_.is_large_binary(kind) or name == "binary_view":
        return pa.large_binary()
    if is_.is_map(kind):
        pair = pa.struct([("key", _bare(kind.key_type)), ("value", _bare(kind.item_type))])
        return pa.large_list(pa.field("item", pair))
    if is_.is_struct(kind):
        return pa.struct([pa.field(f.name, _bare(f.type)) for f in kind])
    if is_.is_nested(kind) and not is_.is_union(kind):
        return pa.large_list(pa.field("item", _bare(kind.value_type)))
    if is_.is_union(kind):
        msg = "a union has no rows that could be compared"
        raise TypeError(msg)
    return kind


def _inner(kind: Any) -> list[Any]:
    import pyarrow as pa
    import pyarrow.types as is_

    if is_.is_struct(kind):
        return [field.type for field in kind]
    if is_.is_large_list(kind):
        return [kind.value_type]
    if is_.is_large_string(kind) or is_.is_large_binary(kind):
        return [pa.uint8()]  # their bytes
    return []


def _decoded(array: Any, kind: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as is_

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if is_.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    return array if array.type == kind else array.cast(kind)


def _fixed(array: Any) -> Any:
    """Return the bytes of an array of one width without nulls."""
    data = array.buffers()[1]
    width = array.type.bit_width // 8
    if data is None or not len(array):
        return b""
    return data[array.offset * width : (array.offset + len(array)) * width]


def _texts(array: Any) -> Any:
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return b""
    view = memoryview(offsets).cast("B").cast("q")
    return data[view[array.offset] : view[array.offset + len(array)]]


def _main() -> None:
    for path in json.load(sys.stdin):
        small = os.path.getsize(path) <= LARGEST if os.path.isfile(path) else False  # noqa: PTH113, PTH202
        print(json.dumps([path, rows(path) if small else None]), flush=True)  # noqa: T201


if __name__ == "__main__":
    _main()
