"""pip: downloads the wheels of a lock, as it is told to on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlrepro_nb.connect import command, index
from mlrepro_nb.errors import NeedsEngineError, ToolError
from mlrepro_nb.model import Report, Step, silent


def download(
    requirements: str,
    folder: Path,
    *,
    python: str,
    platforms: Sequence[str],
    ca_bundle: Path | None = None,
    report: Report = silent,
) -> tuple[Path, ...]:
    """Download the wheels of hash-pinned requirements into a folder and return their paths.

    Index, proxy and credentials are those of pip's configuration, or else uv's. Nothing is
    built: a distribution without a wheel for the target is an error.

    Parameters
    ----------
    requirements
        A requirements file in which every line has its hashes.
    folder
        Where the wheels go; pip checks each against its hashes first.
    python
        Version of the target's interpreter, which need not be this one.
    platforms
        The target's platform tags, the best first.
    ca_bundle
        PEM file to trust instead of what pip is told to.

    Raises
    ------
    ToolError
        The index cannot be reached, or serves another file.
    NeedsEngineError
        It has no wheel of a pin: something would have to be built.
    """
    if importlib.util.find_spec("pip") is None:
        raise ToolError(
            "pip is not installed in this environment, and downloads the wheels.",
            "pip install 'mlrepro-nb[containers]' brings it (or: python -m ensurepip).",
            tool="pip",
        )
    major, minor = python.split(".")[:2]
    with tempfile.TemporaryDirectory(prefix="mlrepro-lock-") as scratch:
        lock = Path(scratch) / "requirements.txt"
        lock.write_text(requirements, encoding="utf-8")
        # fmt: off
        arguments = [
            sys.executable, "-m", "pip", "download",
            "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
            "--require-hashes", "--no-deps", "--only-binary", ":all:",
            "--implementation", "cp", "--python-version", python, "--abi", f"cp{major}{minor}",
            "--dest", str(folder), "--requirement", str(lock),
        ]
        # fmt: on
        for platform in platforms:
            arguments += ["--platform", platform]
        if ca_bundle is not None:
            arguments += ["--cert", str(ca_bundle)]

        def line(text: str) -> None:
            report(Step(message=text, log=True))

        ended = command.stream(arguments, line, cwd=Path(scratch), environment=_environment())
    if not ended.ok:
        raise _meaning(ended.stderr, python)
    return tuple(sorted(folder.glob("*.whl")))


def _environment() -> dict[str, str]:
    """Return the environment in which pip asks the index that uv, which locked, asked."""
    found = index.settings()
    told = {"PIP_INDEX_URL": found.url, "PIP_EXTRA_INDEX_URL": " ".join(found.extra_urls)}
    return {**os.environ, **{name: value for name, value in told.items() if value}}


def _meaning(output: str, python: str) -> ToolError:
    if "DO NOT MATCH THE HASHES" in output:
        return ToolError(
            "A package on the index is not the file that the lock pinned.",
            "Do not ignore this: the index serves another file than before. Compare the hashes "
            "with those of the index that you trust.",
            tool="pip",
            output=output,
        )
    if "CERTIFICATE_VERIFY_FAILED" in output:
        return ToolError(
            "The TLS certificate of the package index cannot be verified.",
            "Give the network's own certificate authority with --ca-bundle FILE (a PEM file).",
            tool="pip",
            output=output,
        )
    if "No space left on device" in output:
        return ToolError(
            "The disk is full: the wheels do not fit.",
            "Free some space and build again: what is there is not fetched twice.",
            tool="pip",
            output=output,
        )
    if re.search(
        r"Temporary failure in name resolution|unreachable|establish a new connection|"
        r"connection broken|ProxyError|timed out|ReadTimeout",
        output,
    ):
        return ToolError(
            "The package index cannot be reached.",
            "Check the network and pip's configuration (`pip config list`), and build again.",
            tool="pip",
            output=output,
        )
    if found := re.search(r"No matching distribution found for (?P<name>[^\s(]+)", output):
        return NeedsEngineError(
            f"The package index has no wheel of {found['name']} for Python {python} on the base "
            "image's platform, or no longer has it.",
            "An sdist is not built here, since what comes of it depends on the machine. Use a "
            "version that has a wheel, put one into a private index or --find-links of pip's "
            "configuration, or build with --builder docker on a base image with a compiler.",
            tool="pip",
            output=output,
        )
    return ToolError(
        "pip could not download the wheels of the lock.",
        "What it printed says why.",
        tool="pip",
        output=output,
    )
