"""What BuildKit, engines and what runs in a build print when they fail, and what it means."""

from __future__ import annotations

import re

from mlrepro_nb.connect import index
from mlrepro_nb.errors import ToolError

_UNREACHABLE = (
    "The package index {index} cannot be reached from inside the build.",
    "Check that it answers, and the engine's network and proxy: an index or proxy in pip's "
    "configuration is used, and localhost is the build's container there.",
)
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
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|x509: certificate signed by unknown",
        "TLS certificates could not be verified inside the build.",
        "Give the network's own certificate authority with --ca-bundle FILE (a PEM file).",
    ),
    (
        # Of pip, which was refused or not answered to the last; below, whoever else was.
        r"(?s:Retrying \(Retry\(total=0,.*No matching distribution found)|Max retries exceeded"
        r"|ReadTimeoutError",
        *_UNREACHABLE,
    ),
    (
        r"No matching distribution found for (?P<name>[^\s(]+)",
        "The base image's Python finds no distribution of {name} on the package index.",
        "Check that the version still exists and has a wheel for the base image's Python and "
        "platform; --base chooses another one.",
    ),
    (
        r"code = Unavailable|transport is closing|unexpected EOF|: EOF$|connection reset by peer"
        r"|connection refused|server did not provide an image ID",
        "What builds the image went away in the middle of it, or does not answer.",
        "Start it again and build again: what it had built is in its cache. Nothing was tagged.",
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
        r"DO NOT MATCH THE HASHES",
        "A package on the index is not the file that the lock pinned.",
        "Do not ignore this: the index serves another file than before. Compare the hashes with "
        "those of the index that you trust.",
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
        r"Temporary failure in name resolution|Network is unreachable|Connection to .* timed out",
        *_UNREACHABLE,
    ),
    (
        r"unauthorized|authentication required|no basic auth credentials|denied:",
        "The registry refuses to take the image.",
        "Log in with `docker login REGISTRY`, with an account that may push to the repository.",
    ),
)


def meaning(doing: str, output: str) -> ToolError:
    """Return what the output of a command that failed means."""
    tool = doing.partition(" ")[0]
    for pattern, message, remedy in _MEANINGS:
        if found := re.search(pattern, output, re.IGNORECASE | re.MULTILINE):
            named = {"index": index.named(), **found.groupdict(default="")}
            filled = message.format(**named)
            return ToolError(filled, remedy, tool=tool, output=output)
    return ToolError(f"`{doing}` failed.", "What it printed says why.", tool=tool, output=output)
