"""An archive of packages: where apt would look, its indexes, its packages; each by its hash."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from mlrepro_nb.connect import download, oci
from mlrepro_nb.connect.command import redact, run
from mlrepro_nb.connect.debian._control import Package, package, paragraphs
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Report, Step

_FIELDS = re.compile(
    r"(?m)^(Package|Version|Architecture|Pre-Depends|Depends|Provides|Filename|SHA256|Size): (.*)$"
)
_OPENERS = ((".xz", lzma.decompress), (".gz", gzip.decompress), ("", bytes))
_ANSWERED = ("https", "http", "file")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One suite of an archive."""

    uri: str
    suite: str
    components: tuple[str, ...]


def sources(files: Mapping[str, str]) -> tuple[Source, ...]:
    """Return what apt's files say, by their names: ``sources.list`` or ``*.sources``."""
    found: dict[Source, None] = {}
    for path, text in sorted(files.items()):
        lines = _deb822(text) if path.endswith(".sources") else _one_line(text)
        found |= dict.fromkeys(lines)
    return tuple(found)


def _deb822(text: str) -> Iterable[Source]:
    for fields in paragraphs(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield from _source(uri, suite, fields.get("components", "").split())


def _one_line(text: str) -> Iterable[Source]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            yield from _source(match[1], match[2], match[3].split())


def _source(uri: str, suite: str, components: list[str]) -> Iterable[Source]:
    # A flat archive (its suite is a folder) has no components; others are no URL.
    if components and not suite.endswith("/") and uri.partition(":")[0] in _ANSWERED:
        yield Source(uri=uri.rstrip("/"), suite=suite, components=tuple(components))


def located(source: Source, mirror: str | None) -> Source:
    """Return a source at a mirror: ``http://mirror`` or ``http://mirror/debian``.

    The path stays: ``/debian-security`` is beside ``/debian`` there, too.
    """
    if not mirror:
        return source
    path = urlsplit(source.uri).path.rstrip("/")
    scheme, host, below, _, _ = urlsplit(mirror)
    below = re.sub(r"/(?:debian|ubuntu)$", "", below.rstrip("/"))
    uri = urlunsplit((scheme, host, below + path, "", ""))
    return msgspec.structs.replace(source, uri=uri)


class Archive:
    """What some sources have for one architecture.

    Parameters
    ----------
    keyring
        Keys of the archive, as gpgv reads them.
    """

    def __init__(
        self, found: Iterable[Source], architecture: str, cache: oci.Cache,
        keyring: bytes | None = None,
    ) -> None:  # fmt: skip
        self.sources = tuple(found)
        self.architecture = architecture
        self.signed = True
        """Whether the signature of all that was read was checked."""
        self.silent: list[str] = []
        """What did not answer, in words."""
        self._cache = cache
        self._keyring = keyring

    def packages(self, report: Report) -> tuple[Package, ...]:
        """Return all packages, those of the suites that answer.

        Raises
        ------
        ToolError
            None answers, or what answers is not what was signed.
        """
        found: dict[tuple[str, str], Package] = {}
        for source in self.sources:
            report(Step(message=f"reading the packages of {source.suite}"))
            try:
                release = self._release(source)
            except download.CutOffError as error:
                self.silent.append(error.message)
                continue
            for component in source.components:
                for one in self._index(source, component, release):
                    found.setdefault((one.name, one.version), one)
        if self.sources and len(self.silent) == len(self.sources):
            raise ToolError(
                f"No archive of packages answers: {self.silent[0]}",
                "Check the network, or name a mirror: apt-mirror in [tool.mlrepro], or "
                "MLREPRO_APT_MIRROR.",
                tool="apt",
            )
        return tuple(found.values())

    def fetch(self, wanted: Package, report: Report) -> Path:
        """Return a package's file, downloaded if the cache does not have it.

        Raises
        ------
        ToolError
            No source has it any more, or only another file of that name.
        """

        def into(path: Path) -> None:
            report(Step(message=f"downloading {wanted.name}"))
            for uri in dict.fromkeys(source.uri for source in self.sources):
                try:
                    _download(f"{uri}/{wanted.file}", path)
                except (FileNotFoundError, download.CutOffError):
                    continue
                if oci.digest_of(path) == f"sha256:{wanted.sha256}":
                    return
                path.unlink()
            raise ToolError(
                f"The package {wanted.name} {wanted.version} cannot be downloaded: no archive has "
                "the file that was locked.",
                "Check the network; an archive drops old versions: name one that keeps them with "
                "apt-mirror in [tool.mlrepro], or build with `--set packages=...` of another "
                "version.",
                tool="apt",
            )

        return self._cache.fetch(f"sha256:{wanted.sha256}", wanted.size, into)

    def _release(self, source: Source) -> dict[str, str]:
        """Return the hashes that a suite's release file names, by path."""
        base = f"{source.uri}/dists/{source.suite}"
        try:
            content = _read(f"{base}/InRelease")
            self.signed &= self._checked(content, base)
        except FileNotFoundError:
            self.signed = False
            try:
                content = _read(f"{base}/Release")
            except FileNotFoundError:
                raise download.CutOffError(
                    f"{redact(base)} is not there.", "Check the mirror.", tool="apt"
                ) from None
        text = content.decode("utf-8", "replace")
        section = re.search(r"(?m)^SHA256:\n((?: .*\n?)+)", text)
        lines = (line.split() for line in section[1].splitlines()) if section else ()
        return {words[2]: words[0] for words in lines if len(words) == 3}

    def _checked(self, content: bytes, base: str) -> bool:
        """Return whether the signature is good; False where it cannot be told."""
        program = shutil.which("gpgv")
        if program is None or not self._keyring:
            return False
        with tempfile.TemporaryDirectory(prefix="mlrepro-keys-") as folder:
            keys, signed = Path(folder) / "keys.gpg", Path(folder) / "InRelease"
            keys.write_bytes(self._keyring)
            signed.write_bytes(content)
            told = run(
                [program, "--status-fd", "1", "--keyring", str(keys), str(signed)], timeout=60
            ).stdout
        if "[GNUPG:] BADSIG" in told:
            raise ToolError(
                f"The signature of {redact(base)}/InRelease is wrong.",
                "Do not ignore this: what served it is not to be trusted.",
                tool="apt",
            )
        return "[GNUPG:] VALIDSIG" in told

    def _index(self, source: Source, component: str, release: Mapping[str, str]) -> list[Package]:
        stem = f"{component}/binary-{self.architecture}/Packages"
        for ending, unpack in _OPENERS:
            hashed = release.get(stem + ending)
            if hashed is None:
                continue
            digest = f"sha256:{hashed}"
            if not self._cache.has(digest):
                try:
                    self._get(source, f"{stem}{ending}", hashed)
                except FileNotFoundError:
                    continue
            return _parsed(self._cache.blob(digest), unpack)
        return []

    def _get(self, source: Source, name: str, hashed: str) -> None:
        """Download an index into the cache: by its hash where that is kept, else by name."""
        folder = f"{source.uri}/dists/{source.suite}"
        parent = name.rpartition("/")[0]
        try:
            content = _read(f"{folder}/{parent}/by-hash/SHA256/{hashed}")
        except (FileNotFoundError, ToolError):
            content = _read(f"{folder}/{name}")
        if hashlib.sha256(content).hexdigest() != hashed:
            raise ToolError(
                f"{redact(folder)}/{name} is not the file that its release names.",
                "The mirror may be in the middle of an update: try again in some minutes. If it "
                "stays so, do not ignore it.",
                tool="apt",
            )
        self._cache.put(content)


def _parsed(path: Path, unpack: Callable[[bytes], bytes]) -> list[Package]:
    text = unpack(path.read_bytes()).decode("utf-8", "replace")
    found = []
    for block in text.split("\n\n"):
        one = package({name.lower(): value for name, value in _FIELDS.findall(block)})
        if one is not None and re.fullmatch(r"[0-9a-f]{64}", one.sha256) and _plain(one.file):
            found.append(one)
    return found


def _plain(path: str) -> bool:
    return bool(path) and not path.startswith("/") and ".." not in path.split("/")


def _read(place: str) -> bytes:
    pieces: list[bytes] = []
    with download.opened(place) as transfer:
        if transfer is None:
            raise FileNotFoundError(place)
        pieces.extend(transfer.chunks)
    return b"".join(pieces)


def _download(place: str, path: Path) -> None:
    """Write a file, going on where an earlier try ended."""
    start = path.stat().st_size if path.exists() else 0
    with download.opened(place, start) as transfer:
        if transfer is None:
            raise FileNotFoundError(place)
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(transfer.start)
            file.truncate()
            for piece in transfer.chunks:
                file.write(piece)
