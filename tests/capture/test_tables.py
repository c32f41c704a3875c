"""The rows of tables: the same however they are encoded, others as soon as one value is."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro_nb.capture.data import tables

ROWS = 5000


def table(**other: Any) -> Any:
    import pyarrow as pa

    columns = {
        "i": pa.array([None if i % 7 == 0 else i for i in range(ROWS)]),
        "s": pa.array([None if i % 5 == 0 else f"tëxt{i % 100}" for i in range(ROWS)]),
        "b": pa.array([i % 3 == 0 for i in range(ROWS)]),
        "f": pa.array([i / 3 for i in range(ROWS)], pa.float32()),
        "t": pa.array([dt.datetime(2020, 1, 1)] * ROWS, pa.timestamp("us", tz="UTC")),
        "l": pa.array([[i, None] if i % 2 else None for i in range(ROWS)]),
        "r": pa.array([{"a": i, "b": str(i)} if i % 3 else None for i in range(ROWS)]),
        "d": pa.array([decimal.Decimal("1.5")] * ROWS),
        "m": pa.array([[("k", i)] for i in range(ROWS)], pa.map_(pa.string(), pa.int64())),
        "n": pa.nulls(ROWS),
        "v": pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float32(), 2)),
        "c": pa.array(["x", "y"] * (ROWS // 2)).dictionary_encode(),
    }
    return pa.table({**columns, **other})


def test_another_encoding_of_the_same_rows_is_told_from_other_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    one = table()
    wide = one.set_column(1, "s", one["s"].cast(pa.large_string())).set_column(
        11, "c", one["c"].cast(pa.string())
    )
    same = {
        "zstd": lambda p: pq.write_table(one, p, compression="zstd"),
        "snappy": lambda p: pq.write_table(one, p, compression="snappy", row_group_size=333),
        "plain": lambda p: pq.write_table(one, p, use_dictionary=False),
        "wide": lambda p: pq.write_table(wide, p),
    }
    found = set()
    files = set()
    for name, write in same.items():
        path = tmp_path / f"{name}.parquet"
        write(path)
        files.add(path.read_bytes())
        found.add(tables.rows(str(path)))
    feather.write_feather(one, tmp_path / "a.feather", chunksize=77)
    feather.write_feather(wide, tmp_path / "b.arrow", compression="uncompressed")
    with (
        pa.OSFile(str(tmp_path / "s.arrow"), "wb") as file,
        pa.ipc.new_stream(file, one.schema) as stream,
    ):
        stream.write_table(one, max_chunksize=100)
    found |= {tables.rows(str(tmp_path / n)) for n in ("a.feather", "b.arrow", "s.arrow")}
    assert len(files) > 1
    assert len(found) == 1
    assert None not in found
    others = {
        "a value": table(i=[None if i % 7 == 0 else i + (i == ROWS - 1) for i in range(ROWS)]),
        "a null": table(i=[None if i % 7 == 0 or i == 1 else i for i in range(ROWS)]),
        "a type": table(f=pa.array([i / 3 for i in range(ROWS)])),
        "a zone": table(t=pa.array([dt.datetime(2020, 1, 1)] * ROWS, pa.timestamp("us"))),
        "a name": one.rename_columns(["I", *one.column_names[1:]]),
        "the order of columns": one.select(one.column_names[::-1]),
        "the order of rows": pa.concat_tables([one.slice(1), one.slice(0, 1)]),
        "a row less": one.slice(1),
        "a field's name": table(r=[{"a": i, "c": "x"} if i % 3 else None for i in range(ROWS)]),
        "where lists are cut": table(l=[[i] if i % 2 else [None] for i in range(ROWS)]),
        "no rows": one.slice(0, 0),
    }  # fmt: skip
    for what, other in others.items():
        path = tmp_path / "other.parquet"
        pq.write_table(other, path)
        rows = tables.rows(str(path))
        assert rows is not None, what
        assert rows not in found, what
        found.add(rows)


def test_text_that_moves_between_two_values_is_another_table(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = set()
    for values in (["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None], [None, "abc"]):
        pq.write_table(pa.table({"s": values}), tmp_path / "t.parquet")
        found.add(tables.rows(str(tmp_path / "t.parquet")))
    assert len(found) == 5


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_a_csv_is_its_fields(rows: list[tuple[str, str]]) -> None:
    import csv
    import tempfile

    # Whatever is quoted that need not be, however lines end.
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "a.csv"), Path(folder, "b.csv")
        head = [("x", "y"), *rows]
        with one.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(head)
        with other.open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(head)
        assert tables.rows(str(one)) == tables.rows(str(other)) is not None
        with gzip.open(f"{folder}/c.csv.gz", "wb") as packed:
            packed.write(one.read_bytes())
        assert tables.rows(f"{folder}/c.csv.gz") == tables.rows(str(one))
        with other.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([*head, ("one", "more")])
        assert tables.rows(str(one)) != tables.rows(str(other))


def test_json_lines_are_their_values(tmp_path: Path) -> None:
    texts = {
        "a.jsonl": '{"a": 1, "b": [2]}\n{"a": null}\n',
        "b.ndjson": '{"b":[2],"a":1}\r\n\r\n{"a":null}',
        "c.jsonl": '{"a": 1, "b": [2]}\n{"a": 0}\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, newline="")
    a, b, c = (tables.rows(str(tmp_path / name)) for name in texts)
    assert a == b != c
    assert None not in (a, b, c)


def test_what_is_no_table_or_is_broken_has_no_rows(tmp_path: Path) -> None:
    for name, content in {
        "a.parquet": b"PAR1 nonsense PAR1", "b.jsonl": b"{", "c.feather": b"", "d.csv.gz": b"no",
        "e.png": b"a,b", "f.parquet.gz": b"", "g": b"",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert tables.rows(str(tmp_path / name)) is None, name
    assert tables.rows(str(tmp_path / "missing.csv")) is None
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9,1\n")
    assert tables.rows(str(tmp_path / "latin.csv")) is not None


def test_the_users_process_loads_no_reader_and_his_modules_are_not_ours(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    (tmp_path / "csv.py").write_text("raise SystemExit('mine')")
    (tmp_path / "pyarrow.py").write_text("raise SystemExit('mine')")
    program = (
        "import sys, json\nfrom mlrepro_nb.capture.data import tables\n"
        "found = tables.rows_of([sys.argv[1]], timeout=60)\n"
        "print(json.dumps([found, 'pyarrow' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.remove('')\n" + program,
         str(tmp_path / "t.parquet")],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    found, loaded = json.loads(done.stdout)
    assert found == {str(tmp_path / "t.parquet"): tables.rows(str(tmp_path / "t.parquet"))}
    assert loaded is False


def test_time_that_is_up_leaves_what_was_read_by_then(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    assert tables.rows_of([str(path)], timeout=0) == {}
    os.mkfifo(tmp_path / "never.csv")
    found = tables.rows_of([str(path), str(tmp_path / "never.csv")], timeout=60)
    assert list(found) == [str(path)]


def test_a_record_tells_rows_and_diff_and_verify_say_re_encoded(
    kernel: Callable, repository: Path, store: Any
) -> None:
    import nbformat
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlrepro_nb.changes import changes
    from mlrepro_nb.record import record
    from mlrepro_nb.verify import verify

    values = pa.table({"a": list(range(100))})
    pq.write_table(values, repository / "t.parquet", compression="zstd")
    cell = "import os\nopen('t.parquet', 'rb').read()\nprint(os.path.getsize('t.parquet'))"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(nb, repository / "n.ipynb")
    digest, before = record(repository / "n.ipynb", lock=False)
    assert before.data[0].rows == tables.rows(str(repository / "t.parquet"))
    pq.write_table(values, repository / "t.parquet", compression="none")
    found = verify(digest)
    (cause,) = found.causes
    assert (cause.kind, cause.subject) == ("changed-data", "t.parquet")
    assert "its rows are the same" in cause.evidence
    _, after = record(repository / "n.ipynb", lock=False)
    (change,) = (c for c in changes(before, after) if c.part == "data")
    assert change.after is not None
    assert change.after.endswith("(re-encoded, rows unchanged)")
    pq.write_table(values.slice(1), repository / "t.parquet")
    (cause,) = verify(digest).causes
    assert "rows or columns are not the same" in cause.evidence
