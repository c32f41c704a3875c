"""What an operating system calls itself, read as the file that it is.

https://www.freedesktop.org/software/systemd/man/latest/os-release.html
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping

PATHS = ("/etc/os-release", "/usr/lib/os-release")
"""Where it is; the first one wins."""


def parse(text: str) -> dict[str, str]:
    """Return what an os-release file says; a line that is none is left out."""
    found = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.startswith("#"):
            with contextlib.suppress(ValueError):
                found[name.strip()] = "".join(shlex.split(value))
    return found


def of(texts: Mapping[str, str]) -> dict[str, str]:
    """Return what a system says of itself, given those of its files that are known."""
    return parse(next((texts[path] for path in PATHS if texts.get(path)), ""))
