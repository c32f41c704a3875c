"""Docker Engine, through the ``docker`` command.

The command, not the HTTP API: only it knows contexts, credential helpers and
BuildKit's session, which secrets and cache mounts need.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from mlrepro_nb.connect import command
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Report, Step, silent

_INSTALL = "Install Docker Engine, or build on a machine that has it; --dry-run needs none."
_VERTEX = re.compile(r"#\d+ \[(?:(?P<stage>[\w.-]+) +)?(?P<done>\d+)/(?P<total>\d+)\] (?P<what>.*)")
_LOG = re.compile(r"#\d+ (?:\d+\.\d+ )?(?P<text>.*)")
_NOISE = re.compile(
    r"sha256:|DONE|CACHED|transferring|extracting|resolve |\[internal\]|\.\.\.|━|done$"
)


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """A Docker Engine that answers."""

    client: str
    server: str
    architecture: str


class LocalImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that the engine has."""

    id: str
    repo_digests: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    size: int = 0
    architecture: str = ""


# What the tools print, what it means, and what to do; the first that matches tells.
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"permission denied while trying to connect",
        "The Docker Engine refuses this user.",
        "Add the user to the group `docker` and log in again, or set DOCKER_HOST to an engine "
        "that you may use.",
    ),
    (
        r"cannot connect to the docker daemon|error during connect|is the docker daemon running",
        "No Docker Engine answers.",
        "Start it (`systemctl start docker`), or set DOCKER_HOST; --dry-run needs none.",
    ),
    (
        r"buildx component is missing or broken|buildkit is not supported|unknown flag: --secret"
        r"|unknown flag: --iidfile|unknown flag: --progress",
        "This docker client cannot build with BuildKit.",
        "Install its buildx plugin (package docker-buildx-plugin or docker-buildx).",
    ),
    (
        r"no space left on device",
        "The disk of the Docker Engine is full.",
        "Free some space (`docker system prune`) and build again.",
    ),
    (
        r"(?P<what>the base image has another Python than the record, [\d.]+)",
        "The image cannot be built: {what}.",
        "Choose a base image with that Python: --base NAME@sha256:….",
    ),
    (
        r"python: not found|No module named (?:pip|venv|ensurepip)|no such option: --python",
        "The base image has no usable Python with pip (22.3 or newer) and venv.",
        "Choose one like the official python:VERSION-slim: --base NAME@sha256:….",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|x509: certificate signed by unknown",
        "TLS certificates could not be verified inside the build.",
        "Give the network's own certificate authority with --ca-bundle FILE (a PEM file).",
    ),
    (
        r"DO NOT MATCH THE HASHES",
        "A package on the index is not the file that the lock pinned.",
        "Do not ignore this: the index serves another file than before. Compare the hashes with "
        "those of the index that you trust.",
    ),
    (
        r"No matching distribution found for (?P<name>[^\s(]+)",
        "The base image's Python finds no distribution of {name} on the package index.",
        "Check that the version still exists and has a wheel for the base image's Python and "
        "platform; --base chooses another one.",
    ),
    (
        r"pull access denied|failed to solve.*lookup |failed to resolve source metadata"
        r"|failed to do request"
        r"|manifest (?:for .* )?(?:unknown|not found)|failed to load metadata|: not found$",
        "The base image cannot be pulled.",
        "Check the reference and that this engine reaches its registry (`docker pull` tells "
        "more), or choose another with --base NAME@sha256:….",
    ),
    (
        r"Temporary failure in name resolution|Network is unreachable|Max retries exceeded"
        r"|Connection to .* timed out|ReadTimeoutError",
        "The package index cannot be reached from inside the build.",
        "Check the engine's network and proxy; an index or proxy in pip's configuration is used.",
    ),
    (
        r"unauthorized|authentication required|no basic auth credentials|denied:",
        "The registry refuses to take the image.",
        "Log in with `docker login REGISTRY`, with an account that may push to the repository.",
    ),
)


def _meaning(doing: str, output: str) -> ToolError:
    for pattern, message, remedy in _MEANINGS:
        if found := re.search(pattern, output, re.IGNORECASE | re.MULTILINE):
            filled = message.format(**{k: v or "" for k, v in found.groupdict().items()})
            return ToolError(filled, remedy, tool="docker", output=output)
    return ToolError(
        f"`docker {doing}` failed.", "What it printed says why.", tool="docker", output=output
    )


def _docker(*arguments: str, timeout: float | None = 120) -> str:
    program = command.find("docker", remedy=_INSTALL)
    ended = command.run([program, *arguments], timeout=timeout)
    if not ended.ok:
        raise _meaning(arguments[0], ended.stderr or ended.stdout)
    return ended.stdout


def engine() -> Engine:
    """Return the engine that answers.

    Raises
    ------
    ToolError
        There is no ``docker`` command, or no engine answers it.
    """
    found = json.loads(_docker("version", "--format", "{{json .}}", timeout=20))
    return Engine(
        client=found["Client"]["Version"],
        server=found["Server"]["Version"],
        architecture=found["Server"]["Arch"],
    )


def inspect(image: str) -> LocalImage | None:
    """Return what the engine knows of an image, or None where it does not have it."""
    try:
        found = json.loads(_docker("image", "inspect", image))[0]
    except ToolError as error:
        if "no such image" in error.output.lower():
            return None
        raise
    return LocalImage(
        id=found["Id"],
        repo_digests=tuple(found.get("RepoDigests") or ()),
        labels=(found.get("Config") or {}).get("Labels") or {},
        size=found.get("Size", 0),
        architecture=found.get("Architecture", ""),
    )


def build(
    context: Path,
    *,
    containerfile: Path,
    identity: Path,
    secrets: Mapping[str, Path] | None = None,
    no_cache: bool = False,
    report: Report = silent,
) -> str:
    """Build an image with BuildKit and return its id; it gets no tag.

    Parameters
    ----------
    context
        Folder that the Containerfile copies from.
    identity
        File that is written with the image's id.
    secrets
        Files by the id under which ``RUN --mount=type=secret`` finds them. They
        enter no layer, no history and no cache key.

    Raises
    ------
    ToolError
        The engine or a step of the build failed.
    """
    program = command.find("docker", remedy=_INSTALL)
    arguments = [program, "build", "--progress=plain", "--file", str(containerfile)]
    arguments += ["--iidfile", str(identity)]
    for name, path in sorted((secrets or {}).items()):
        arguments += ["--secret", f"id={name},src={path}"]
    if no_cache:
        arguments.append("--no-cache")
    ended = command.stream(
        [*arguments, str(context)],
        _Progress(report),
        environment={**os.environ, "DOCKER_BUILDKIT": "1"},
    )
    if not ended.ok:
        raise _meaning("build", _telling(ended.stderr))
    return identity.read_text(encoding="utf-8").strip()


class _Progress:
    """Turns BuildKit's plain progress into steps."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __call__(self, line: str) -> None:
        if vertex := _VERTEX.match(line):
            stage = f"{vertex['stage']}: " if vertex["stage"] else ""
            what = re.sub(r"--mount=\S+ +", "", " ".join(vertex["what"].split()))
            self.report(
                Step(
                    message=f"{stage}{what[:100]}",
                    done=float(vertex["done"]),
                    total=float(vertex["total"]),
                )
            )
        elif (log := _LOG.match(line)) and log["text"] and not _NOISE.search(log["text"]):
            self.report(Step(message=log["text"][:200], log=True))


def _telling(output: str) -> str:
    """Return the lines of a failed build that tell why: those of the step that failed."""
    lines = output.splitlines()
    failed = [m[1] for line in lines if (m := re.match(r"(#\d+) ERROR", line))]
    if not failed:
        return output
    step = [line for line in lines if line.startswith(f"{failed[-1]} ")]
    return "\n".join(re.sub(r"^#\d+ (?:\d+\.\d+ )?", "", line) for line in step)


def load(write: Callable[[IO[bytes]], None]) -> str:
    """Have the engine load an image archive that `write` writes, and return how it calls it.

    Raises
    ------
    ToolError
        There is no engine, or it does not take the archive.
    """
    program = command.find("docker", remedy=_INSTALL)
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [program, "load"], stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise ToolError("`docker` could not be started.", _INSTALL, tool="docker") from error
        with process:
            assert process.stdin is not None
            try:
                with contextlib.suppress(BrokenPipeError):  # what it says then tells more
                    write(process.stdin)
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                status = process.wait()
            except BaseException:
                process.kill()
                raise
        said.seek(0)
        output = command.redact(said.read().decode("utf-8", "replace"))
    loaded = re.findall(r"^Loaded image(?: ID)?: (\S+)", output, re.MULTILINE)
    if status != 0 or not loaded:
        raise _meaning("load", output)
    return str(loaded[-1])


def tag(image: str, reference: str) -> None:
    """Give an image a name."""
    _docker("tag", image, reference)


def push(reference: str, *, report: Report = silent) -> None:
    """Push one tag to its registry, logged in as `docker login` left it."""
    program = command.find("docker", remedy=_INSTALL)

    def line(text: str) -> None:
        if text and not re.match(r"[0-9a-f]{12}: (?:Preparing|Waiting)", text):
            report(Step(message=text, log=True))

    ended = command.stream([program, "push", reference], line)
    if not ended.ok:
        raise _meaning("push", ended.stderr)


def run(
    image: str,
    arguments: Sequence[str] = (),
    *,
    network: str = "none",
    report: Report = silent,
) -> command.Ended:
    """Run a container as hardened as a cluster would and return how it ended.

    Read-only root file system, no capability, no new privilege; ``/tmp`` and
    ``/results`` are in memory.
    """
    program = command.find("docker", remedy=_INSTALL)
    options = ["--rm", "--network", network, "--read-only", "--cap-drop", "ALL"]
    options += ["--security-opt", "no-new-privileges"]
    for folder in ("/tmp", "/results"):
        options += ["--tmpfs", f"{folder}:rw,exec,mode=1777"]
    return command.stream(
        [program, "run", *options, image, *arguments],
        lambda text: report(Step(message=text, log=True)),
    )
