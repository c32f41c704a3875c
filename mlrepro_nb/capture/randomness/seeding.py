"""Seeding every generator there is, and those that are imported later."""

from __future__ import annotations

import random
import sys
from typing import Any

from mlrepro_nb.capture.imports import ImportHook

_hook: ImportHook | None = None


def seed_everything(value: int) -> tuple[list[str], list[str]]:
    """Seed random, NumPy and torch; return those that were and those that will be when imported."""
    global _hook
    random.seed(value)
    if _hook is not None:
        _hook.stop()
    _hook = ImportHook(
        {
            "numpy.random": lambda module: _seed_numpy(module, value),
            "torch": lambda module: _seed_torch(module, value),
        }
    )
    _hook.start()  # seeds at once what is there
    done, later = ["random"], list[str]()
    for module, name in (("numpy.random", "numpy"), ("torch", "torch")):
        (done if module in sys.modules else later).append(name)
    return done, later


def _seed_numpy(module: Any, value: int) -> None:
    module.seed(value)


def _seed_torch(module: Any, value: int) -> None:
    module.manual_seed(value)
