"""Where what can be fetched or made again is kept, for all projects of a user."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """Return the folder; it need not be there.

    https://specifications.freedesktop.org/basedir-spec/latest/

    Raises
    ------
    RuntimeError
        The user has no home.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mlrepro"
