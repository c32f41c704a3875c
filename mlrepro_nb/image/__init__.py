"""A record becomes a container image that says which record it is.

A *job* runs the notebook again, compares and exits by the verdict; a *service*
serves the model that the run logged. The image holds the locked distributions
that the run used, by hash, on a base image by digest, and of the project only
what the run read.

`plan` gathers everything into a value; the renderers are pure functions of it;
`build` does what they say, on a Docker Engine or without one (see `builders`);
`check` builds twice and compares. `job` and `service` are what runs
inside.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlrepro_nb.image._build import build, preview, texts
    from mlrepro_nb.image._check import Rebuilt, check
    from mlrepro_nb.image._context import write_texts
    from mlrepro_nb.image._origins import table as origins
    from mlrepro_nb.image._plan import Plan
    from mlrepro_nb.image._planning import plan
    from mlrepro_nb.image._render import (
        containerfile,
        dockerignore,
        entrypoint,
        labels,
        requirements,
        tags,
    )

__all__ = [
    "Plan",
    "Rebuilt",
    "build",
    "check",
    "containerfile",
    "dockerignore",
    "entrypoint",
    "labels",
    "origins",
    "plan",
    "preview",
    "requirements",
    "tags",
    "texts",
    "write_texts",
]

_HOMES = {
    "_build": ("build", "preview", "texts"),
    "_check": ("Rebuilt", "check"),
    "_context": ("write_texts",),
    "_origins": ("origins",),
    "_plan": ("Plan",),
    "_planning": ("plan",),
    "_render": ("containerfile", "dockerignore", "entrypoint", "labels", "requirements", "tags"),
}


_CALLED = {"origins": "table"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a served model's container has only what `service` needs."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), _CALLED.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
