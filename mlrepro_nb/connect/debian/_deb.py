"""What is in a ``.deb``: an ar archive of two tars.

https://manpages.debian.org/deb(5)
"""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from mlrepro_nb.connect import zstd
from mlrepro_nb.errors import MlreproError

_MAGIC = b"!<arch>\n"
_HEADER = 60
_CHUNK = 1 << 20


class Deb(msgspec.Struct, frozen=True, kw_only=True):
    """An open package."""

    control: dict[str, str]
    """The files about it by name: ``control``, ``shlibs``, ``postinst``…"""
    data: Any
    """The tar of its files."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Deb]:
    """Yield what is in a ``.deb``.

    Raises
    ------
    MlreproError
        It is none.
    ToolError
        It is compressed with zstd, which nothing here reads.
    """
    with path.open("rb") as file, tempfile.TemporaryFile() as plain:
        members = dict(_members(file, path))
        control = next((n for n in members if n.startswith("control.tar")), None)
        data = next((n for n in members if n.startswith("data.tar")), None)
        if control is None or data is None:
            raise _broken(path, "it has no data")
        try:
            with (
                _plain(control, file, members[control]) as stream,
                tarfile.open(fileobj=io.BytesIO(stream.read())) as archive,
            ):
                texts = {
                    m.name.rpartition("/")[2]: _text(archive, m) for m in archive if m.isfile()
                }
            with _plain(data, file, members[data]) as stream:
                shutil.copyfileobj(stream, plain, _CHUNK)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                yield Deb(control=texts, data=archive)
        except (tarfile.TarError, lzma.LZMAError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _broken(path, str(error)) from error


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    found = archive.extractfile(member)
    return found.read().decode("utf-8", "replace") if found else ""


def _members(file: IO[bytes], path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the names of an ar archive's members, with where each begins and its size."""
    whole = path.stat().st_size
    if file.read(len(_MAGIC)) != _MAGIC:
        raise _broken(path, "it is no ar archive")
    while header := file.read(_HEADER):
        if len(header) < _HEADER or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise _broken(path, "a header is cut short")
        size = int(header[48:58])
        if file.tell() + size > whole:
            raise _broken(path, "a file in it is cut short")
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), (file.tell(), size)
        file.seek(size + size % 2, io.SEEK_CUR)


class _Part(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._at, self._end = file, start, start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        piece = self._file.read(min(len(buffer), self._end - self._at))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


@contextlib.contextmanager
def _plain(name: str, file: IO[bytes], where: tuple[int, int]) -> Iterator[IO[bytes]]:
    part = io.BufferedReader(_Part(file, *where), _CHUNK)
    kind = name.rpartition(".tar")[2]
    if kind == ".zst":
        with zstd.opened(part, "Packages of this release") as found:
            yield found
        return
    if kind == "":
        yield part
    elif kind == ".gz":
        with gzip.open(part) as unzipped:
            yield io.BufferedReader(unzipped)
    elif kind in (".xz", ".lzma"):
        with lzma.open(part) as found:
            yield found
    else:
        raise MlreproError(f"{name} is compressed in a way that is not known here.", "Report it.")


def _broken(path: Path, why: str) -> MlreproError:
    return MlreproError(f"{path.name} is no Debian package: {why}.", "Delete it and build again.")
