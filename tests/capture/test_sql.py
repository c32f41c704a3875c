"""Which texts of a statement are files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture.data.readers.sql import files


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("select * from 't.parquet'", [("t.parquet", "read")]),
        ("select * from read_csv('t.csv') where x = 'u.csv'", [("t.csv", "read")]),
        ("from 'a.csv', 'b.csv' where n in ('c.csv')", [("a.csv", "read"), ("b.csv", "read")]),
        ("copy (select * from 'a.csv') to 'o'", [("a.csv", "read"), ("o", "write")]),
        ("attach if not exists database 'x.db'", [("x.db", "both")]),
        ("export database 'dir'; import database 'dir'", [("dir", "write"), ("dir", "read")]),
        ("from read_parquet(['a', 'b'], filename = 'c')", [("a", "read"), ("b", "read")]),
        ('select "a.b" from "x.csv"', [("x.csv", "read")]),
        ("select 'it''s' from 'it''s.csv' -- from 'no'", [("it's.csv", "read")]),
        ("select * from t where name = 'from'", []),
        ("select $$ from 'x' $$", []),
    ],
)
def test_files_are_told_from_values(statement: str, found: list[tuple[str, str]]) -> None:
    assert list(files(statement)) == found


@given(st.text(alphabet="'\"$ ()[],;-*/abfromtoE\n", max_size=80))
def test_any_statement_can_be_read(statement: str) -> None:
    list(files(statement))
