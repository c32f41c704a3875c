"""The import that a notebook has lost: what a name that nothing defines most likely was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mlrepro_nb.dataflow import read_cell
from mlrepro_nb.verify.attribute.case import Case
from mlrepro_nb.verify.attribute.interfaces import project_module

_ALIASES = {
    "np": "import numpy as np", "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt", "sns": "import seaborn as sns",
    "tf": "import tensorflow as tf", "sp": "import scipy as sp", "mpl": "import matplotlib as mpl",
}  # fmt: skip
_LARGEST = 1_000_000


def import_of(case: Case, name: str) -> str | None:
    """Return the line that imports what a name stands for; None where that is not clear.

    It is what everybody calls so, or a module of Python, or what one of the packages that the
    notebook imports from has under that name. No package is imported to find out.
    """
    if name in _ALIASES:
        return _ALIASES[name]
    if name in sys.stdlib_module_names:
        return f"import {name}"
    having = [module for module in _modules(case) if _has(case, module, name)]
    # The innermost that was imported from; of two packages either may be meant.
    if not having or len({module.partition(".")[0] for module in having}) > 1:
        return None
    return f"from {max(having, key=len)} import {name}"


def _modules(case: Case) -> Iterator[str]:
    """Yield the modules that cells import from, and the packages that those are in."""
    seen: set[str] = set()
    for cell in case.flow.cells:
        for full in (*cell.imports.values(), *cell.stars):
            parts = full.split(".")
            for count in range(len(parts), 0, -1):
                module = ".".join(parts[:count])
                if module and module not in seen:
                    seen.add(module)
                    yield module


def _has(case: Case, module: str, name: str) -> bool:
    path = _file(case, module)
    try:
        if path is None or path.stat().st_size > _LARGEST:
            return False
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return name in text and name in read_cell(-1, text).defines


def _file(case: Case, module: str) -> Path | None:
    """Return the source of a module, which is not imported for it."""
    top, *rest = module.split(".")
    own = project_module(case, top)
    if own is not None:
        start = case.root / own
        places = [start.parent] if start.name == "__init__.py" else []
    else:
        try:
            spec = find_spec(top)
        except (ValueError, ImportError):
            return None
        start = Path(spec.origin) if spec is not None and spec.origin else Path()
        places = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    if not rest:
        return start if start.suffix == ".py" else None
    for place in places:
        below = place.joinpath(*rest)
        for path in (below / "__init__.py", below.with_suffix(".py")):
            if path.is_file():
                return path
    return None
