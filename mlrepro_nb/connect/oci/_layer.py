"""Layer tars that are the same, byte for byte, wherever and whenever they are made.

Every entry has the same date, root as its owner, and one of two permissions. The
tar is compressed as a series of gzip members (RFC 1952, 2.2) by one version of
one implementation: zlib gives other bytes than zlib-ng or an accelerated zlib
does, and nobody can tell which of them a Python has. libdeflate depends on its
version alone, which is pinned and checked; it is also twice as fast. What comes
compressed is not compressed again: it becomes a member as it is.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import struct
import tarfile
import tempfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from mlrepro_nb.connect.oci._header import header
from mlrepro_nb.connect.oci._write import damaged
from mlrepro_nb.errors import ToolError

COMPRESSOR = "deflate 0.9.0"
"""Distribution that compresses. Another version may give other digests, so it is
part of what a layer is found by, and named on the image."""

_LEVEL = 6
_MEMBER = 1 << 20
_HELD = 64 << 20
"""Bytes of a file that are held in memory."""
_BLOCK = 512
_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""Of a gzip member that says no more than that it is one."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that was written."""

    digest: str
    """Of the compressed tar."""
    size: int
    diff_id: str
    """Of the tar itself."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a file in a layer holds."""

    sha256: bytes
    size: int


class Deflated(msgspec.Struct, frozen=True, kw_only=True):
    """A file's content as it lies in an archive, compressed (RFC 1951)."""

    pieces: Iterable[bytes]
    size: int
    """Of the content itself."""
    crc: int


def check_compressor() -> None:
    """Refuse to compress with another version than the pinned one.

    Raises
    ------
    ToolError
        It is not installed, or another one is.
    """
    from importlib import metadata

    name, _, version = COMPRESSOR.partition(" ")
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = None
    if found != version:
        has = f"{name} {found} is installed" if found else "it is not installed"
        raise ToolError(
            f"Building an image needs {name} {version}, and {has}.",
            f"pip install {name}=={version} (mlrepro-nb[containers] brings it): with another "
            "version the image would get another digest.",
            tool=name,
        )


class LayerWriter:
    """Writes a tar, compressed, into a file.

    Paths are those in the image, without a leading slash. Folders are not
    written by themselves: see `parents`. No path may come twice: Docker refuses
    such a layer.

    Parameters
    ----------
    file
        Where the compressed tar goes.
    part
        Whether this is to be joined with others: then the folders, which others may
        have too, are only noted in `folders`.
    """

    def __init__(self, file: IO[bytes], *, part: bool = False) -> None:
        import deflate

        self.folders: list[str] = []
        self.members: list[int] = []
        """Sizes of the gzip members so far."""
        self._part = part
        self._compress, self._decompress = deflate.gzip_compress, deflate.gzip_decompress
        self._damage = deflate.DeflateError
        self._file = file
        self._waiting = bytearray()
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        self.size = 0
        self._known: set[str] = set()

    def folder(self, path: str, *, mode: int = 0o755) -> None:
        """Add a folder, once."""
        if path not in self._known:
            self._known.add(path)
            self.folders.append(path)
            if self._part:
                return
            self._write(header(path, tarfile.DIRTYPE, mode))

    def known(self, *paths: str) -> None:
        """Leave out folders that a layer below has already."""
        self._known.update(paths)

    def parents(self, path: str, below: str) -> None:
        """Add the folders of a path that lie below a folder."""
        at = below
        for part in path[len(below) :].strip("/").split("/")[:-1]:
            at = f"{at}/{part}"
            self.folder(at)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._write(header(path, tarfile.SYMTYPE, 0o777, link=target))

    def file(self, path: str, content: bytes | BinaryIO, *, executable: bool = False) -> Content:
        """Add a file and return what it holds."""
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        stream.seek(0, io.SEEK_END)
        size = stream.tell()
        stream.seek(0)
        self._write(header(path, tarfile.REGTYPE, 0o755 if executable else 0o644, size=size))
        digest = hashlib.sha256()
        left = size
        while left:
            piece = stream.read(min(left, _MEMBER))
            if not piece:
                raise OSError(f"{path} was cut short while it was read")
            digest.update(piece)
            self._write(piece)
            left -= len(piece)
        self._write(b"\0" * (-size % _BLOCK))
        return Content(sha256=digest.digest(), size=size)

    def deflated(self, path: str, content: Deflated, *, executable: bool = False) -> Content:
        """Add a file that is compressed already, which is not done again.

        Only where its very bytes are pinned: another compressor's are another layer.

        Raises
        ------
        ValueError
            It is not what it is said to be. What was written is of no use then.
        """
        size = content.size
        self._write(header(path, tarfile.REGTYPE, 0o755 if executable else 0o644, size=size))
        self.flush()
        digest = hashlib.sha256()
        whole = self._inflated if size <= _HELD else self._inflated_by_pieces
        for plain in whole(path, content):
            digest.update(plain)
            self._plain.update(plain)
        self._write(b"\0" * (-size % _BLOCK))
        return Content(sha256=digest.digest(), size=size)

    def _inflated(self, path: str, content: Deflated) -> Iterator[bytes | bytearray]:
        """Put a gzip member and yield what is in it; libdeflate takes a third of zlib's time."""
        end = struct.pack("<II", content.crc, content.size)
        member = b"".join((_HEAD, *content.pieces, end))
        try:
            plain = self._decompress(member)
        except self._damage as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if len(plain) != content.size:
            raise ValueError(f"{path} is damaged")
        self._put(member)
        self.members.append(len(member))
        yield plain

    def _inflated_by_pieces(self, path: str, content: Deflated) -> Iterator[bytes | bytearray]:
        """Do the same of what is too big to be held in memory."""
        inflate, crc, left = zlib.decompressobj(-zlib.MAX_WBITS), 0, content.size
        start = self.size
        self._put(_HEAD)
        try:
            for piece in content.pieces:
                self._put(piece)
                plain = inflate.decompress(piece)
                crc = zlib.crc32(plain, crc)
                left -= len(plain)
                yield plain
        except zlib.error as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if not inflate.eof or inflate.unused_data or left or crc != content.crc:
            raise ValueError(f"{path} is damaged")
        self._put(struct.pack("<II", crc, content.size & 0xFFFFFFFF))
        self.members.append(self.size - start)

    def _write(self, data: bytes) -> None:
        self._plain.update(data)
        self._waiting += data
        while len(self._waiting) >= _MEMBER:
            self._pack(bytes(self._waiting[:_MEMBER]))
            del self._waiting[:_MEMBER]

    def _pack(self, data: bytes) -> None:
        packed = bytes(self._compress(data, _LEVEL))
        self._put(packed)
        self.members.append(len(packed))

    def _put(self, packed: bytes) -> None:
        self._packed.update(packed)
        self._file.write(packed)
        self.size += len(packed)

    def flush(self) -> None:
        """End the gzip member, so that what comes next can be joined to it."""
        if self._waiting:
            self._pack(bytes(self._waiting))
            self._waiting.clear()

    def join(self, segment: Path, members: Iterable[int]) -> None:
        """Add entries that another writer wrote into a file and did not end.

        Parameters
        ----------
        members
            Sizes of its members: libdeflate reads one at once, in a third of zlib's time.

        Raises
        ------
        MlreproError
            It is not what was written.
        """
        self.flush()
        with segment.open("rb") as file:
            for size in members:
                member = file.read(size)
                self._put(member)
                try:
                    for plain in self._within(member):
                        self._plain.update(plain)
                except (self._damage, EOFError, OSError, struct.error) as error:
                    raise damaged(segment) from error

    def _within(self, member: bytes) -> Iterator[bytes | bytearray]:
        if struct.unpack("<I", member[-4:])[0] <= _HELD:
            yield self._decompress(member)
            return
        with gzip.open(io.BytesIO(member)) as stream:
            while piece := stream.read(_MEMBER):
                yield piece

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return f"sha256:{self._packed.hexdigest()}"

    def end(self) -> Layer:
        """End the tar and return what it is."""
        self._write(b"\0" * (2 * _BLOCK))
        self.flush()
        return Layer(
            digest=self.digest,
            size=self.size,
            diff_id=f"sha256:{self._plain.hexdigest()}",
        )


def compress(tar: Path, target: IO[bytes]) -> Layer:
    """Compress a whole tar into a file, by the pinned compressor and on all cores."""
    import deflate

    plain, packed = hashlib.sha256(), hashlib.sha256()
    size = 0
    workers = os.cpu_count() or 1
    with tar.open("rb") as source, ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[bytearray]] = deque()
        while True:
            piece = source.read(_MEMBER)
            if piece:
                plain.update(piece)
                waiting.append(pool.submit(deflate.gzip_compress, piece, _LEVEL))
            if not waiting:
                break
            if not piece or len(waiting) > 2 * workers:
                member = waiting.popleft().result()
                packed.update(member)
                target.write(member)
                size += len(member)
    return Layer(
        digest=f"sha256:{packed.hexdigest()}", size=size, diff_id=f"sha256:{plain.hexdigest()}"
    )


def spooled(stream: BinaryIO) -> BinaryIO:
    """Return a stream that knows its size, in memory unless it is big."""
    held: BinaryIO = tempfile.SpooledTemporaryFile(max_size=_HELD)  # type: ignore[assignment]  # noqa: SIM115
    shutil.copyfileobj(stream, held, _MEMBER)
    held.seek(0)
    return held
