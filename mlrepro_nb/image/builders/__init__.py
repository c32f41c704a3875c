"""Two builders behind one door: each makes the same image of a plan, in its own way.

`docker` has BuildKit do what the Containerfile says, that of the engine or one
beside it; `oci` writes layers and manifest itself, where there is none or none is
wanted. What an image holds
and how it is set up is told by the plan and `image._configuration` alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from mlrepro_nb.connect import docker as engine
from mlrepro_nb.connect.command import Ended
from mlrepro_nb.connect.registry import Artifact, ImageInfo
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.model import Report, Step
from mlrepro_nb.store import Store

NAMES = ("auto", "docker", "oci")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of the image."""

    output: Path | None = None
    """OCI layout, where it ends in ``.tar``. Else a folder: for the layout where
    nothing but us builds, for a copy of the build context where the engine does."""
    push: bool = False
    load: bool = False
    """Whether an engine is to have it that did not build it."""
    test: bool = False
    bundle: Path | None = None
    """Certificate authorities for downloads."""
    layout: bool = False
    """Whether the base image is in an OCI layout."""


class Built(Protocol):
    """An image that has no name yet."""

    @property
    def id(self) -> str:
        """Digest of its configuration."""

    @property
    def toolchain(self) -> str:
        """What, besides the plan, its digest depends on: the builder and its version."""

    @property
    def manifest(self) -> str | None:
        """Digest of its manifest, where that is known before it is pushed."""

    def is_same(self, there: ImageInfo) -> bool:
        """Whether a registry's image is this one."""

    def local(self, report: Report) -> str:
        """Have an engine have it, without a name, and return how that calls it."""

    def run(self, arguments: Sequence[str], report: Report, data: Mapping[str, Path]) -> Ended:
        """Run it without a network, given data by where it shall be; return how it ended."""

    def texts(self, wanted: re.Pattern[str], report: Report) -> dict[str, str]:
        """Return those small text files of its system whose absolute path matches, if known."""

    def name(
        self, names: Sequence[str], report: Report, artifacts: Sequence[Artifact] = ()
    ) -> None:
        """Give it its names, wherever it is kept; what refers to it goes into a layout, too."""

    def push(self, names: Sequence[str], report: Report) -> str:
        """Push it under its names and return the digest of its manifest."""


class Builder(Protocol):
    """Makes an image of a plan."""

    @property
    def key(self) -> str:
        """Its name on the command line."""

    def check(self, wanted: Wanted) -> None:
        """Raise what is known to be in the way, before anything is done."""

    def prepare(self, plan: Plan, wanted: Wanted, report: Report) -> None:
        """Make what the plan's files say nothing of, where that is kept for `build` to find."""

    def build(self, plan: Plan, wanted: Wanted, store: Store, report: Report) -> Built:
        """Make the image."""


def choose(name: str, wanted: Wanted, report: Report) -> Builder:
    """Return a builder by its name; ``auto`` is the engine's where one answers.

    Raises
    ------
    UsageError
        There is no such builder, or it cannot do what is wanted.
    ToolError
        It needs an engine, and none answers.
    """
    from mlrepro_nb.image.builders.docker import DockerBuilder
    from mlrepro_nb.image.builders.oci import OciBuilder

    if name not in NAMES:
        raise UsageError(f"There is no builder {name!r}.", f"Builders are {', '.join(NAMES)}.")
    found: Builder
    archive = wanted.output is not None and wanted.output.suffix == ".tar"
    if name == "auto" and (archive or wanted.load or wanted.layout):
        found = OciBuilder()  # only it does these
    elif name == "auto":
        report(Step(message="looking for the Docker Engine"))
        try:
            if not os.environ.get("BUILDKIT_HOST"):
                engine.engine()
            found = DockerBuilder()
        except ToolError as error:
            report(Step(message=f"{error.message} Building without one.", log=True))
            found = OciBuilder()
    else:
        found = DockerBuilder() if name == "docker" else OciBuilder()
    found.check(wanted)
    return found
