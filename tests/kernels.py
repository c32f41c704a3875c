"""How a test talks with a kernel that it starts itself."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def sockets() -> Iterator[dict[str, str]]:
    """Give the options of a KernelManager that talks by files instead of TCP ports.

    jupyter_client chooses free ports and lets go of them before the kernel binds them. Another
    worker's kernel can take one in between, and this one dies before it says anything.
    """
    # Not pytest's tmp_path: a socket's path has room for about 100 characters.
    folder = tempfile.mkdtemp(prefix="mlrepro-sockets-")
    try:
        yield {"transport": "ipc", "ip": str(Path(folder) / "k")}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
