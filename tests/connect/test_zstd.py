"""zstd is read by Python's library or the program, alike, and refused in words by neither."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from mlrepro_nb.connect import oci, zstd
from mlrepro_nb.errors import ToolError
from tests import debs

PLAIN = b"".join(b"%d, " % number for number in range(40_000))


@pytest.fixture(params=["library", "program"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "program":
        if shutil.which("zstd") is None:
            pytest.skip("there is no zstd program")
        monkeypatch.setattr(zstd, "_LIBRARIES", ())
    else:
        monkeypatch.setenv("PATH", os.devnull)
    return str(request.param)


def read(content: bytes) -> bytes:
    with zstd.opened(io.BytesIO(content), "They") as plain:
        return plain.read()


def test_all_parts_are_read(reader: str) -> None:
    assert read(debs.zst(PLAIN)) == PLAIN
    # As compressors that work in parallel write it.
    assert read(debs.zst(PLAIN[:999]) + debs.zst(PLAIN[999:])) == PLAIN


@pytest.mark.parametrize("spoil", [lambda c: c[:-7], lambda c: c[:9], lambda c: b"No" + c])
def test_what_is_cut_short_or_no_zstd_is_no_shorter_file(reader: str, spoil) -> None:
    with pytest.raises(EOFError):
        read(spoil(debs.zst(PLAIN)))


def test_where_nothing_reads_it_the_error_says_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "_LIBRARIES", ("no.such.library",))
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(ToolError, match="They are compressed with zstd") as raised:
        read(debs.zst(PLAIN))
    assert "backports.zstd" in raised.value.remedy


def test_a_layer_is_read(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(debs.zst(debs.tar({"a": b"1", "b": PLAIN})))
    with oci.opened(path) as archive:
        found = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
    assert found == {"./a": b"1", "./b": PLAIN}
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises((tarfile.TarError, EOFError)), oci.opened(path) as archive:
        archive.getmembers()
