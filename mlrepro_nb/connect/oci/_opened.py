"""Layers, read."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mlrepro_nb.connect import zstd


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Yield a layer's tar, compressed or not, to be read from its start to its end.

    Raises
    ------
    ToolError
        It is compressed with zstd, and nothing here reads that.
    """
    with (
        path.open("rb") as file,
        _plain(file) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        yield archive


@contextlib.contextmanager
def _plain(file: IO[bytes]) -> Iterator[IO[bytes]]:
    start = file.read(len(zstd.MAGIC))
    file.seek(0)
    if start == zstd.MAGIC:
        with zstd.opened(file, "The base image's layers") as plain:
            yield plain
    elif start.startswith(b"\x1f\x8b"):
        with gzip.open(file, "rb") as unzipped:  # not tarfile's: it ends after the first member
            yield io.BufferedReader(unzipped)
    else:
        yield file
