"""The one door to known vulnerabilities: pip-audit, which asks PyPI or OSV."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.connect import command
from mlrepro_nb.errors import ToolError

SERVICE = "MLREPRO_AUDIT_URL"
"""Environment variable with the address of a service that answers as OSV's ``/v1/query``, for
where the public ones cannot be reached."""
_PATIENCE = 180.0
_SOCKET = 10


class Vulnerability(msgspec.Struct, frozen=True, kw_only=True):
    """A known vulnerability of a distribution."""

    distribution: str
    version: str
    id: str
    aliases: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    """Versions that do not have it."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a lock."""

    vulnerabilities: tuple[Vulnerability, ...] = ()
    skipped: tuple[str, ...] = ()
    """Distributions that the service knows nothing of."""


def audit(pins: Mapping[tuple[str, str], Sequence[str]]) -> Audit:
    """Return the known vulnerabilities of exact versions; nothing is resolved or installed.

    Parameters
    ----------
    pins
        Hashes (SHA-256, in hex) by name and version.

    Raises
    ------
    ToolError
        pip-audit is not installed, or the service does not answer.
    """
    if not pins:
        return Audit()
    with tempfile.TemporaryDirectory(prefix="mlrepro-audit-") as folder:
        file = Path(folder) / "requirements.txt"
        lines = (
            " ".join([f"{name}=={version}", *(f"--hash=sha256:{h}" for h in hashes)])
            for (name, version), hashes in sorted(pins.items())
        )
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        ended = command.run(
            [
                *_program(), "--requirement", str(file), "--disable-pip", "--require-hashes",
                "--format", "json", "--desc", "off", "--aliases", "on",
                "--progress-spinner", "off", "--timeout", str(_SOCKET), *_service(),
            ],
            cwd=Path(folder),
            timeout=_PATIENCE,
        )  # fmt: skip
    found = _read(ended.stdout)
    if found is None:
        raise ToolError(
            "The vulnerability service does not answer, so the lock was not checked.",
            f"Check the network and the proxy, or set {SERVICE} to one that can be reached.",
            tool="pip-audit",
            output=ended.stderr,
        )
    return found


def _service() -> list[str]:
    url = os.environ.get(SERVICE)
    return ["--vulnerability-service", "osv", "--osv-url", url] if url else []


def _program() -> list[str]:
    if importlib.util.find_spec("pip_audit") is not None:
        return [sys.executable, "-m", "pip_audit"]
    found = shutil.which("pip-audit")
    if found is None:
        raise ToolError(
            "pip-audit is not installed, so the lock was not checked for known vulnerabilities.",
            "pip install 'mlrepro-nb[audit]'.",
            tool="pip-audit",
        )
    return [found]


def _read(text: str) -> Audit | None:
    """Read what pip-audit printed; it prints nothing where it could not ask."""
    try:
        listed = json.loads(text)["dependencies"]
        return Audit(
            vulnerabilities=tuple(
                Vulnerability(
                    distribution=entry["name"],
                    version=entry["version"],
                    id=vulnerability["id"],
                    aliases=tuple(vulnerability.get("aliases") or ()),
                    fixed=tuple(vulnerability.get("fix_versions") or ()),
                )
                for entry in listed
                for vulnerability in entry.get("vulns") or ()
            ),
            skipped=tuple(entry["name"] for entry in listed if entry.get("skip_reason")),
        )
    except (ValueError, KeyError, TypeError):
        return None
