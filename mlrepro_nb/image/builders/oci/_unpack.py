"""A wheel becomes entries of a layer, as an installer would lay it out.

What a wheel means (schemes, scripts, entry points, RECORD) is told by PyPA's own
`installer`; here is only where it goes. Nothing of this machine is written: the
scripts start the image's interpreter.
"""

from __future__ import annotations

import base64
import io
import posixpath
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from mlrepro_nb.connect import oci
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.image._configuration import LAB, LOCAL, NOT_COMPILED, VENV
from mlrepro_nb.image.builders.oci import _bytecode

if TYPE_CHECKING:
    from installer.records import RecordEntry

Compile = Callable[[str], "Callable[[bytes], bytes | None] | None"]
"""Of a path in the image, what makes bytecode of a source there; None if it stays as it is."""

_INSTALLER = b"mlrepro-nb\n"
_WORTH = 64 << 10
"""Bytes from which a file stays compressed as the wheel has it: it takes the longest. Smaller
ones are packed together, which makes them smaller yet."""
_PIECE = 64 << 10
_GENERATOR = re.compile(rb"^Generator: .*$", re.MULTILINE)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a wheel's files go in the image."""

    root: str
    site: str
    python: str
    """Version of the image's interpreter."""
    environment: str = VENV
    """Whose interpreter the scripts start."""
    local: bool = False
    """Whether it was built here: then what built it is left out, and how that compressed it."""

    def folder(self, scheme: str, distribution: str) -> str:
        """Return the folder of one of the wheel's schemes."""
        major, minor = self.python.split(".")[:2]
        return {
            "purelib": self.site,
            "platlib": self.site,
            "scripts": f"{self.root}/bin",
            "data": self.root,
            "headers": f"{self.root}/include/site/python{major}.{minor}/{distribution}",
        }[scheme]


def venv(site: str, python: str) -> Place:
    """Return where the distributions of the lock go."""
    return Place(root=VENV, site=site, python=python)


def lab(site: str, python: str) -> Place:
    """Return where JupyterLab's distributions go."""
    return Place(root=LAB, site=site, python=python, environment=LAB)


def local(python: str) -> Place:
    """Return where the distributions go that were built here."""
    return Place(root=LOCAL, site=LOCAL, python=python, local=True)


def unpack(
    filename: str, path: Path, place: Place, writer: oci.LayerWriter, compiler: Compile | None
) -> tuple[str, ...]:
    """Write a wheel's files into a layer and return their paths.

    Raises
    ------
    MlreproError
        It is no wheel.
    """
    import installer
    from installer.exceptions import InstallerError

    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            source = _source(filename, archive, file)
            target = _target(place, source.distribution, writer, compiler)
            installer.install(source, target, {"INSTALLER": _INSTALLER})
    except (InstallerError, zipfile.BadZipFile, KeyError, ValueError, AssertionError) as error:
        raise MlreproError(
            f"{filename} is not a wheel that can be installed: {error}.",
            "Use another version of that distribution.",
        ) from error
    return tuple(target.paths)


class _Member(io.BufferedReader):
    """A file of a wheel that is worth to stay as it is compressed."""

    def __init__(self, archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> None:
        super().__init__(archive.open(item))  # type: ignore[arg-type]
        self._archive, self._item = archive, item

    def deflated(self) -> oci.Deflated:
        """Return it as it is compressed."""
        item = self._item
        return oci.Deflated(pieces=self._pieces(), size=item.file_size, crc=item.CRC)

    def plain(self) -> bytes:
        """Return what it holds."""
        return _inflated(self._pieces(), self._item)

    def _pieces(self) -> Iterator[bytes]:
        with open(str(self._archive.filename), "rb") as file:
            yield from _raw(file, self._item)


def _opened(archive: zipfile.ZipFile, file: BinaryIO, item: zipfile.ZipInfo) -> BinaryIO:
    """Return what a file of a wheel holds.

    Of thousands that are small, `zipfile` reads each in ten times the time that it takes.
    """
    if item.file_size >= _WORTH:
        packed = item.compress_type == zipfile.ZIP_DEFLATED
        return cast("BinaryIO", _Member(archive, item) if packed else archive.open(item))
    if item.compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        return io.BytesIO(archive.read(item))
    return io.BytesIO(_inflated(_raw(file, item), item))


def _inflated(pieces: Iterable[bytes], item: zipfile.ZipInfo) -> bytes:
    import deflate

    plain: bytes | bytearray = b"".join(pieces)
    try:
        if item.compress_type == zipfile.ZIP_DEFLATED:
            plain = deflate.deflate_decompress(plain, item.file_size)
    except deflate.DeflateError as error:
        raise zipfile.BadZipFile(f"{item.filename} is damaged") from error
    if len(plain) != item.file_size or deflate.crc32(plain) != item.CRC:
        raise zipfile.BadZipFile(f"{item.filename} is damaged")
    return bytes(plain)


def _raw(file: BinaryIO, item: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a file of an archive as it lies there."""
    # The local header: it may hold other extra fields than the directory's.
    file.seek(item.header_offset)
    head = file.read(30)
    if len(head) < 30:
        raise zipfile.BadZipFile(f"{item.filename} is cut short")
    name, extra = struct.unpack_from("<HH", head, 26)
    file.seek(name + extra, io.SEEK_CUR)
    left = item.compress_size
    while left and (piece := file.read(min(left, _PIECE))):
        left -= len(piece)
        yield piece


def _source(filename: str, archive: zipfile.ZipFile, file: BinaryIO) -> Any:
    from installer.sources import WheelFile, WheelSource
    from installer.utils import parse_wheel_filename

    class Source(WheelFile):
        """A wheel in the cache, where it does not have its own name; its files in order."""

        def __init__(self) -> None:
            self._zipfile = archive
            parsed = parse_wheel_filename(filename)
            WheelSource.__init__(self, distribution=parsed.distribution, version=parsed.version)

        def get_contents(self) -> Iterator[tuple[tuple[str, str, str], BinaryIO, bool]]:
            for item in sorted(archive.infolist(), key=lambda i: i.filename):
                if item.filename.endswith("/") or "__pycache__" in item.filename.split("/"):
                    continue  # bytecode of whoever built the wheel
                mode = item.external_attr >> 16
                runs = bool(mode and stat.S_ISREG(mode) and mode & 0o111)
                with _opened(archive, file, item) as stream:
                    yield (item.filename, "", ""), stream, runs

    return Source()


def _target(place: Place, name: str, writer: oci.LayerWriter, compiler: Compile | None) -> Any:
    from installer.destinations import WheelDestination
    from installer.records import Hash, RecordEntry
    from installer.scripts import Script
    from installer.utils import construct_record_file, fix_shebang

    interpreter = f"{place.environment}/bin/python"

    class Target(WheelDestination):
        """A layer of the image."""

        def __init__(self) -> None:
            self.paths: dict[str, RecordEntry] = {}

        def write_script(self, name: str, module: str, attr: str, section: Any) -> RecordEntry:
            file, content = Script(name, module, attr, section).generate(interpreter, "posix")
            return self._write("scripts", file, io.BytesIO(content), executable=True)

        def write_file(
            self,
            scheme: Any,
            path: Any,
            stream: BinaryIO,
            is_executable: bool,  # noqa: FBT001
        ) -> RecordEntry:
            if scheme == "scripts":
                with fix_shebang(stream, interpreter) as fixed:
                    return self._write(scheme, str(path), fixed, executable=True)
            if place.local and str(path).endswith(".dist-info/WHEEL"):
                # Whichever version of which backend built it today.
                stream = io.BytesIO(_GENERATOR.sub(b"Generator: mlrepro-nb", stream.read()))
            return self._write(scheme, str(path), stream, executable=is_executable)

        def _write(
            self, scheme: str, path: str, stream: BinaryIO, *, executable: bool
        ) -> RecordEntry:
            root = place.folder(scheme, name)
            where = posixpath.normpath(f"{root}/{path}")
            if not where.startswith(f"{root}/") or not where.startswith(f"{place.root}/"):
                raise ValueError(f"it writes to {path}, outside of its folder")
            if where in self.paths:
                return self.paths[where]  # an entry point and a script of one name
            compiled = (
                compiler(where)
                if compiler is not None
                and scheme in ("purelib", "platlib")
                and where.endswith(".py")
                and not re.search(NOT_COMPILED, where)
                else None
            )
            source = _plain(stream) if compiled is not None else None
            writer.parents(where.lstrip("/"), place.root.lstrip("/"))
            if isinstance(stream, _Member) and not place.local:
                packed = stream.deflated()
                held = writer.deflated(where.lstrip("/"), packed, executable=executable)
            else:
                content = source or _seekable(stream)
                held = writer.file(where.lstrip("/"), content, executable=executable)
            entry = self.paths[where] = RecordEntry(
                path, Hash("sha256", _encoded(held.sha256)), held.size
            )
            if source is not None and compiled is not None:
                made = compiled(source)
                if made is not None:
                    kept = _bytecode.cached_name(where, place.python)
                    writer.parents(kept.lstrip("/"), place.root.lstrip("/"))
                    writer.file(kept.lstrip("/"), made)
            return entry

        def finalize_installation(
            self, scheme: Any, record_file_path: str, records: Iterable[tuple[Any, RecordEntry]]
        ) -> None:
            own = place.folder(scheme, name)

            def prefix(other: str) -> str | None:
                folder = place.folder(other, name)
                return None if folder == own else posixpath.relpath(folder, own) + "/"

            with construct_record_file(list(records), prefix) as stream:
                self._write(scheme, record_file_path, stream, executable=False)

    return Target()


def _plain(stream: BinaryIO) -> bytes:
    return stream.plain() if isinstance(stream, _Member) else stream.read()


def _seekable(stream: BinaryIO) -> BinaryIO:
    return stream if isinstance(stream, io.BytesIO) else oci.spooled(stream)


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
