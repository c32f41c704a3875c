"""Which BuildKit there is to build with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from typing import Literal

import msgspec

from mlrepro_nb.connect import command
from mlrepro_nb.connect.buildkit._meanings import meaning
from mlrepro_nb.errors import ToolError

OLDEST = (0, 13)
"""The first version that can date what it builds (`rewrite-timestamp`)."""


class BuildKit(msgspec.Struct, frozen=True, kw_only=True):
    """A BuildKit that answers and gives the same image again."""

    client: Literal["buildctl", "buildx"]
    program: str
    where: str
    """Address of the daemon, or name of buildx's builder."""
    version: str

    @property
    def title(self) -> str:
        """What it is called where a person, or an image's document, names it."""
        return f"buildkit {self.version}"


def find() -> BuildKit | str:
    """Return the BuildKit to build with, or, in words, why none is fit.

    The one that BUILDKIT_HOST names; else the builder that ``docker buildx`` is
    set to use.

    Raises
    ------
    ToolError
        BUILDKIT_HOST names one that does not answer, or there is no ``buildctl``.
    """
    address = os.environ.get("BUILDKIT_HOST")
    found = _of_buildctl(address) if address else _of_buildx()
    if isinstance(found, BuildKit) and _number(found.version) < OLDEST:
        return f"its BuildKit is {found.version}, and dates are rewritten from 0.13 on"
    return found


def _number(version: str) -> tuple[int, ...]:
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    # One that was built from a branch says no number: it is no old one.
    return tuple(map(int, numbers.groups())) if numbers else OLDEST


def _of_buildctl(address: str) -> BuildKit:
    program = command.find(
        "buildctl",
        remedy="BUILDKIT_HOST is set: install buildctl (it comes with BuildKit's releases), or "
        "unset it.",
    )
    ended = command.run([program, "--addr", address, "debug", "info"], timeout=30)
    if not ended.ok:
        raise ToolError(
            f"No BuildKit answers at {command.redact(address)}.",
            "Start buildkitd, or set BUILDKIT_HOST to one that runs.",
            tool="buildctl",
            output=ended.stderr,
        )
    told = re.search(r"^BuildKit:\s+\S+\s+(\S+)", ended.stdout, re.MULTILINE)
    return BuildKit(
        client="buildctl", program=program, where=address, version=told[1] if told else "unknown"
    )


def _of_buildx() -> BuildKit | str:
    program = shutil.which("docker")
    if program is None:
        return "there is no docker command"
    if not command.run([program, "buildx", "version"], timeout=30).ok:
        return "its client has no buildx"
    ended = command.run([program, "buildx", "inspect", "--bootstrap"], timeout=300)
    if not ended.ok:
        raise meaning("docker buildx inspect", ended.stderr)
    told = re.findall(r"^(Name|Driver|BuildKit version):\s+(\S+)", ended.stdout, re.MULTILINE)
    fields = dict(reversed(told))  # the first of each: the nodes' own follow the builder's
    driver = fields.get("Driver", "docker")
    if driver == "docker" and not _keeps_content(program):
        return "it does not keep images as they are pushed (the containerd image store is off)"
    return BuildKit(
        client="buildx",
        program=program,
        where=fields.get("Name", "default"),
        version=fields.get("BuildKit version", "unknown"),
    )


def _keeps_content(program: str) -> bool:
    """Whether the engine has the containerd image store, without which it writes no layout."""
    ended = command.run([program, "info", "--format", "{{json .DriverStatus}}"], timeout=30)
    with contextlib.suppress(ValueError, TypeError):
        return any("io.containerd.snapshotter" in row[1] for row in json.loads(ended.stdout))
    return False
