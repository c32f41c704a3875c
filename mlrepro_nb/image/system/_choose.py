"""Which packages of the operating system an image lacks that the recorded run used."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mlrepro_nb.connect import debian, glibc, oci
from mlrepro_nb.errors import NotFoundError, StoreError, ToolError, UsageError
from mlrepro_nb.image import _platforms
from mlrepro_nb.image._plan import Plan, Problem
from mlrepro_nb.image._settings import Settings
from mlrepro_nb.image.system._base import BaseSystem, base_system, own_sources
from mlrepro_nb.model import Environment, Report, SharedLibrary, digest, short
from mlrepro_nb.store import Store, write_atomically

_FORMAT = 1
_OTHERS = frozenset({
    "alpine", "almalinux", "amzn", "centos", "fedora", "ol", "opensuse", "opensuse-leap",
    "opensuse-tumbleweed", "rhel", "rocky", "sles", "wolfi", "chimera", "azurelinux", "mariner",
})  # fmt: skip
"""Systems whose packages have other names than Debian's."""
_NEVER = re.compile(
    # The graphics driver is the machine's, which lends it to the container.
    r"libcuda\d.*|libcudadebugger.*|libnvidia-.*|nvidia-.*|libnvcuvid.*|xserver-.*-nvidia.*"
    # How a machine finds its users and hosts.
    r"|libnss-.*"
    # The interpreter is the base image's, its distributions are those of the lock.
    r"|(?:lib)?python3(?:\.\d+)?(?:-.*)?"
)
_EXTENSION = re.compile(r".*\.(?:cpython-\d+.*|abi3|pypy\d+.*)\.so")
_VERSIONED = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?:=(\S+))?")


class _Lock(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for a set of libraries on a base image."""

    packages: tuple[debian.Package, ...] = ()
    archives: tuple[debian.Source, ...] = ()
    notes: tuple[str, ...] = ()


def with_packages(
    plan: Plan, environment: Environment, settings: Settings, store: Store, *, offline: bool,
    report: Report,
) -> Plan:  # fmt: skip
    """Return a plan with the packages that its base image lacks.

    What was found once is kept in the store, so that the same record on the same
    base image gets the same packages later.
    """
    named = _named(settings.packages)
    used = wanted(environment, settings.exclude)
    if not (named or used) or plan.base_digest is None:
        return plan
    mirror = os.environ.get("MLREPRO_APT_MIRROR") or settings.apt_mirror
    key = digest([_FORMAT, plan.base_digest, plan.machine, named, _told(used)])
    pointer = store.root / "locks" / f"os-{short(key, 64)}"
    found = None
    with contextlib.suppress(OSError, NotFoundError, StoreError, msgspec.DecodeError):
        blob = store.blobs.get(pointer.read_text(encoding="ascii").strip())
        found = msgspec.json.decode(blob, type=_Lock)
    problems: tuple[Problem, ...] = ()
    if found is None and offline:
        found = _Lock(notes=("Whether the image needs packages of the operating system is found "
                             "when it is built.",))  # fmt: skip
    elif found is None:
        try:
            found = _find(plan, environment, used, named, mirror, report)
        except ToolError as error:
            found = _Lock()
            problems = (Problem(message=error.message, remedy=error.remedy),)
        else:
            with contextlib.suppress(OSError):
                kept = store.blobs.put(msgspec.json.encode(found))
                pointer.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(pointer, kept.encode("ascii"))
    return msgspec.structs.replace(
        plan,
        packages=found.packages,
        archives=tuple(debian.located(source, mirror) for source in found.archives),
        notes=(*plan.notes, *found.notes),
        problems=(*plan.problems, *problems),
    )


def wanted(environment: Environment, exclude: Iterable[str] = ()) -> tuple[SharedLibrary, ...]:
    """Return the recorded libraries that a package of the operating system brought."""
    conda = {package.name for package in environment.conda}
    left_out = set(exclude)
    return tuple(
        library
        for library in environment.libraries
        if library.package
        and library.package not in conda
        and library.package not in left_out
        and not _NEVER.fullmatch(library.package)
        and not _EXTENSION.fullmatch(library.name)
    )


def candidates(library: str) -> tuple[str, ...]:
    """Return what Debian calls the package of a library, by its policy (8.1).

    >>> candidates("libsndfile.so.1.0.35")
    ('libsndfile1', 'libsndfile1t64')
    """
    match = re.fullmatch(r"(lib[\w.+-]+?)\.so\.(\d+)(?:\..*)?", library)
    if match is None:
        return ()
    name, version = match[1].lower().replace("_", "-"), match[2]
    joined = f"{name}-{version}" if name[-1].isdigit() else f"{name}{version}"
    # libglib-2.0.so.0 is in libglib2.0-0; since 2024 some end in t64, for their time_t.
    names = [joined, re.sub(r"-(?=\d)", "", name, count=1) + joined[len(name) :]]
    return tuple(dict.fromkeys([*names, *(f"{n}t64" for n in names)]))


def _listed(library: str, base: BaseSystem) -> bool:
    """Whether the base image has a library, whatever its package is called there."""
    names = {entry.name for entry in glibc.read(base.libraries) or ()}
    parts = library.split(".")
    return any(".".join(parts[:end]) in names for end in range(2, len(parts) + 1))


def _named(packages: Sequence[str]) -> dict[str, str | None]:
    """Return what the project asks for, ``name`` or ``name=version``."""
    found: dict[str, str | None] = {}
    for text in packages:
        match = _VERSIONED.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{text!r} is no package of the operating system.",
                'Write packages = ["libsndfile1"] or ["libsndfile1=1.2.0-1"] in [tool.mlrepro].',
            )
        found[match[1]] = match[2]
    return found


def _told(used: Iterable[SharedLibrary]) -> list[list[str]]:
    return sorted([u.name, u.package or "", u.version or ""] for u in used)


def _find(
    plan: Plan, environment: Environment, used: Sequence[SharedLibrary],
    named: Mapping[str, str | None], mirror: str | None, report: Report,
) -> _Lock:  # fmt: skip
    cache = oci.Cache()
    base = base_system(plan, cache, report)
    recorded = environment.system.name.lower()
    if not base.known:
        return _Lock(notes=tuple(_not_debian(base, used, named)))
    there = {p.name for p in base.packages}
    foreign = recorded in _OTHERS
    asked: dict[str, str | None] = {}
    guessed: dict[str, tuple[str, ...]] = {}
    for library in used:
        if foreign:
            names = candidates(library.name)
            if not (there & set(names) or _listed(library.name, base)):
                guessed[library.name] = names
        elif library.package:
            asked[library.package] = library.version
    asked |= named
    if not guessed and set(asked) <= there:
        return _Lock()
    archives, available, notes = _available(base, plan, cache, mirror, report)
    known = {p.name for p in available}
    for library_name, names in sorted(guessed.items()):
        name = next((n for n in names if n in known), None)
        if name is None:
            notes.append(_nobody(library_name, environment))
        elif name not in there:
            asked.setdefault(name, None)
            notes.append(
                f"{library_name} was a package of {recorded}; in the image it is {base.title}'s "
                f"{name}."
            )
    found = debian.resolve(asked, base.packages, available)
    same = recorded == base.name
    for name in found.absent:
        if name in named:
            raise ToolError(
                f"{base.title} has no package {name}.",
                "Correct `packages` in [tool.mlrepro].",
                tool="apt",
            )
        files = [u.name for u in used if u.package == name]
        notes.append(_nobody(", ".join(files) or name, environment))
    chosen = {p.name: p.version for p in found.packages}
    for name, version in found.others.items():
        if name in chosen and same:
            notes.append(
                f"The run used {name} {version}; the archive of {base.title} has "
                f"{chosen[name]}, which the image gets."
            )
    notes += [
        f"{text}, which cannot be had on {base.title}: it may not work. A newer base image may "
        "have it."
        for text in found.unmet
    ]
    return _Lock(packages=found.packages, archives=archives, notes=tuple(notes))


def _available(
    base: BaseSystem, plan: Plan, cache: oci.Cache, mirror: str | None, report: Report
) -> tuple[tuple[debian.Source, ...], tuple[debian.Package, ...], list[str]]:
    """Return where packages are and which: as the base image's apt has it, else this machine's."""
    ways = [base.sources]
    if not mirror and (own := own_sources(base.codename)):
        ways.append(own)
    failed: ToolError | None = None
    for sources in ways:
        archive = debian.Archive(
            [debian.located(s, mirror) for s in sources],
            _platforms.debian(plan.machine),
            cache,
            base.keyring,
        )
        try:
            found = archive.packages(report)
        except ToolError as error:
            failed = failed or error
            continue
        if not found:
            continue
        notes = [f"{why} Its packages were not considered." for why in archive.silent]
        if not archive.signed:
            notes.append(
                "The archive's signature was not checked (gpgv or the base image's keys are not "
                "here): that what was locked is right rests on whoever serves it. What is built "
                "later is held to the hashes."
            )
        return sources, found, notes
    raise failed or ToolError(
        f"Nobody says where the packages of {base.title} are.",
        "Name a mirror: apt-mirror in [tool.mlrepro], or MLREPRO_APT_MIRROR.",
        tool="apt",
    )


def _not_debian(
    base: BaseSystem, used: Iterable[SharedLibrary], named: Mapping[str, str | None]
) -> Iterable[str]:
    if named:
        raise UsageError(
            f"The base image ({base.title}) takes no packages of Debian's: {', '.join(named)}.",
            "Choose a base image made of Debian or Ubuntu, or one that has them: --base.",
        )
    names = sorted({u.package or u.name for u in used} - {"libc6", "glibc", "musl"})
    if names:
        yield (
            f"The base image ({base.title}) is not made of Debian's packages, so nothing was "
            f"added to it. The run used {', '.join(names)}: see that it has these libraries."
        )


def _nobody(libraries: str, environment: Environment) -> str:
    system = f"{environment.system.name} {environment.system.version}".strip()
    return (
        f"{libraries} came from a package of {system} that the base image's archives do not have. "
        "If the notebook needs it, name the package there, packages = [...] in [tool.mlrepro], or "
        "choose another --base."
    )
