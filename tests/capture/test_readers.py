"""Every reader and writer: the record names its file, in its cell, with what was done to it."""

# ruff: noqa: E501
from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.capture import reader_rows as rows
from tests.conftest import framework

LOAD = "%load_ext mlrepro_nb"

FRAMEWORKS = ("torch", "safetensors", "lightgbm", "xgboost")
SCIENCE = ("cv2", "imageio", "netCDF4", "soundfile", "tables", "xarray", "zarr", "datasets")


def _need(names: tuple[str, ...]) -> None:
    for name in names:
        framework(name)


def _made(folder: Path, script: str) -> Path:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def _slug(name: str) -> str:
    return name.replace(" ", "-").replace(".", "-")


def _run(kernel: Callable, repository: Path, made: Path | None, table: dict[str, Any]) -> Any:
    """Run each row as a cell of one kernel, in a folder of its own."""
    k = kernel()
    k.run(LOAD)
    for name, row in table.items():
        folder = repository / _slug(name)
        if made is None:
            folder.mkdir()
        else:
            shutil.copytree(made, folder)
        k.run(f"%cd -q {folder}")
        said = k.run(row[0])
        assert not said["errors"], (name, said)
    k.close()
    return k.record()


def _check(
    record: Any, repository: Path, table: dict[str, Any], access: str, *, also: tuple[str, ...] = ()
) -> None:
    """Assert that the rows' files are in the record, and no others."""
    seen = {(d.repo_path, d.access): d for d in record.data}
    wrong = {}
    for number, (name, row) in enumerate(table.items()):
        path = f"{_slug(name)}/{row[1]}"
        found = seen.pop((path, access), None)
        if found is None:
            wrong[name] = "not seen"
        elif found.execution != 2 * number + 2:
            wrong[name] = f"in execution {found.execution}, not {2 * number + 2}"
        elif found.digest != f"blake3:{blake3((repository / path).read_bytes()).hexdigest()}":
            wrong[name] = f"digest {found.digest}"
    assert wrong == {}
    rest = {key for key, found in seen.items() if key[1] not in also}
    assert rest == set(), "no files but those"


def _of_data(record: Any) -> list[str]:
    """Return the gaps, without those of a kernel that a busy machine gave no time to end."""
    late = ("The kernel ended", "Whether the files of", "The digest of")
    return [gap for gap in record.lineage.gaps if not gap.startswith(late)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made(tmp_path_factory.mktemp("data") / "made", rows.MAKE)


def test_each_reader_is_seen_in_its_cell(kernel: Callable, repository: Path, made: Path) -> None:
    record = _run(kernel, repository, made, rows.READS)
    _check(record, repository, rows.READS, "read")
    assert _of_data(record) == []


def test_each_writer_is_seen_in_its_cell(kernel: Callable, repository: Path, made: Path) -> None:
    record = _run(kernel, repository, made, rows.WRITES)
    _check(record, repository, rows.WRITES, "write", also=("read",))
    assert [d.repo_path for d in record.data if d.access == "read"] == ["r+/t.txt"]
    assert _of_data(record) == []


def test_what_frameworks_read_is_seen(kernel: Callable, repository: Path, tmp_path: Path) -> None:
    _need(FRAMEWORKS)
    record = _run(
        kernel, repository, _made(tmp_path / "made", rows.MAKE_FRAMEWORKS), rows.READS_FRAMEWORKS
    )
    _check(record, repository, rows.READS_FRAMEWORKS, "read")
    assert _of_data(record) == []


def test_what_frameworks_write_is_seen(kernel: Callable, repository: Path) -> None:
    _need(FRAMEWORKS)
    record = _run(kernel, repository, None, rows.WRITES_FRAMEWORKS)
    _check(record, repository, rows.WRITES_FRAMEWORKS, "write")
    assert _of_data(record) == []


def test_what_libraries_for_images_sound_and_grids_read_is_seen(
    kernel: Callable, repository: Path, tmp_path: Path
) -> None:
    _need(SCIENCE)
    record = _run(
        kernel, repository, _made(tmp_path / "made", rows.MAKE_SCIENCE), rows.READS_SCIENCE
    )
    inside = [d for d in record.data if d.repo_path is not None]
    assert {(d.repo_path, d.access) for d in inside} == {
        (f"{_slug(name)}/{row[1]}", "read") for name, row in rows.READS_SCIENCE.items()
    }


def test_what_libraries_for_images_sound_and_grids_write_is_seen(
    kernel: Callable, repository: Path
) -> None:
    _need(SCIENCE)
    record = _run(kernel, repository, None, rows.WRITES_SCIENCE)
    _check(record, repository, rows.WRITES_SCIENCE, "write")


def test_folders_of_arrays_are_their_files(
    kernel: Callable, repository: Path, tmp_path: Path
) -> None:
    _need(SCIENCE)
    made = _made(tmp_path / "made", rows.MAKE_SCIENCE)
    table = {
        "zarr": ("import zarr; zarr.open_array('t.zarr')[:]", "t.zarr"),
        "datasets": ("import datasets; list(datasets.load_from_disk('saved'))", "saved"),
    }
    record = _run(kernel, repository, made, table)
    names = {d.repo_path for d in record.data}
    assert {d.access for d in record.data} == {"read"}
    assert "datasets/saved/data-00000-of-00001.arrow" in names
    assert any(str(name).startswith("zarr/t.zarr/c/") for name in names)
    for name, row in table.items():
        files = {p.relative_to(repository).as_posix()
                 for p in (repository / name / row[1]).rglob("*") if p.is_file()}  # fmt: skip
        assert {n for n in names if str(n).startswith(name)} <= files


def test_what_is_read_below_python_is_seen_and_said_to_be_seen_from_outside_only(
    kernel: Callable, repository: Path, made: Path
) -> None:
    record = _run(kernel, repository, made, rows.NATIVE)
    _check(record, repository, rows.NATIVE, "read")
    assert {layer for d in record.data for layer in d.layers} == {"inotify"}
    assert record.lineage.capture == "partial"
    for _, _, named in rows.NATIVE.values():
        assert any(named in gap for gap in record.lineage.gaps), (named, record.lineage.gaps)


def test_urls_are_named_whoever_fetches_them(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    cells = {
        "memory://x.csv": "import fsspec, pandas as pd\nfsspec.filesystem('memory').pipe('x.csv', b'a\\n1\\n')\npd.read_csv('memory://x.csv')",
        "http://127.0.0.1:9/pandas.csv": "import pandas as pd\ntry: pd.read_csv('http://127.0.0.1:9/pandas.csv')\nexcept OSError: pass",
        "http://127.0.0.1:9/requests": "import requests\ntry: requests.get('http://127.0.0.1:9/requests')\nexcept OSError: pass",
        "http://127.0.0.1:9/httpx": "import httpx\ntry: httpx.get('http://127.0.0.1:9/httpx')\nexcept httpx.HTTPError: pass",
        "http://127.0.0.1:9/fsspec": "import fsspec\ntry: fsspec.filesystem('http').cat('http://127.0.0.1:9/fsspec')\nexcept Exception: pass",
        "http://127.0.0.1:9/polars.csv": "import polars\ntry: polars.scan_csv('http://127.0.0.1:9/polars.csv', storage_options={'max_retries': '0'})\nexcept Exception: pass",
        "s3://bucket/key": "from pyarrow import fs\ns3 = fs.S3FileSystem(anonymous=True, endpoint_override='127.0.0.1:9', scheme='http', connect_timeout=0.1, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1))\ntry: s3.open_input_file('bucket/key')\nexcept OSError: pass",
        "http://127.0.0.1:9/wget": "!wget -q --tries=1 http://127.0.0.1:9/wget",
    }  # fmt: skip
    for code in cells.values():
        said = k.run(code)
        assert not said["errors"], (code, said)
    found = {(d.path, d.access): d.execution for d in k.data()}
    assert found.pop(("memory://x.csv", "write")) == 1
    assert found == {(url, "read"): number for number, url in enumerate(cells, 1)}
