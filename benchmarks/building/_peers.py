"""What the peers' commands give to `docker build`, from the same base image.

Their Dockerfiles get what they lack: a mounted cache of wheels and of Debian's packages, so
that no peer waits for the network where we do not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks.building._tool import (
    MORE,
    Built,
    State,
    a_repository,
    buildctl,
    environment,
    measured,
    notebook,
    quiet,
    version,
)

_CACHES = "".join(
    f"--mount=type=cache,target={folder},sharing=locked "
    for folder in ("/root/.cache/pip", "/root/.cache/uv", "/var/cache/apt")
)
_ALSO = ["scikit-learn", "pandas", "pip", "uv"]


class Peer:
    """A tool that writes a Dockerfile."""

    title = ""
    kind = "service"
    arguments: Mapping[str, str] = MappingProxyType({})

    def __init__(self, scratch: Path, base: str) -> None:
        self.folder = scratch / type(self).__name__.lower()
        self.folder.mkdir()
        self.base = base
        self._repository = ""
        self._salt = uuid.uuid4().hex

    def train(self, state: State) -> None:
        """Make what is to be packed; not timed."""

    def context(self, state: State) -> Path:
        """Return the folder that the tool's own command made."""
        raise NotImplementedError

    def warm(self) -> None:
        """Build once, so that the caches have the wheels."""
        first = State(name="cold", round=0)
        self.train(first)
        buildctl(self._adapted(self.context(first)), arguments=self.arguments)

    def build(self, state: State) -> Built:
        """Train, then build, timed, and push."""
        self.train(state)
        if state.name == "cold":
            self._repository = a_repository()
            self._salt = uuid.uuid4().hex
        name = f"{self._repository}:{state.name}"
        start = time.time()
        folder = self._adapted(self.context(state))
        written = time.time() - start
        buildctl(folder, arguments=self.arguments)
        built = time.time() - start
        buildctl(folder, arguments=self.arguments, push=name)
        pushed = time.time() - start
        size, files = measured(name)
        marks = {"Dockerfile written": round(written, 2)}
        return Built(round(built, 2), round(pushed, 2), size, files, marks)

    def _adapted(self, folder: Path) -> Path:
        file = folder / "Dockerfile"
        text = re.sub(r"(?m)^FROM \S+", f"FROM {self.base}", file.read_text(), count=1)
        # What no build has seen, so that a cold one finds no layer; `--no-cache` would empty the
        # mounted caches, too.
        text = re.sub(r"(?m)^(FROM .*)$", rf"\1\nENV BENCH_ROUND={self._salt}", text, count=1)
        text = re.sub(r"(?m)^# syntax.*\n", "", text)  # BuildKit's own: no hub is asked for one
        file.write_text(re.sub(r"(?m)^RUN ", f"RUN {_CACHES}", text))
        return folder


class Mlflow(Peer):
    """`mlflow models build-docker`."""

    _TRAIN = """\
import mlflow, sys
import pandas as pd
from sklearn.linear_model import LogisticRegression
table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
model = LogisticRegression(C=float(sys.argv[1])).fit(table, [0, 0, 1, 1])
mlflow.sklearn.save_model(
    model, "model", input_example=table, extra_pip_requirements=sys.argv[2:] or None
)
"""

    def __init__(self, scratch: Path, base: str) -> None:
        super().__init__(scratch, base)
        self._programs = environment("mlflow", ["mlflow", *_ALSO, *MORE])
        self.title = f"mlflow {version(self._programs, 'mlflow')}"

    def train(self, state: State) -> None:
        """Save a model."""
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        quiet([self._programs / "python", "-c", self._TRAIN, state.strength, *state.more],
              self.folder)  # fmt: skip

    def context(self, state: State) -> Path:  # noqa: ARG002
        """Have it write its Dockerfile: what `build-docker` builds."""
        shutil.rmtree(self.folder / "context", ignore_errors=True)
        quiet(
            [self._programs / "mlflow", "models", "generate-dockerfile", "-m", "model",
             "-d", "context"], self.folder,
        )  # fmt: skip
        return self.folder / "context"


class Bentoml(Peer):
    """`bentoml build` and `bentoml containerize`."""

    _SERVICE = """\
import bentoml
import pandas as pd


@bentoml.service
class Model:
    model = bentoml.models.BentoModel("model:latest")

    def __init__(self):
        self.loaded = bentoml.sklearn.load_model(self.model)

    @bentoml.api
    def predict(self, a: list[float], b: list[float]) -> list[float]:
        return list(self.loaded.predict(pd.DataFrame({"a": a, "b": b})))
"""
    _TRAIN = """\
import bentoml, sys
import pandas as pd
from sklearn.linear_model import LogisticRegression
table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
bentoml.sklearn.save_model(
    "model", LogisticRegression(C=float(sys.argv[1])).fit(table, [0, 0, 1, 1])
)
"""
    # What `containerize` gives to its builder, models and all.
    _CONTEXT = """\
import shutil, sys
import bentoml
from bentoml._internal.container import construct_containerfile
with construct_containerfile(bentoml.get(sys.argv[1]), enable_buildkit=True) as (folder, file):
    shutil.copytree(folder, sys.argv[2])
    shutil.copy(file, f"{sys.argv[2]}/Dockerfile")
"""

    def __init__(self, scratch: Path, base: str) -> None:
        super().__init__(scratch, base)
        self._programs = environment("bentoml", ["bentoml", *_ALSO, *MORE])
        self.title = f"bentoml {version(self._programs, 'bentoml')}"
        self._variables = {
            "BENTOML_HOME": str(self.folder / "home"), "BENTOML_DO_NOT_TRACK": "1",
            "PATH": f"{self._programs}:{os.environ['PATH']}",
        }  # fmt: skip
        self._source = self.folder / "source"  # its home in there would be packed, too
        self._source.mkdir()
        (self._source / "service.py").write_text(self._SERVICE)

    def train(self, state: State) -> None:
        """Save a model and say what the service needs."""
        packages = ["scikit-learn", "pandas", *state.more]
        (self._source / "bentofile.yaml").write_text(
            f"service: service:Model\ninclude: [service.py]\npython:\n"
            f"  packages: {json.dumps(packages)}\n"
        )
        quiet([self._programs / "python", "-c", self._TRAIN, state.strength], self._source,
              self._variables)  # fmt: skip

    def context(self, state: State) -> Path:  # noqa: ARG002
        """Have it build its bento, and what it gives to its builder."""
        said = quiet([self._programs / "bentoml", "build", "-o", "tag"], self._source,
                     self._variables)  # fmt: skip
        tag = said.strip().rpartition("__tag__:")[2]
        made = self.folder / uuid.uuid4().hex
        quiet([self._programs / "python", "-c", self._CONTEXT, tag, made], self._source,
              self._variables)  # fmt: skip
        return made


class Repo2docker(Peer):
    """`repo2docker`, as far as its Dockerfile."""

    kind = "notebook"
    arguments = MappingProxyType({"NB_USER": "jo", "NB_UID": "1000"})
    # What `repo2docker .` gives to its builder.
    _CONTEXT = """\
import sys, tarfile
from repo2docker.buildpacks import PythonBuildPack
class Engine:
    def build(self, fileobj, **_):
        with tarfile.open(fileobj=fileobj) as tar:
            tar.extractall(sys.argv[1])
        return iter(())
pack = PythonBuildPack(base_image=sys.argv[2])
pack.platform = "linux/amd64"
assert pack.detect()
list(pack.build(Engine(), "x", 0, {"NB_USER": "jo", "NB_UID": "1000"}, [], {}))
"""

    def __init__(self, scratch: Path, base: str) -> None:
        super().__init__(scratch, base)
        self._programs = environment("repo2docker", ["jupyter-repo2docker", *_ALSO])
        self.title = f"repo2docker {version(self._programs, 'jupyter-repo2docker')}"
        self._source = self.folder / "source"
        self._source.mkdir()

    def train(self, state: State) -> None:
        """Write the repository."""
        notebook(self._source, state)
        wanted = ["mlflow-skinny", "pandas", "scikit-learn", *state.more]
        (self._source / "requirements.txt").write_text("\n".join(wanted))

    def context(self, state: State) -> Path:  # noqa: ARG002
        """Have it write its Dockerfile, with the files that it copies."""
        made = self.folder / uuid.uuid4().hex
        quiet([self._programs / "python", "-c", self._CONTEXT, made, self.base], self._source)
        return made


TOOLS = {"mlflow": Mlflow, "bentoml": Bentoml, "repo2docker": Repo2docker}
