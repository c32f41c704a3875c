"""What the operating system of a base image is, and what it has. Nothing in it is run."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mlrepro_nb.connect import debian, docker, glibc, oci, os_release
from mlrepro_nb.errors import ToolError
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders.oci._base import fetched
from mlrepro_nb.model import Report, Step

_FORMAT = 1
_FIXED = (
    "/usr/lib/os-release", "/etc/os-release", "/var/lib/dpkg/status", "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list.d/ubuntu.sources",
    glibc.PATH, "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
)  # fmt: skip
"""What there is to know, where the engine is asked file by file."""
_WANTED = re.compile(
    "|".join(map(re.escape, _FIXED))
    + r"|/var/lib/dpkg/status\.d/[\w.+-]+|/etc/apt/sources\.list\.d/[\w.+-]+\.(?:list|sources)"
    r"|/usr/share/keyrings/[\w.-]*archive-keyring\.(?:gpg|pgp)|/(?:bin|sbin|lib|lib32|lib64|libx32)"
)
_MERGED = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}


class BaseSystem(msgspec.Struct, frozen=True, kw_only=True):
    """An operating system of Debian's kind."""

    name: str
    """``debian``."""
    title: str
    codename: str
    packages: tuple[debian.Package, ...]
    sources: tuple[debian.Source, ...]
    """Where its apt would look."""
    libraries: bytes
    """Its list of shared libraries."""
    links: dict[str, str]
    """Folders at the root that lead into another, without the leading slash."""
    keyring: bytes
    """Keys of its archive."""

    @property
    def known(self) -> bool:
        """Whether it has packages of Debian's kind."""
        return bool(self.packages)


def base_system(plan: Plan, cache: oci.Cache, report: Report) -> BaseSystem:
    """Return what the base image has, from its layers; else from an engine that has the image.

    Raises
    ------
    ToolError
        Neither its registry nor an engine gives it.
    """
    about = {"base-system": _FORMAT, "image": plan.base_digest, "platform": plan.platform}
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert(cache.note(about), BaseSystem)
    try:
        image = fetched(plan, cache, report)
    except ToolError:
        if plan.base_layout:
            raise
        found = _system(_by_engine(plan))
    else:
        report(Step(message="looking through the base image"))
        found = _system(
            oci.stacked(oci.entries_in(cache.blob(x.digest), _WANTED) for x in image.layers)
        )
    cache.write_note(about, found)
    return found


def _by_engine(plan: Plan) -> dict[str, oci.Entry]:
    contents = docker.contents(plan.base_reference, _FIXED)
    found = {path: oci.Entry(content=content) for path, content in contents.items()}
    status = contents.get("/var/lib/dpkg/status", b"")
    # The engine follows links where it copies: the package that made them tells.
    if re.search(rb"(?m)^Package: (?:usrmerge|usr-is-merged)$", status):
        found |= {f"/{name}": oci.Entry(link=target) for name, target in _MERGED.items()}
    return found


def _system(found: Mapping[str, oci.Entry]) -> BaseSystem:
    texts = {p: e.content.decode("utf-8", "replace") for p, e in found.items() if e.link is None}
    told = os_release.of(texts)
    status = [t for p, t in texts.items() if p.startswith("/var/lib/dpkg/status")
              and not p.endswith(".md5sums")]  # fmt: skip
    own = debian.sources({p: t for p, t in texts.items() if p.startswith("/etc/apt/")})
    codename = told.get("VERSION_CODENAME", "")
    return BaseSystem(
        name=told.get("ID", ""),
        title=told.get("PRETTY_NAME", told.get("ID", "an operating system without a name")),
        codename=codename,
        packages=tuple(sorted(p for text in status for p in debian.installed(text))),
        sources=own or _usual(told.get("ID", ""), codename),
        libraries=found.get(glibc.PATH, oci.Entry()).content,
        links={
            path.lstrip("/"): entry.link.strip("/")
            for path, entry in found.items()
            if entry.link is not None and path.count("/") == 1
        },
        keyring=b"".join(
            e.content for p, e in sorted(found.items()) if p.startswith("/usr/share/keyrings/")
        ),
    )


def _usual(name: str, codename: str) -> tuple[debian.Source, ...]:
    """Return where the packages of a release usually are, for an image without apt."""
    if not codename or name not in ("debian", "ubuntu"):
        return ()
    if name == "debian":
        text = (
            f"deb http://deb.debian.org/debian {codename} main\n"
            f"deb http://deb.debian.org/debian {codename}-updates main\n"
            f"deb http://deb.debian.org/debian-security {codename}-security main\n"
        )
    else:
        text = "".join(
            f"deb http://archive.ubuntu.com/ubuntu {codename}{end} main universe\n"
            for end in ("", "-updates", "-security")
        )
    return debian.sources({"sources.list": text})


def own_sources(codename: str) -> tuple[debian.Source, ...]:
    """Return where this machine's apt looks for a release, if it is this machine's, too."""
    etc = Path("/etc/apt")
    try:
        here = os_release.parse(Path("/etc/os-release").read_text(encoding="utf-8"))
        files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    except OSError:
        return ()
    if not codename or here.get("VERSION_CODENAME") != codename:
        return ()
    texts = {}
    for path in files:
        if path.suffix in (".list", ".sources") and os.access(path, os.R_OK):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                texts[str(path)] = path.read_text(encoding="utf-8")
    return tuple(s for s in debian.sources(texts) if s.suite.partition("-")[0] == codename)
