"""What runs in a notebook image: JupyterLab on a copy of the project, for who reviews it.

JupyterLab has an environment of its own; the kernel is that of the recorded
environment, the only one there is. The copy is in MLREPRO_WORK (``/work``), or in a
temporary folder where that cannot be written; it holds the notebook with the
recorded outputs, the data, and a store with the record, so that ``mlrepro verify``,
``%mlrepro`` and ``mlrepro trace`` work in it.

The token is JUPYTER_TOKEN, or what the file JUPYTER_TOKEN_FILE holds; else a new
one, printed with the address. PORT is 8888 unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlrepro_nb.errors import MlreproError, UsageError
from mlrepro_nb.image._places import LAB, LAB_PORT, WORK
from mlrepro_nb.image._scratch import APP, lay_out, say, scratch, temporary
from mlrepro_nb.model import Record, decode, digest_bytes, short
from mlrepro_nb.store import Store, write_atomically


def main() -> None:
    """Lay the project out and become JupyterLab."""
    work = _work()
    record, digest = _project(work)
    os.environ["MLREPRO_STORE"] = str(work / ".mlrepro")
    say(f"record {short(digest)} of {record.code.notebook}; `mlrepro verify` in a terminal runs it")
    _settle_in()
    os.chdir(work)
    python = f"{LAB}/bin/python"
    os.execv(python, [python, "-m", "jupyterlab", *_options(record, work), *sys.argv[1:]])


def _settle_in() -> None:
    """Answer for the reviewer what JupyterLab asks at its first start: no news, no updates."""
    from jupyter_core.paths import jupyter_config_dir

    home = os.environ.get("JUPYTERLAB_SETTINGS_DIR") or f"{jupyter_config_dir()}/lab/user-settings"
    path = Path(home, "@jupyterlab", "apputils-extension", "notification.jupyterlab-settings")
    with contextlib.suppress(OSError):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('{"checkForUpdates": false, "fetchNews": "false"}', encoding="utf-8")


def _options(record: Record, work: Path) -> list[str]:
    kernel = record.environment.kernelspec or "python3"
    options: dict[str, Any] = {
        "ServerApp.ip": "0.0.0.0",
        "ServerApp.port": os.environ.get("PORT", str(LAB_PORT)),
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": str(work),
        "FileContentsManager.preferred_dir": str((work / record.code.notebook).parent),
        "ServerApp.quit_button": False,
        "LabApp.default_url": f"/lab/tree/{quote(record.code.notebook)}",
        "LabApp.extension_manager": "readonly",
        # Only the recorded environment's, never that of JupyterLab itself.
        "KernelSpecManager.ensure_native_kernel": False,
        "KernelSpecManager.allowed_kernelspecs": {kernel},
        "MultiKernelManager.default_kernel_name": kernel,
        "LanguageServerManager.autodetect": False,
        "FileContentsManager.delete_to_trash": False,
    }
    return [f"--{name}={value}" for name, value in options.items()]


def _work() -> Path:
    """Return the folder that the reviewer's copy of the project is in, or will be."""
    place = Path(os.environ.get("MLREPRO_WORK") or WORK)
    if os.access(place, os.W_OK | os.X_OK):
        return place / "project"
    say(f"{place} is not writable for user {os.getuid()}: what you write goes with the container")
    return Path(tempfile.mkdtemp(prefix="mlrepro-review-", dir=temporary())) / "project"


def _project(work: Path) -> tuple[Record, str]:
    """Make the project in a folder, or find it there from the last time."""
    content = (APP / "record" / "record.json").read_bytes()
    digest = digest_bytes(content)
    if work.exists():
        store = Store(work / ".mlrepro")
        if not store.exists or digest not in {e.digest for e in store.entries(Record)}:
            raise UsageError(
                f"{work} holds something else than this record's project.",
                "Mount an empty folder, or that of an earlier review of the same image.",
            )
        return decode(Record, content), digest
    with scratch() as folder:
        record, digest, _ = lay_out(work, Path(folder))
    path = work / record.code.notebook
    reference = json.loads((APP / "record" / "reference.ipynb").read_bytes())
    shown = with_outputs(json.loads(path.read_bytes()), reference)
    write_atomically(path, json.dumps(shown, indent=1, ensure_ascii=False).encode() + b"\n")
    return record, digest


def with_outputs(notebook: dict[str, Any], executed: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook with the outputs that its cells have in an executed copy.

    A cell is found by its id, else by its source, in order: a copy that was run
    with parameters has a cell more.
    """
    left = [cell for cell in executed["cells"] if cell.get("cell_type") == "code"]
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        same = [c for c in left if "".join(c["source"]) == source]
        found = next((c for c in same if c.get("id") == cell.get("id")), same[0] if same else None)
        if cell.get("cell_type") != "code" or found is None:
            cells.append(cell)
            continue
        left.remove(found)
        shown = {key: found.get(key) for key in ("outputs", "execution_count")}
        cells.append({**cell, **shown})
    return {**notebook, "cells": cells}


if __name__ == "__main__":
    try:
        main()
    except MlreproError as error:
        say(str(error))
        sys.exit(error.exit_code)
