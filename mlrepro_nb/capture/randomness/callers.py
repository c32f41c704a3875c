"""Who drew: the user's code, a library on its behalf, or machinery for itself."""

from __future__ import annotations

import functools
import os
import sys
from types import FrameType
from typing import Any, Literal

Drawer = Literal["cell", "user", "library"]

_THROUGH = frozenset({
    "numpy", "random", "secrets", "uuid", "copy", "copyreg", "pickle", "functools", "contextlib",
    "threading", "concurrent",
})  # fmt: skip
"""Modules that draw for whoever calls them."""

_FOR_ITSELF = frozenset({
    "IPython", "alembic", "asyncio", "botocore", "comm", "dvc", "fsspec", "google", "ipykernel",
    "ipywidgets", "jupyter_client", "matplotlib", "mlflow", "mlrepro_nb", "multiprocessing",
    "opentelemetry", "requests", "rich", "s3fs", "sqlalchemy", "tempfile", "tenacity", "tornado",
    "tqdm", "traitlets", "urllib3", "wandb", "zmq",
})  # fmt: skip
"""Modules that draw names, ids and waiting times, which show in no result."""

_DEEPEST = 60


def caller() -> FrameType | None:
    """Return the frame that called into this package's taps."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(_HERE):
        frame = frame.f_back
    return frame


_HERE = __name__.rpartition(".")[0]


def drawer() -> Drawer:
    """Say who wanted what is being drawn.

    ``user`` is the user's own code, as the next above the module that drew;
    ``cell`` anything else that the cell set going, a library's algorithm or a
    thread; ``library`` draws for itself.
    """
    frame, first = caller(), True
    for _ in range(_DEEPEST):
        if frame is None:
            break
        name = str(frame.f_globals.get("__name__") or "")
        top = name.partition(".")[0]
        if name == "numpy.random._pickle":
            return "library"  # a copy's own state replaces what is drawn here
        if is_users(frame):
            return "user" if first else "cell"
        if top in _FOR_ITSELF and first:
            return "library"
        if top in ("IPython", "ipykernel"):
            return "library"  # no code of the user's in between
        if top not in _THROUGH:
            first = False
        frame = frame.f_back
    return "cell"


def is_users(frame: FrameType) -> bool:
    """Return whether a frame runs the user's own code: a cell, or a module of the project."""
    names = frame.f_globals
    if names.get("__name__") == "__main__":
        return True
    return is_users_file(names.get("__file__")) and not str(names.get("__name__")).startswith(
        "mlrepro_nb"
    )


def is_users_file(path: Any) -> bool:
    """Return whether a module's file is neither the interpreter's nor an installed package's."""
    return isinstance(path, str) and _is_users(path)


@functools.lru_cache(maxsize=4096)
def _is_users(path: str) -> bool:
    if path.startswith("<") or "site-packages" in path or "dist-packages" in path:
        return False
    return not path.startswith(_library_folders())


@functools.lru_cache(maxsize=1)
def _library_folders() -> tuple[str, ...]:
    # Not from sysconfig: to learn it that imports a module, in the midst of the import of which
    # it would be asked again, and a worker has better things to do than to wait for it.
    version = "python{}.{}".format(*sys.version_info)
    own = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120
    folders = {
        os.path.dirname(os.__file__),  # noqa: PTH120
        os.path.join(sys.base_exec_prefix, sys.platlibdir, version),  # noqa: PTH118
        os.path.join(own, ""),  # noqa: PTH118
    }
    folders |= {os.path.realpath(folder) for folder in folders}
    return tuple(folder.rstrip("/") + "/" for folder in folders)


def from_clock(value: Any, begun: float, now: float, source: str) -> bool:
    """Say whether a seed is the time.

    Seconds, milli-, micro- or nanoseconds since the epoch, whole or modulo
    2**32, at a moment since the cell began; a number that the cell spells out
    is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if value != value or str(value) in source:  # NaN is no time
        return False
    for scale in (1, 10**3, 10**6, 10**9):
        low, high = int(begun * scale) - 1, int(now * scale) + 1
        if low <= value <= high:
            return True
        # Modulo 2**32 a long stretch of time would cover every number.
        width = min(high - low, 2**32 // 4096)
        if isinstance(value, int) and (high - value) % 2**32 <= width and value >= 0:
            return scale > 1 and value > 2**20
    return False
