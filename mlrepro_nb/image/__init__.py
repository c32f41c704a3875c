"""A record becomes a container image that says which record it is.

A *job* runs the notebook again, compares and exits by the verdict; a *service*
serves the model that the run logged. The image holds the locked distributions
that the run used, by hash, on a base image by digest, and of the project only
what the run read.

`plan` gathers everything into a value; the renderers are pure functions of it;
`build` does what they say on a Docker Engine. `job` and `service` are what runs
inside.
"""

from mlrepro_nb.image._build import build, preview, texts
from mlrepro_nb.image._context import write_texts
from mlrepro_nb.image._plan import Plan, plan
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
    "build",
    "containerfile",
    "dockerignore",
    "entrypoint",
    "labels",
    "plan",
    "preview",
    "requirements",
    "tags",
    "texts",
    "write_texts",
]
