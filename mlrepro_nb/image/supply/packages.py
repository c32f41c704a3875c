"""What an image has besides what was put into it, read from its own lists. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from mlrepro_nb.connect import debian, os_release
from mlrepro_nb.image._closure import normal
from mlrepro_nb.image._configuration import LAB, VENV

LISTS = (
    "/var/lib/dpkg/status",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
    "/usr/lib/os-release",
    "/etc/os-release",
)
"""Where an image says what it has; Debian, Alpine and what is made of them."""
_OURS = "|".join(folder.strip("/") for folder in (VENV, LAB))
_PYTHON = re.compile(
    rf"/(?!(?:{_OURS})/).+/(?:site|dist)-packages/(?P<name>[\w.]+)-(?P<version>[\w.!+]+)\.dist-info/METADATA"
)
WANTED = re.compile(
    "|".join(map(re.escape, LISTS)) + rf"|/var/lib/dpkg/status\.d/[\w.+-]+|{_PYTHON.pattern}"
)
"""The same, the lists of distroless images, a file a package, and what Python's installers left."""


class Package(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A package of the operating system."""

    name: str
    version: str
    architecture: str = ""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What an image's operating system is, and its packages."""

    kind: str
    """``deb`` or ``apk``, as in a package URL."""
    name: str
    """``debian``, as its os-release has it."""
    version: str
    packages: tuple[Package, ...]
    python: tuple[Package, ...] = ()
    """Distributions of its own Python."""


def system(texts: Mapping[str, str]) -> System | None:
    """Return the packages that an image's lists name; None where it has no list that is known."""
    release = os_release.of(texts)
    dpkg = [
        text
        for path, text in sorted(texts.items())
        if path.startswith("/var/lib/dpkg/status") and not path.endswith(".md5sums")
    ]
    apk = [text for path, text in sorted(texts.items()) if "/apk/db/" in path]
    if dpkg:
        kind, packages = "deb", {_package(p) for text in dpkg for p in debian.installed(text)}
    elif apk:
        kind, packages = "apk", {p for text in apk for p in _apk(text)}
    else:
        return None
    return System(
        kind=kind,
        name=release.get("ID", "debian" if kind == "deb" else "alpine"),
        version=release.get("VERSION_ID", ""),
        packages=tuple(sorted(packages)),
        python=tuple(sorted({
            Package(name=normal(found["name"]), version=found["version"])
            for path in texts
            if (found := _PYTHON.fullmatch(path))
        })),
    )  # fmt: skip


def _package(found: debian.Package) -> Package:
    return Package(name=found.name, version=found.version, architecture=found.architecture)


def _apk(text: str) -> Iterator[Package]:
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"(?m)^([PVA]):(.*)$", paragraph))
        if fields.get("P") and fields.get("V"):
            yield Package(name=fields["P"], version=fields["V"], architecture=fields.get("A", ""))
