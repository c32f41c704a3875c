"""What every tool has in common: states, a base image, and how an image is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import msgspec
import nbformat.v4

from mlrepro_nb.connect import index, oci, registry, uv

MORE = ("boltons==25.0.0", "toolz==1.0.0", "more-itertools==10.5.0", "sortedcontainers==2.4.0",
        "parse==1.20.2", "text-unidecode==1.3", "inflection==0.5.1")  # fmt: skip
"""Distributions that are added: another one in each round, which no cache has a layer of."""
MODULES = ("boltons", "toolz", "more_itertools", "sortedcontainers", "parse", "text_unidecode",
           "inflection")  # fmt: skip
PLATFORM = "linux/amd64"


class State(msgspec.Struct, frozen=True):
    """What is built: of which code, with what."""

    name: str
    round: int

    @property
    def strength(self) -> str:
        """A number in the code that the model depends on: after other changes it is the same."""
        return f"{self.round + 1}.{int(self.name == 'model')}"

    @property
    def more(self) -> tuple[str, ...]:
        """Distributions besides those of the others."""
        return (MORE[self.round % len(MORE)],) if self.name == "more" else ()

    @property
    def modules(self) -> tuple[str, ...]:
        """What the code imports of them."""
        return (MODULES[self.round % len(MODULES)],) if self.more else ()


class Built(msgspec.Struct, frozen=True):
    """Seconds of a build, from the command's start, and what came of it."""

    built: float
    pushed: float
    size: int
    files: int
    marks: dict[str, float] = {}


class Tool(Protocol):
    """One of those that are compared."""

    title: str
    kind: str

    def warm(self) -> None:
        """Fill the caches of wheels; raise what is in the way of building here."""

    def build(self, state: State) -> Built:
        """Make what is to be built, then build it, timed, and push it."""


def server() -> str:
    """Return the registry."""
    return os.environ["MLREPRO_TEST_REGISTRY"]


def a_repository() -> str:
    """Return a repository that nothing was pushed to."""
    return f"{server()}/bench/{uuid.uuid4().hex[:12]}"


def prepared(scratch: Path) -> str:
    """Return the base image for the peers: it asks this machine's index, with its certificates."""
    folder = scratch / "base"
    folder.mkdir()
    bundle, settings = index.ca_bundle(), index.settings()
    (folder / "ca.pem").write_bytes(Path(bundle).read_bytes() if bundle else b"")
    lines = [f"FROM {os.environ['MLREPRO_TEST_BASE']}", "USER root"]
    if bundle:
        lines += ["COPY ca.pem /ca.pem", "ENV PIP_CERT=/ca.pem SSL_CERT_FILE=/ca.pem "
                  "REQUESTS_CA_BUNDLE=/ca.pem"]  # fmt: skip
    if settings.url:
        lines.append(f"ENV PIP_INDEX_URL={settings.url} UV_DEFAULT_INDEX={settings.url}")
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    name = f"{a_repository()}:base"
    buildctl(folder, push=name)
    return name


def buildctl(
    folder: Path, *, arguments: Mapping[str, str] = MappingProxyType({}),
    push: str | None = None,
) -> None:  # fmt: skip
    """Build a folder's Dockerfile, in BuildKit's cache or as far as a registry."""
    command = [
        "buildctl", "--addr", os.environ["MLREPRO_TEST_BUILDKIT"], "build", "--progress", "plain",
        "--frontend", "dockerfile.v0", "--local", f"context={folder}",
        "--local", f"dockerfile={folder}",
        *(part for n, v in arguments.items() for part in ("--opt", f"build-arg:{n}={v}")),
        *(["--output", f"type=image,name={push},push=true"] if push else []),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)


def measured(reference: str) -> tuple[int, int]:
    """Return the compressed bytes of an image in a registry, and how many files it has."""
    image = oci.image(registry.manifest(reference, platform=PLATFORM).content, reference)
    paths: set[str] = set()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "layer"
        for layer in image.layers:
            registry.download(reference, layer.digest, layer.size, path)
            with oci.opened(path) as archive:
                paths.update(e.name.removeprefix("./") for e in archive if _is_file(e))
            path.unlink()
    return sum(layer.size for layer in image.layers), len(paths)


def _is_file(entry: tarfile.TarInfo) -> bool:
    return not entry.isdir() and not entry.name.rpartition("/")[2].startswith(".wh.")


def notebook(folder: Path, state: State) -> None:
    """Write the notebook of a state."""
    cells = [
        "\n".join([
            "import mlflow", "import pandas as pd",
            "from sklearn.linear_model import LogisticRegression",
            *(f"import {module}" for module in state.modules), f"# {state.name}",
        ]),
        "table = pd.DataFrame({'a': [0.0, 1.0, 2.0, 3.0], 'b': [1.0, 0.0, 1.0, 0.0]})\n"
        f"model = LogisticRegression(C={state.strength}).fit(table, [0, 0, 1, 1])",
        "mlflow.sklearn.log_model(model, name='model', input_example=table, "
        f"extra_pip_requirements={list(state.more) or None})",
    ]  # fmt: skip
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    (folder / "train.ipynb").write_text(nbformat.writes(made))


def environment(name: str, requirements: list[str]) -> Path:
    """Return the programs of an environment, made with uv if it is not there as wanted."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "mlrepro-nb-bench" / f"building-{name}"
    wanted = "\n".join(requirements)
    noted = folder / "ready"
    if not noted.exists() or noted.read_text() != wanted:
        for command in (
            [uv.program(), "venv", "-q", "--clear", "-p", sys.executable, str(folder)],
            # As pip leaves it: what was only just installed is compiled.
            [uv.program(), "pip", "install", "-q", "--compile-bytecode",
             "-p", str(folder / "bin" / "python"), *requirements],
        ):  # fmt: skip
            subprocess.run(command, check=True, capture_output=True)
        noted.write_text(wanted)
    return folder / "bin"


def version(programs: Path, distribution: str) -> str:
    """Return the version of a distribution in an environment."""
    said = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    return quiet([programs / "python", "-c", said, distribution], Path.cwd()).strip()


def quiet(command: list[str | Path], folder: Path, variables: dict[str, str] | None = None) -> str:
    """Run a command and return what it printed."""
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True,
        env={**os.environ, **(variables or {})},
    ).stdout  # fmt: skip
