"""Both of our builders, for a job and a service of the same notebook."""

from __future__ import annotations

import json
import os
import shutil
import time
from functools import partial
from pathlib import Path

from benchmarks.building import _once
from benchmarks.building._tool import (
    MORE,
    Built,
    State,
    a_repository,
    environment,
    measured,
    notebook,
    quiet,
)
from mlrepro_nb.connect import oci, uv

_ROOT = Path(__file__).parents[2]
_GIT = ["git", "-c", "user.name=b", "-c", "user.email=b@example.com"]


class Project:
    """A repository with the notebook, recorded once for each state by an environment of its own."""

    def __init__(self, scratch: Path) -> None:
        self.folder = scratch / "project"
        self._recorded: State | None = None
        # A wheel, as a user has it: the checkout that it is made of may change meanwhile.
        wheel = uv.build_wheel(_ROOT, scratch / "wheel", epoch=oci.EPOCH)
        self.programs = environment(
            "mlrepro", [f"mlrepro-nb[containers,mlflow] @ {wheel.as_uri()}", "pandas",
                        "scikit-learn", *MORE],
        )  # fmt: skip
        self.folder.mkdir()
        (self.folder / ".gitignore").write_text("mlruns/\nmlflow.db*\n.mlrepro/\n")
        quiet([*_GIT, "init", "-q"], self.folder)

    def at(self, state: State) -> None:
        """Bring it to a state."""
        if state != self._recorded:
            notebook(self.folder, state)
            quiet([*_GIT, "add", "."], self.folder)
            quiet([*_GIT, "commit", "-qm", f"{state.name} {state.round}"], self.folder)
            path = {"PATH": f"{self.programs}:{os.environ['PATH']}"}
            quiet([self.programs / "mlrepro", "record", "train.ipynb"], self.folder, path)
            self._recorded = state


_PROJECTS: dict[Path, Project] = {}


class Ours:
    """One of our builders, for one kind of image."""

    def __init__(self, builder: str, kind: str, scratch: Path, base: str) -> None:  # noqa: ARG002
        self.title = "mlrepro, no engine" if builder == "oci" else "mlrepro, engine"
        self.kind = kind
        self._builder = builder
        if scratch not in _PROJECTS:
            _PROJECTS[scratch] = Project(scratch)
        self._project = _PROJECTS[scratch]
        self._downloads = scratch / f"downloads-{kind}"
        self._cache = scratch / f"cache-{builder}-{kind}"
        self._repository = ""
        self._number = 0

    def warm(self) -> None:
        """Have the wheels of all rounds in the caches of wheels."""
        self.build(State(name="cold", round=0), measure=False)

    def build(self, state: State, *, measure: bool = True) -> Built:
        """Record, then build and push."""
        self._project.at(state)
        if state.name == "cold":
            shutil.rmtree(self._cache, ignore_errors=True)
            self._repository = a_repository()
        self._number += 1
        asked = {
            "builder": self._builder, "kind": self.kind, "base": os.environ["MLREPRO_TEST_BASE"],
            "repository": self._repository, "version": f"0.0.{self._number}",
            "cache": str(self._cache), "downloads": str(self._downloads),
        }  # fmt: skip
        variables = {
            "BUILDKIT_HOST": os.environ["MLREPRO_TEST_BUILDKIT"],
            # What a model predicts is kept there, too: no tool has it from the one before.
            "XDG_CACHE_HOME": str(self._cache),
            "UV_CACHE_DIR": quiet([uv.program(), "cache", "dir"], self._project.folder).strip(),
        }
        start = time.time()
        said = json.loads(
            quiet([self._project.programs / "python", _once.__file__, json.dumps(asked)],
                  self._project.folder, variables)
        )  # fmt: skip
        marks = {name: round(at - start, 2) for name, at in said["marks"].items()}
        size, files = measured(said["reference"]) if measure else (0, 0)
        return Built(marks["built"], marks["all"], size, files, marks)


TOOLS = {
    f"{builder}-{kind}": partial(Ours, builder, kind)
    for kind in ("service", "job")
    for builder in ("oci", "docker")
}
