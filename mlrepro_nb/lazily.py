"""Packages that import what they export when it is first asked for (PEP 562).

A kernel keeps what it imported until it ends: what only the end of a run needs, or
another face, is not to cost every notebook its memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__``.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    homes : mapping
        For each exported name the module below `package` that defines it.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return __getattr__
