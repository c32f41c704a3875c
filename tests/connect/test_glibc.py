"""The list of shared libraries gets more lines, as ldconfig would write them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.connect import glibc

LDCONFIG = shutil.which("ldconfig", path="/sbin:/usr/sbin")
HERE = Path(glibc.PATH)


@pytest.mark.skipif(LDCONFIG is None or not HERE.is_file(), reason="there is no ldconfig")
def test_ldconfig_reads_what_was_added(tmp_path: Path) -> None:
    content = HERE.read_bytes()
    if glibc.read(content) is None:
        pytest.skip("this machine's list is in a form of before 2.32")
    added = {"libzebra.so.3": "/opt/z/libzebra.so.3", "liba.so.10": "/opt/a/liba.so.10"}
    made = glibc.with_libraries(content, added)
    assert made is not None
    (tmp_path / "list").write_bytes(made)
    told = subprocess.run(
        [str(LDCONFIG), "-C", str(tmp_path / "list"), "-p"], check=True, capture_output=True,
        text=True,
    ).stdout  # fmt: skip
    assert all(f"=> {path}\n" in told for path in added.values())
    before = {entry.name for entry in glibc.read(content) or ()}
    assert {entry.name for entry in glibc.read(made) or ()} == before | set(added)
    # The order is ldconfig's own.
    assert [e.name for e in glibc.read(content) or ()] == [
        e.name for e in glibc.read(made) or () if e.name in before
    ]


@given(st.binary(max_size=200))
def test_what_is_no_list_stays_unread(content: bytes) -> None:
    assert glibc.read(content) is None
    assert glibc.with_libraries(b"glibc-ld.so.cache1.1" + content, {"a": "b"}) is None
