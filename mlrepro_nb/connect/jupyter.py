"""The door to Jupyter Server: which notebook a kernel belongs to, as its sessions say."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SERVERS = 3
"""How many servers of this user are asked; the one that started the kernel is first."""


def notebook_of_kernel(kernel_id: str, *, timeout: float = 1.0) -> Path | None:
    """Return the path of the notebook whose session has a kernel, or None.

    Asks the servers that run for this user on this machine, which know of it
    when a notebook was renamed.

    Parameters
    ----------
    kernel_id : str
        As in the name of its connection file.
    timeout : float
        Seconds that a server may take.
    """
    for server in list(_servers())[:_SERVERS]:
        for session in _sessions(server, timeout):
            kernel = session.get("kernel") or {}
            path = str(session.get("path") or "").removeprefix("RTC:")
            if kernel.get("id") == kernel_id and path.endswith(".ipynb"):
                root = server.get("root_dir") or server.get("notebook_dir") or "."
                return Path(root) / path
    return None


def _servers() -> Iterator[dict[str, Any]]:
    """Yield what the servers of this user tell about themselves."""
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    files = [*folder.glob("jpserver-*.json"), *folder.glob("nbserver-*.json")]
    parent = f"-{os.getppid()}.json"
    # The newest first, after the one that is the kernel's own parent.
    files.sort(key=lambda file: (not file.name.endswith(parent), -_time(file)))
    for file in files:
        try:
            found = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and isinstance(found.get("url"), str):
            yield found


def _sessions(server: dict[str, Any], timeout: float) -> list[dict[str, Any]]:
    request = urllib.request.Request(server["url"].rstrip("/") + "/api/sessions")
    if request.type not in ("http", "https"):
        return []
    if token := server.get("token"):
        request.add_header("Authorization", f"token {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            found = json.loads(answer.read())
    except (OSError, ValueError, urllib.error.URLError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
