"""Which notebook a live kernel belongs to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

_KERNEL = re.compile(r"kernel-(?:v\d-)?([0-9a-f-]{8,})\.json$")


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
        if path.is_absolute() and path.parent.is_dir():
            return path
        # The server gives a path from its own root; the kernel starts in the notebook's folder.
        beside = Path.cwd() / path.name
        for option in (beside, Path.cwd() / path):
            if option.exists():
                return option
        return beside
    return None


def current_notebook(shell: Any, known: Path | None) -> Path | None:
    """Return the notebook's path as it is now: it may have been renamed, or be known only now.

    Asks Jupyter Server where the file that was known is not there (any more).
    """
    from mlrepro_nb.connect import jupyter

    named = getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__")
    if isinstance(named, str) and named.endswith(".ipynb"):
        return Path(named)
    if known is not None and known.exists():
        return known
    identity = kernel_id(shell)
    asked = jupyter.notebook_of_kernel(identity) if identity else None
    return asked or known or find_notebook(shell)


def kernel_id(shell: Any) -> str | None:
    """Return a kernel's id on the server that started it: its connection file is named by it."""
    application = getattr(getattr(shell, "kernel", None), "parent", None)
    match = _KERNEL.search(str(getattr(application, "connection_file", "")))
    return match[1] if match else None
