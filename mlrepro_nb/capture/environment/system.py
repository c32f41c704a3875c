"""The operating system, the interpreter's environment, and where its numbers are made."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def tool() -> str:
    """Return our own name and version."""
    from mlrepro_nb import __version__

    return f"mlrepro-nb {__version__}"


def system() -> dict[str, str]:
    """Return the operating system, as `model.System`."""
    name, version = platform.system(), platform.release()
    try:
        release = platform.freedesktop_os_release()
        name, version = release.get("ID", name), release.get("VERSION_ID", "")
    except OSError:
        if platform.system() == "Darwin":
            name, version = "macos", platform.mac_ver()[0]
    return {
        "name": name, "version": version, "kernel": platform.release(),
        "machine": platform.machine(),
    }  # fmt: skip


def manager(prefix: str, base_prefix: str) -> str:
    """Return what made the environment of an interpreter, as `model.Environment.manager`."""
    folder = Path(prefix)
    if (folder / "conda-meta").is_dir():
        # pixi keeps its environments in the project, and leaves a mark in them.
        is_pixi = (folder / "conda-meta" / "pixi").exists() or folder.parts[-3:-1] == (
            ".pixi", "envs",
        )  # fmt: skip
        return "pixi" if is_pixi else "conda"
    if prefix != base_prefix:
        try:
            text = (folder / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        return "uv" if any(line.startswith("uv =") for line in text.splitlines()) else "venv"
    return "system" if prefix == "/usr" else "python"


def threadpools() -> list[dict[str, Any]]:
    """Return the BLAS and OpenMP builds in the process: there may be two of each."""
    # Importing threadpoolctl sets a variable for Intel's OpenMP; the user's process keeps its own.
    before = os.environ.get("KMP_DUPLICATE_LIB_OK")
    import threadpoolctl

    if before is None:
        os.environ.pop("KMP_DUPLICATE_LIB_OK", None)
    return [
        {
            "api": str(pool.get("user_api")),
            "implementation": str(pool.get("internal_api")),
            "version": pool.get("version"),
            "threads": int(pool.get("num_threads") or 0),
        }
        for pool in threadpoolctl.threadpool_info()
    ]
