"""Which files a program is given, as they are before it starts: it may change them in place.

They are not opened for that: whoever sees files opened could not tell it from the program.
"""

from __future__ import annotations

import os

from mlrepro_nb.capture.data.hashing import regular, signature
from mlrepro_nb.capture.data.paths import is_secret
from mlrepro_nb.capture.data.programs import named

Held = dict[str, tuple[int, ...]]
"""Paths without links, and the files' signatures."""


def held(commands: list[list[str]]) -> Held:
    """Return the files that commands name and that hold something."""
    found: Held = {}
    for word in named(commands):
        path = os.path.realpath(word)
        status = regular(path)
        if status is not None and status.st_size and not is_secret(path):
            found[path] = signature(status)
    return found
