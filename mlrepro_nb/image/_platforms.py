"""The kinds of machine that images are for, by each of the names that are used for them. Pure."""

from __future__ import annotations

PLATFORMS = {
    "linux/amd64": "x86_64", "linux/arm64": "aarch64", "linux/ppc64le": "ppc64le",
    "linux/s390x": "s390x",
}  # fmt: skip
"""The kernel's name (``uname -m``) of each platform, as OCI writes it."""
_DEBIAN = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el", "armv7l": "armhf",
           "i686": "i386"}  # fmt: skip


def platform(machine: str) -> str:
    """Return what OCI calls a machine."""
    return next((p for p, m in PLATFORMS.items() if m == machine), f"linux/{machine}")


def debian(machine: str) -> str:
    """Return what Debian calls a machine."""
    return _DEBIAN.get(machine, machine)
