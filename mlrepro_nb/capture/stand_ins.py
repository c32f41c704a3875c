"""Functions of ours in the place of other people's."""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any


def let_pickle_find(stand_in: Any, owner: Any, name: str) -> None:
    """Name a function so that pickle finds it where it was put.

    ``os.urandom`` says that it is ``posix.urandom``, and ``random.seed`` that it is
    ``Random.seed``: what stands in for them is neither, and could not be sent to a worker.
    """
    if not isinstance(owner, ModuleType) or not isinstance(stand_in, FunctionType):
        return
    found: Any = sys.modules.get(stand_in.__module__)
    for part in stand_in.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not stand_in:
        stand_in.__module__, stand_in.__qualname__ = owner.__name__, name
