"""Which notebook a live kernel belongs to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def find_notebook(shell: Any) -> Path | None:
    """Return the notebook's path, as far as the front end told the kernel, or None."""
    namespace = getattr(shell, "user_ns", {})
    for candidate in (
        namespace.get("__vsc_ipynb_file__"),  # VS Code
        os.environ.get("JPY_SESSION_NAME"),  # Jupyter Server: the path that the session was given
        os.environ.get("MLREPRO_NOTEBOOK"),
    ):
        if not isinstance(candidate, str) or not candidate.endswith(".ipynb"):
            continue
        path = Path(candidate)
        if path.is_absolute():
            return path
        # The server gives a path from its own root; the kernel starts in the notebook's folder.
        beside = Path.cwd() / path.name
        for option in (beside, Path.cwd() / path):
            if option.exists():
                return option
        return beside
    return None
