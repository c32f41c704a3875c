"""The base image: its layers in the cache, and what has to be known of it. Nothing in it is run."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import msgspec

from mlrepro_nb.connect import oci, registry
from mlrepro_nb.errors import NeedsEngineError, ToolError, UsageError
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.model import Report, Step, short

_FORMAT = 1
_OLDEST = 5
_ALIASES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_BIG = 64 << 20


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What of a base image an environment on it depends on."""

    python: str
    """Path of the interpreter."""
    libc: str
    """``glibc 2.36`` or ``musl 1.2``."""


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A base image whose blobs are in the cache."""

    image: oci.Image
    configuration: dict[str, Any]
    facts: Facts
    repository: str | None = None
    """Where it was pulled from, ``registry/name``."""


def base(plan: Plan, cache: oci.Cache, report: Report) -> Base:
    """Fetch the base image of a plan.

    Raises
    ------
    NeedsEngineError
        Its registry is unreachable or no longer has it.
    ToolError
        It has not the Python of the record.
    """
    image = fetched(plan, cache, report)
    configuration = msgspec.json.decode(cache.blob(image.configuration.digest).read_bytes())
    said = f"{configuration.get('os', 'linux')}/{configuration.get('architecture')}"
    if said != plan.platform:
        raise UsageError(
            f"The base image {plan.base} is for {said}, but the record is of {plan.platform}.",
            "Choose one for that platform with --base.",
        )
    return Base(
        image=image,
        configuration=configuration,
        facts=_facts(plan, image, configuration, cache, report),
        repository=None if plan.base_layout else registry.parse(plan.base).name,
    )


def fetched(plan: Plan, cache: oci.Cache, report: Report) -> oci.Image:
    """Return the base image of a plan, its blobs in the cache."""
    try:
        image, fetch = _from_layout(plan) if plan.base_layout else _from_registry(plan, cache)
        for descriptor in image.blobs:
            wanted = descriptor

            def into(path: Path, wanted: oci.Descriptor = wanted) -> None:
                fetch(wanted, path, report)

            cache.fetch(descriptor.digest, descriptor.size, into)
    except ToolError as error:
        if error.tool != "registry":
            raise
        # An engine may reach it by a mirror that nobody here knows of.
        raise NeedsEngineError(
            error.message, error.remedy, tool=error.tool, output=error.output
        ) from error
    return image


_Fetch = Callable[[oci.Descriptor, Path, Report], None]


def _from_registry(plan: Plan, cache: oci.Cache) -> tuple[oci.Image, _Fetch]:
    reference = plan.base_reference
    about = {"base-manifest": plan.base_digest, "platform": plan.platform}
    noted = cache.note(about)
    if isinstance(noted, str) and cache.has(noted):
        content = cache.blob(noted).read_bytes()
    else:
        content = registry.manifest(reference, platform=plan.platform).content
        cache.write_note(about, cache.put(content))

    def fetch(descriptor: oci.Descriptor, path: Path, report: Report) -> None:
        report(Step(message=f"fetching the base image, {short(descriptor.digest)}"))
        registry.download(reference, descriptor.digest, descriptor.size, path, report=report)

    return oci.image(content, reference), fetch


def _from_layout(plan: Plan) -> tuple[oci.Image, _Fetch]:
    layout = oci.Layout(Path(plan.base_layout or ""))
    image, _ = layout.find(plan.platform)
    if image.digest != plan.base_digest:
        raise UsageError(f"{plan.base_layout} has changed.", "Build again.")

    def fetch(descriptor: oci.Descriptor, path: Path, report: Report) -> None:
        report(Step(message=f"reading the base image, {short(descriptor.digest)}"))
        layout.copy(descriptor.digest, path)

    return image, fetch


def _facts(
    plan: Plan, image: oci.Image, configuration: dict[str, Any], cache: oci.Cache, report: Report
) -> Facts:
    version = ".".join(plan.python.split(".")[:2])
    about = {"base-facts": _FORMAT, "image": image.digest, "python": version}
    noted = cache.note(about)
    if noted:
        return msgspec.convert(noted, Facts)
    report(Step(message="looking through the base image"))
    variables = dict(
        v.partition("=")[::2] for v in (configuration.get("config") or {}).get("Env") or ()
    )
    path = variables.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    seen = _Seen()
    for layer in image.layers:
        seen.layer(cache.blob(layer.digest))
    found = next(
        (f"{d}/python{version}" for d in path if f"{d}/python{version}" in seen.pythons), None
    )
    if found is None:
        others = sorted({posixpath.basename(p) for p in seen.pythons})
        if others:
            raise ToolError(
                "The image cannot be built: the base image has another Python than the record, "
                f"{version}.",
                f"It has {', '.join(others)}. Choose a base image with Python {version}: --base "
                "NAME@sha256:….",
                tool="oci",
            )
        raise ToolError(
            "The base image has no Python on its PATH.",
            "Choose one like the official python:VERSION-slim: --base NAME@sha256:….",
            tool="oci",
        )
    facts = Facts(python=found, libc=seen.libc())
    cache.write_note(about, facts)
    return facts


class _Seen:
    """What the layers of an image leave: interpreters, and the packages' own lists."""

    def __init__(self) -> None:
        self.pythons: set[str] = set()
        self.lists: dict[str, str] = {}
        self.names: set[str] = set()

    def layer(self, path: Path) -> None:
        """Look through one more layer."""
        try:
            with oci.opened(path) as archive:
                for member in archive:
                    self._entry(archive, member)
        except (tarfile.TarError, EOFError, OSError) as error:
            path.unlink(missing_ok=True)
            raise ToolError(
                f"A layer of the base image cannot be read: {error}.", "Build again.", tool="oci"
            ) from error

    def _entry(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = posixpath.normpath("/" + member.name)
        folder, base = posixpath.split(name)
        if base == ".wh..wh..opq":
            self._forget(folder + "/")
        elif base.startswith(".wh."):
            self._forget(posixpath.join(folder, base[4:]))
        elif re.fullmatch(r"python3\.\d+", base) and not member.isdir():
            self.pythons.add(name)
        elif re.fullmatch(r"/(?:usr/)?lib(?:64)?/(?:[\w-]+/)?(?:libc-2\.\d+\.so|ld-musl-.+)", name):
            self.names.add(base)
        elif member.isfile() and member.size < _BIG and name in _LISTS:
            self._read(archive, member, name)
        elif member.isfile() and name == "/var/lib/dpkg/status.d/libc6":
            self._read(archive, member, "/var/lib/dpkg/status")

    def _read(self, archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        found: IO[bytes] | None = archive.extractfile(member)
        if found is not None:
            self.lists[name] = found.read().decode("utf-8", "replace")

    def _forget(self, gone: str) -> None:
        inside = gone if gone.endswith("/") else f"{gone}/"
        self.pythons = {p for p in self.pythons if p != gone and not p.startswith(inside)}

    def libc(self) -> str:
        """Return the C library and its version, the oldest usual one where it is not told."""
        dpkg = re.search(
            r"^Package: libc6\n(?:.+\n)*?Version: (?:\d+:)?(\d+\.\d+)",
            self.lists.get("/var/lib/dpkg/status", ""),
            re.MULTILINE,
        )
        apk = re.search(
            r"^P:musl\nV:(\d+\.\d+)", self.lists.get("/lib/apk/db/installed", ""), re.MULTILINE
        )
        named = [m[1] for n in sorted(self.names) if (m := re.match(r"libc-(2\.\d+)\.so", n))]
        if dpkg:
            return f"glibc {dpkg[1]}"
        if apk or any(n.startswith("ld-musl") for n in self.names):
            return f"musl {apk[1] if apk else '1.1'}"
        return f"glibc {named[-1] if named else '2.17'}"


_LISTS = ("/var/lib/dpkg/status", "/lib/apk/db/installed")


def wheel_platforms(facts: Facts, machine: str) -> list[str]:
    """Return the platform tags of wheels that run on a base image, the best first."""
    kind, _, version = facts.libc.partition(" ")
    major, minor = map(int, version.split(".")[:2])
    if kind == "musl":
        return [*(f"musllinux_{major}_{n}_{machine}" for n in range(minor, -1, -1)),
                f"linux_{machine}"]  # fmt: skip
    found = []
    for number in range(minor, _OLDEST - 1, -1):
        found.append(f"manylinux_{major}_{number}_{machine}")
        if number in _ALIASES:
            found.append(f"{_ALIASES[number]}_{machine}")
    return [*found, f"linux_{machine}"]
