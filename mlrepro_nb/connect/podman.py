"""Podman, and buildah in it: does what the Containerfile says without BuildKit.

All files of what it builds get one date (``--timestamp``, since podman 3), so that
the same plan gives the same image. What it cannot: HEALTHCHECK, which OCI's format
of an image has no place for, and podman writes no other way repeatably.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mlrepro_nb.connect import buildkit, command
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Report, Step, silent

_STEP = re.compile(r"(?:\[(?P<stage>\d+)/\d+\] )?STEP (?P<done>\d+)/(?P<total>\d+): (?P<what>.*)")
_NOISE = re.compile(
    r"-->|COMMIT|Getting image source|Copying (?:blob|config)|Writing manifest|Storing sig"
    r"|[0-9a-f]{64}$"
)


class Podman(msgspec.Struct, frozen=True, kw_only=True):
    """A podman that answers."""

    program: str
    url: str | None
    """Socket of its service, where that builds; else it builds by itself."""
    version: str

    @property
    def title(self) -> str:
        """What it is called where a person, or an image's document, names it."""
        return f"podman {self.version}"

    @property
    def command(self) -> list[str]:
        """What each call of it begins with."""
        return [self.program, *(("--url", self.url) if self.url else ())]


def find() -> Podman | None:
    """Return the podman that is here instead of a Docker Engine.

    Either there is no ``docker`` command, or what answers it is podman's service.

    Raises
    ------
    ToolError
        What answers is podman's service, but there is no ``podman`` to build with.
    """
    program = shutil.which("podman")
    docker = shutil.which("docker")
    url = None
    if docker is not None:
        ended = command.run([docker, "version", "--format", "{{json .Server}}"], timeout=20)
        if not ended.ok or not _is_podman(ended.stdout):
            return None
        url = os.environ.get("DOCKER_HOST")
        if program is None:
            raise ToolError(
                "The engine that answers is podman, which builds only for its own command.",
                "Install podman here, too, or build with --builder oci.",
                tool="podman",
            )
    if program is None:
        return None
    ended = command.run([program, "--version"], timeout=20)
    number = re.search(r"\d+(?:\.\d+)+\S*", ended.stdout)
    return Podman(program=program, url=url, version=number[0] if number else "unknown")


def _is_podman(server: str) -> bool:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        parts = (json.loads(server) or {}).get("Components") or ()
        return any(part.get("Name") == "Podman Engine" for part in parts)
    return False


def build(
    found: Podman,
    context: Path,
    target: Path,
    *,
    containerfile: str,
    epoch: int,
    secrets: Mapping[str, Path] | None = None,
    no_cache: bool = False,
    report: Report = silent,
) -> None:
    """Build an image and write it as an OCI layout; podman keeps it, too, without a name.

    Parameters
    ----------
    context, target, containerfile, epoch, secrets
        As for BuildKit; `target` is an empty folder.

    Raises
    ------
    ToolError
        A step of the build failed.
    """

    def line(text: str) -> None:
        if step := _STEP.match(text):
            stage = f"stage {step['stage']}: " if step["stage"] else ""
            what = re.sub(r"--mount=\S+ +", "", " ".join(step["what"].split()))
            report(
                Step(
                    message=f"{stage}{what[:100]}",
                    done=float(step["done"]),
                    total=float(step["total"]),
                )
            )
        elif text and not _NOISE.match(text) and "HEALTHCHECK is not supported" not in text:
            report(Step(message=text[:200], log=True))

    if found.url:
        # The service gets secrets as files of the context, and must not ignore them.
        with (context / ".dockerignore").open("a", encoding="utf-8") as ignored:
            ignored.write("!podman-build-secret*\n")
    with tempfile.TemporaryDirectory(prefix="mlrepro-podman-") as scratch:
        identity = Path(scratch) / "id"
        arguments = [
            *found.command, "build", "--format", "oci", "--timestamp", str(epoch),
            "--iidfile", str(identity), "--file", str(context / containerfile),
        ]  # fmt: skip
        for name, path in sorted((secrets or {}).items()):
            arguments += ["--secret", f"id={name},src={path}"]
        if no_cache:
            arguments.append("--no-cache")
        ended = command.stream([*arguments, str(context)], line)
        if not ended.ok:
            raise buildkit.meaning("podman build", ended.stderr)
        archive = target / "image.tar"
        saved = command.run(
            [*found.command, "save", "--quiet", "--format", "oci-archive", "--output",
             str(archive), identity.read_text(encoding="utf-8").strip()],
        )  # fmt: skip
        if not saved.ok:
            raise buildkit.meaning("podman save", saved.stderr)
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.isfile() and re.fullmatch(
                r"(?:blobs/sha256/[0-9a-f]{64}|[\w.-]+)", member.name
            ):
                content = opened.extractfile(member)
                place = target / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                if content is not None:
                    with place.open("wb") as file:
                        shutil.copyfileobj(content, file, 1 << 20)
    archive.unlink()
