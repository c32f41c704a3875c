"""The packages of the operating system as a layer: their files, and that they are there.

Their own scripts are not run. What those of shared libraries would have done is done
here: the list of libraries, by which the dynamic linker finds them, is written anew.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.connect import debian, glibc, oci
from mlrepro_nb.image import _platforms
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders.oci._skeleton import Made, layer
from mlrepro_nb.image.system._base import BaseSystem, base_system
from mlrepro_nb.model import Report, digest_bytes

_FORMAT = 1
_STATUS = "var/lib/dpkg/status.d"
"""A file a package, as distroless images have them; scanners read it."""
_LEFT_OUT = re.compile(
    r"usr/share/(?:doc/[^/]+/(?!(?:.*/)?copyright$)|man/|info/|groff/|lintian/|linda/|bug/"
    r"|locale/(?!locale\.alias$)).*"
)
"""What the official slim images leave out, too; the licences stay."""


def packages(plan: Plan, downloads: oci.Cache, cache: oci.Cache, report: Report) -> Made:
    """Return the layer of the plan's packages; what is not in `downloads` is fetched."""
    base = base_system(plan, downloads, report)
    archive = debian.Archive(plan.archives, _platforms.debian(plan.machine), downloads)
    files = [archive.fetch(package, report) for package in plan.packages]
    about = {
        "packages": _FORMAT,
        "debs": [[p.name, p.sha256] for p in plan.packages],
        "links": base.links,
        "libraries": digest_bytes(base.libraries),
    }

    def write(writer: oci.LayerWriter) -> None:
        _Tree(writer, base).all(plan.packages, files)

    made = layer("packages of the operating system", about, cache, write)
    return msgspec.structs.replace(made, system=True)


class _Tree:
    """The root folder of an image, as far as a layer writes to it."""

    def __init__(self, writer: oci.LayerWriter, base: BaseSystem) -> None:
        self._writer = writer
        self._base = base
        self._seen: set[str] = set()

    def all(self, packages: Sequence[debian.Package], files: Sequence[Path]) -> None:
        """Write packages."""
        public: set[str] = set()
        notes: dict[str, str] = {}
        for package, path in zip(packages, files, strict=True):
            with debian.opened(path) as deb:
                self._files(deb.data)
                public |= set(_public(deb.control.get("shlibs", "")))
                notes[package.name] = deb.control.get("control", "").rstrip("\n") + "\n"
        self._libraries(public)
        for name, text in sorted(notes.items()):
            self._folders(f"{_STATUS}/{name}")
            self._writer.file(f"{_STATUS}/{name}", text.encode())

    def _files(self, data: tarfile.TarFile) -> None:
        for member in sorted(data.getmembers(), key=lambda m: m.name):
            path = self._place(member.name)
            if path is None or path in self._seen or _LEFT_OUT.fullmatch(path):
                continue
            if member.issym():
                self._new(path)
                self._writer.link(path, member.linkname)
            elif member.isfile() or member.islnk():
                content = data.extractfile(member)
                if content is None:
                    continue
                self._new(path)
                with content:
                    # Nothing in a container may become another user: no set-user-id.
                    held = oci.spooled(content)  # type: ignore[arg-type]
                    self._writer.file(path, held, executable=bool(member.mode & 0o111))

    def _place(self, name: str) -> str | None:
        """Return where a package's file goes, past the links that the base image has."""
        path = posixpath.normpath(name.lstrip("/"))
        if path in (".", "..") or path.startswith("../"):
            return None
        top, _, rest = path.partition("/")
        target = self._base.links.get(top)
        return f"{target}/{rest}" if target and rest else path

    def _new(self, path: str) -> None:
        self._seen.add(path)
        self._folders(path)

    def _folders(self, path: str) -> None:
        parts = path.split("/")[:-1]
        for at in range(1, len(parts) + 1):
            self._writer.folder("/".join(parts[:at]))

    def _libraries(self, public: set[str]) -> None:
        found: dict[str, str] = {}
        # The shortest path: a library's usual folder before one of its own.
        for path in sorted(self._seen, key=lambda p: (p.count("/"), p)):
            name = posixpath.basename(path)
            if name in public:
                found.setdefault(name, f"/{path}")
        content = glibc.with_libraries(self._base.libraries, found) if found else None
        if content is not None:
            self._folders(glibc.PATH.lstrip("/"))
            self._writer.file(glibc.PATH.lstrip("/"), content)


def _public(shlibs: str) -> list[str]:
    """Return the names by which others may link to a package's libraries."""
    found = []
    for line in shlibs.splitlines():
        words = line.split()
        if len(words) >= 2 and not words[0].endswith(":") and not line.startswith("#"):
            name, version = words[:2]
            found += [f"{name}.so.{version}", f"{name}-{version}.so"]
    return found
