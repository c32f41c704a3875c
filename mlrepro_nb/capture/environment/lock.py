"""The lock: what reproduces a recorded environment, with hashes, and where the store keeps it.

It is a requirements file, which pip and uv both install from with hashes
required. What no index has is in the store as a wheel; a blob's digest is the
wheel's hash. What cannot be in it is said in a comment.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.capture.environment import archive
from mlrepro_nb.connect import releases, uv
from mlrepro_nb.errors import NotFoundError, StoreError, ToolError
from mlrepro_nb.model import (
    Distribution,
    Environment,
    Record,
    Report,
    Step,
    digest,
    digest_bytes,
    short,
    silent,
)
from mlrepro_nb.store import Store, write_atomically

_MOST_MISSING = 40
"""Pins that no index has, each of which costs a try; more mean that it is another index."""
_OPEN = "# not in this lock: "
_UNHASHED = re.compile(r"(?m)^(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>\S+)[ \t]*$")
"""A pin of which the index gave no hash."""


def locked(
    record: Record, store: Store, *, installed: Mapping[str, str] = {}, offline: bool = False,
    report: Report = silent,
) -> Record:  # fmt: skip
    """Return a record with the lock of its environment.

    Without uv or the index it is returned as it is, and the report says why.
    The index is asked only once for a set of distributions.

    Parameters
    ----------
    installed
        Where distributions are, by name: what the index turns out not to have is archived.
    offline
        Use only a lock that the store has.
    """
    environment = record.environment
    if not environment.distributions:
        return record
    pins, wheels, left = _split(environment)
    found = cached(store, [*pins, *wheels.values()], environment)
    if found is None and not offline:
        report(Step(message=f"locking {len(pins)} distributions"))
        try:
            found = _resolved(store, pins, wheels, left, environment, installed)
        except (ToolError, StoreError) as error:
            report(Step(message=f"The environment is not locked: {error.message}", log=True))
    if found is None:
        return record
    blob = digest_bytes(found.encode())
    gaps = [
        f"The lock of the environment lacks {line.removeprefix(_OPEN)}."
        for line in found.splitlines()
        if line.startswith(_OPEN)
    ]
    lineage = record.lineage
    if gaps:
        lineage = msgspec.structs.replace(
            lineage, capture="partial", gaps=tuple(dict.fromkeys((*lineage.gaps, *gaps)))
        )
    return msgspec.structs.replace(
        record, environment=msgspec.structs.replace(environment, lock=blob), lineage=lineage
    )


def installed(events: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return where the distributions that a recorder told of are, by name."""
    found: dict[str, str] = {}
    for kind, data in events:
        if kind == "distributions" and isinstance(data, dict):
            found |= {d["name"]: d["location"] for d in data.get("distributions", ())}
    return found


def write(store: Store, blob: str, folder: Path) -> Path:
    """Write a lock and the wheels that it names into a folder; return the requirements file.

    Raises
    ------
    NotFoundError
        The store has not got all of it.
    """
    text = _blob(store, blob, "lock of the recorded environment").decode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, hashed in re.findall(r"(?m)^\./(\S+\.whl) --hash=(sha256:[0-9a-f]{64})$", text):
        (folder / name).write_bytes(_blob(store, hashed, f"wheel {name}, which the lock names"))
    target = folder / "requirements.txt"
    target.write_text(text, encoding="utf-8")
    return target


def _blob(store: Store, blob: str, what: str) -> bytes:
    try:
        return store.blobs.get(blob)
    except NotFoundError:
        raise NotFoundError(
            f"The store lacks the {what}.", "Use the store that the notebook was recorded into."
        ) from None


def cached(store: Store, pins: Sequence[str], environment: Environment) -> str | None:
    """Return the lock of these pins, if they were locked before."""
    if not pins:
        return ""
    try:
        named = _pointer(store, pins, environment).read_text(encoding="ascii").strip()
        found = store.blobs.get(named).decode()
        # One without hashes installs nothing. Such locks were kept formerly.
        return None if _UNHASHED.search(found) else found
    except (OSError, UnicodeDecodeError, NotFoundError, StoreError):
        return None


def resolve(store: Store, pins: Sequence[str], environment: Environment) -> str:
    """Lock the pins and keep the lock; the index is asked only the first time.

    Raises
    ------
    ToolError
        uv is missing, the index cannot be reached or lacks a pin.
    """
    found = cached(store, pins, environment)
    if found is not None:
        return found
    made = _asked(pins, environment)
    _keep(store, pins, environment, made)
    return made


def url(distribution: Distribution) -> str | None:
    """Return where a wheel is downloaded from that was installed by its URL."""
    source = distribution.source or ""
    is_url = source.startswith(("https://", "http://"))
    return source if distribution.origin == "wheel" and is_url else None


def _split(
    environment: Environment,
) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Return pins of what an index has, wheels by name, and what neither has, with the reason."""
    pins: list[str] = []
    wheels: dict[str, str] = {}
    left: dict[str, str] = {}
    for found in environment.distributions:
        named = f"{found.name} {found.version}"
        if found.origin == "index":
            pins.append(f"{found.name}=={found.version}")
        elif address := url(found):
            pins.append(f"{found.name} @ {address}")
        elif found.wheel is not None:
            wheels[found.name] = found.wheel
        elif found.origin == "conda":
            continue  # environment.conda has it, by URL and hash
        elif found.origin == "system":
            left[named] = f"the operating system's package {found.source or 'of that name'}"
        elif found.origin == "editable" and found.commit:
            left[named] = f"installed in place from commit {found.commit[:12]}"
        elif not found.imported and not found.loaded_by:
            left[named] = "installed from a folder; the run did not use it"
        else:
            left[named] = ""
    return pins, wheels, left


def _resolved(
    store: Store, pins: list[str], wheels: dict[str, str], left: dict[str, str],
    environment: Environment, installed: Mapping[str, str],
) -> str:  # fmt: skip
    wanted = list(pins)
    open_: dict[str, str] = {}
    archived = dict(wheels)
    while True:
        try:
            text = _asked(wanted, environment)
            break
        except uv.MissingPinError as error:
            gone = [p for p in wanted if re.match(rf"{re.escape(error.name)}(?:==| @ )", p)]
            if not gone or len(open_) >= _MOST_MISSING:
                raise
            wanted = [pin for pin in wanted if pin not in gone]
            made_again = archive.wheel(Path(installed.get(error.name, "")))
            if made_again is not None:
                archived[error.name] = store.blobs.put(made_again[1])
            else:
                open_ |= dict.fromkeys(gone, "no index has it and it was not archived")
    lines = [f"# {name}: {why}" for name, why in left.items() if why]
    open_ |= {name: "it comes from no index" for name, why in left.items() if not why}
    lines += [f"{_OPEN}{name} ({why})" for name, why in sorted(open_.items())]
    for name in sorted(archived):
        file = archive.file_name(store.blobs.get(archived[name]))
        lines.append(f"./{file} --hash={archived[name]}")
    made = "".join(f"{line}\n" for line in lines) + text
    _keep(store, [*pins, *wheels.values()], environment, made)
    return made


def _asked(pins: Sequence[str], environment: Environment) -> str:
    python = environment.python.rstrip("+")

    def hashed(pin: re.Match[str]) -> str:
        name, version = pin["name"], pin["version"]
        hashes = [f"--hash=sha256:{one}" for one in releases.hashes(name, version, python)]
        told = f"# {name} {version}: its index gives no hash; this is of the file that it served\n"
        return told + " \\\n    ".join([f"{name}=={version}", *hashes])

    return _UNHASHED.sub(hashed, uv.lock(pins, python=python, machine=environment.system.machine))


def _keep(store: Store, pins: Sequence[str], environment: Environment, text: str) -> None:
    pointer = _pointer(store, pins, environment)
    blob = store.blobs.put(text.encode())
    with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to fail
        pointer.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(pointer, blob.encode("ascii"))


def _pointer(store: Store, pins: Sequence[str], environment: Environment) -> Path:
    key = digest([sorted(pins), environment.python, environment.system.machine])
    return store.root / "locks" / short(key, 64)
