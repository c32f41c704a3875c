"""Images of one notebook's model: both of our builders, MLflow, BentoML, repo2docker.

The notebook trains a small scikit-learn model and logs it. Every tool starts from the
same base image, and builds three times: cold (no layer of it is there), after a change of
the code alone, and with one distribution more. Ours keep wheels between builds and are
measured with and without them; the peers' Dockerfiles download anew. A tool that does not
run here says why. Needs ``tests/cluster/up`` (engine, registry, base, buildkit).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec
import nbformat.v4

from mlrepro_nb import image
from mlrepro_nb.connect import index, oci, uv
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders.docker import DockerBuilder
from mlrepro_nb.image.builders.oci import OciBuilder
from mlrepro_nb.model import silent
from mlrepro_nb.store import Store

MORE = "boltons==25.0.0"
CELLS = (
    "import mlflow\nimport pandas as pd\nfrom sklearn.linear_model import LogisticRegression",
    "table = pd.DataFrame({'a': [0.0, 1.0, 2.0, 3.0], 'b': [1.0, 0.0, 1.0, 0.0]})\n"
    "model = LogisticRegression(C=1.0).fit(table, [0, 0, 1, 1])",
    "mlflow.sklearn.log_model(model, name='model', input_example=table)",
)
PEERS = {"mlflow": "mlflow", "bentoml": "bentoml", "repo2docker": "jupyter-repo2docker"}
_BENTO = """\
import bentoml
import pandas as pd


@bentoml.service
class Model:
    def __init__(self):
        self.model = bentoml.sklearn.load_model("model:latest")

    @bentoml.api
    def predict(self, a: list[float], b: list[float]) -> list[float]:
        return list(self.model.predict(pd.DataFrame({"a": a, "b": b})))
"""
_BENTO_TRAIN = """\
import bentoml
import pandas as pd
from sklearn.linear_model import LogisticRegression
table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
bentoml.sklearn.save_model("model", LogisticRegression(C=%s).fit(table, [0, 0, 1, 1]))
"""
_MLFLOW_TRAIN = """\
import mlflow, sys
import pandas as pd
from sklearn.linear_model import LogisticRegression
table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
model = LogisticRegression(C=%s).fit(table, [0, 0, 1, 1])
mlflow.sklearn.save_model(model, "model", input_example=table, extra_pip_requirements=%s)
"""
Row = dict[str, object]


def measure() -> list[Row]:
    """Return seconds, compressed size and number of files for each tool."""
    base = os.environ["MLREPRO_TEST_BASE"]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        rows = [*_ours(base, scratch)]
        for row in rows:
            print(row, file=sys.stderr, flush=True)
        trusted = _trusted(base, scratch)
        for peer, build in {"mlflow": _mlflow, "bentoml": _bentoml, "repo2docker": _r2d}.items():
            folder = scratch / peer
            folder.mkdir()
            try:
                rows.append(_peer(peer, build(trusted, folder)))
            except (subprocess.CalledProcessError, OSError, RuntimeError) as error:
                said = getattr(error, "stderr", None) or str(error)
                said = said.decode(errors="replace") if isinstance(said, bytes) else said
                last = [line for line in said.splitlines() if line.strip()] or ["?"]
                rows.append({"tool": peer, "kind": f"does not run here: {last[-1].strip()[:90]}"})
            print(rows[-1], file=sys.stderr, flush=True)
    heads = list(rows[0])
    return [{head: row.get(head, "") for head in heads} for row in rows]


def _row(tool: str, kind: str, seconds: dict[str, float], size: int, files: int) -> Row:
    return {
        "tool": tool, "kind": kind,
        "nothing cached, s": round(seconds.get("nothing", seconds.get("cold", 0.0)), 1),
        "cold, s": round(seconds["cold"], 1),
        "code changed, s": round(seconds["code"], 2),
        "one more dependency, s": round(seconds["more"], 1),
        "MB compressed": round(size / 1e6), "files": files,
    }  # fmt: skip


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- ours


def _ours(base: str, scratch: Path) -> Iterator[Row]:
    project = scratch / "project"
    project.mkdir()
    _notebook(project, "1.0")
    git = ["git", "-c", "user.name=b", "-c", "user.email=b@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "A notebook"]):
        subprocess.run([*git, *arguments], cwd=project, check=True)
    with _inside(project):
        plans = {kind: [_plan(base, kind)] for kind in ("service", "job")}
        _notebook(project, "2.0")
        for kind, made in plans.items():
            made.append(_plan(base, kind))
            more = uv.lock([MORE], python=made[1].python, machine=made[1].machine)
            lock = "\n".join([str(made[1].lock).rstrip("\n"), more])
            made.append(msgspec.structs.replace(made[1], pins=(*made[1].pins, MORE), lock=lock))
        for kind, made in plans.items():
            yield _without_engine(kind, made, scratch / f"oci-{kind}")
            yield _with_engine(kind, made)


def _without_engine(kind: str, plans: list[image.Plan], scratch: Path) -> Row:
    store = Store.find()
    downloads, made = oci.Cache(scratch / "downloads"), []

    def build(plan: image.Plan, cache: oci.Cache) -> None:
        made.append(OciBuilder(cache, downloads).build(plan, Wanted(), store, silent))

    seconds = {"nothing": _timed(lambda: build(plans[2], oci.Cache(scratch / "first")))}
    cache = oci.Cache(scratch / "cache")
    for what, plan in zip(("cold", "code", "more"), plans, strict=True):
        seconds[what] = _timed(lambda plan=plan: build(plan, cache))
    layers = made[-1].image.layers
    files = sum(_files(cache.blob(layer.digest)) for layer in layers)
    return _row("mlrepro, no engine", kind, seconds, sum(layer.size for layer in layers), files)


def _with_engine(kind: str, plans: list[image.Plan]) -> Row:
    store, bundle = Store.find(), index.ca_bundle()
    identity = ""

    def build(plan: image.Plan) -> None:
        nonlocal identity
        identity = DockerBuilder().build(plan, Wanted(bundle=bundle, load=True), store, silent).id

    # A layer that no build has seen: what follows is built anew, pip's cache mount stays.
    cold = msgspec.structs.replace(plans[0], lock=f"{plans[0].lock}# {uuid.uuid4().hex}\n")
    changed = [
        msgspec.structs.replace(plan, lock=f"{plan.lock}{cold.lock.rpartition('#')[1]}"
                                f"{cold.lock.rpartition('#')[2]}") for plan in plans[1:]
    ]  # fmt: skip
    seconds = {}
    for what, plan in zip(("cold", "code", "more"), (cold, *changed), strict=True):
        seconds[what] = _timed(lambda plan=plan: build(plan))
    size, files = _saved(identity)
    return _row("mlrepro, engine", kind, seconds, size, files)


def _notebook(folder: Path, strength: str) -> None:
    cells = [nbformat.v4.new_code_cell(c.replace("C=1.0", f"C={strength}")) for c in CELLS]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    (folder / "train.ipynb").write_text(nbformat.writes(notebook))
    (folder / ".gitignore").write_text("mlruns/\nmlflow.db*\n.mlrepro/\n")


def _plan(base: str, kind: str) -> image.Plan:
    subprocess.run(["mlrepro", "record", "train.ipynb"], check=True, capture_output=True)
    return image.plan("train.ipynb", kind=kind, base=base, allow_dirty=True, build_id="1")


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


# --- the peers: what their commands give to `docker build`, from the same base image


def _trusted(base: str, scratch: Path) -> str:
    """Return a base image that asks this machine's index, with its certificates."""
    folder = scratch / "base"
    folder.mkdir()
    bundle, settings = index.ca_bundle(), index.settings()
    (folder / "ca.pem").write_bytes(Path(bundle).read_bytes() if bundle else b"")
    lines = [f"FROM {base}", "USER root"]
    if bundle:
        lines += ["COPY ca.pem /ca.pem", "ENV PIP_CERT=/ca.pem SSL_CERT_FILE=/ca.pem "
                  "REQUESTS_CA_BUNDLE=/ca.pem"]  # fmt: skip
    if settings.url:
        lines.append(f"ENV PIP_INDEX_URL={settings.url} UV_DEFAULT_INDEX={settings.url}")
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    return _docker(folder, fresh=False)


def _docker(folder: Path, *, fresh: bool) -> str:
    command = [
        "docker",
        "build",
        "-q",
        *(["--no-cache"] if fresh else []),
        ".",
    ]
    done = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1]


def _peer(name: str, contexts: Callable[[str, bool], Path]) -> Row:
    seconds, identity = {}, ""
    for what in ("cold", "code", "more"):
        start = time.perf_counter()
        folder = contexts("1.0" if what == "cold" else "2.0", what == "more")
        identity = _docker(folder, fresh=what == "cold")
        seconds[what] = time.perf_counter() - start
    size, files = _saved(identity)
    kind = "notebook" if name == "repo2docker" else "service"
    return _row(f"{name} {_version(name)}", kind, seconds, size, files)


def _environment(peer: str) -> Path:
    """Return the environment of a peer, made with uv if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "mlrepro-nb-bench" / f"building-{peer}"
    if not (folder / "ready").exists():
        run = [uv.program(), "venv", "-q", "--clear", "-p", sys.executable, str(folder)]
        subprocess.run(run, check=True, capture_output=True)
        also = ["scikit-learn", "pandas", "pip", "uv"]
        install = [uv.program(), "pip", "install", "-q", "-p", str(folder / "bin" / "python")]
        subprocess.run([*install, PEERS[peer], *also], check=True, capture_output=True)
        (folder / "ready").touch()
    return folder / "bin"


def _version(peer: str) -> str:
    said = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    return subprocess.run(
        [_environment(peer) / "python", "-c", said, PEERS[peer]],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


def _mlflow(base: str, folder: Path) -> Callable[[str, bool], Path]:
    programs = _environment("mlflow")

    def context(strength: str, more: bool) -> Path:  # noqa: FBT001
        for name in ("model", "context"):
            shutil.rmtree(folder / name, ignore_errors=True)
        train = _MLFLOW_TRAIN % (strength, [MORE] if more else None)
        _quiet([programs / "python", "-c", train], folder)
        _quiet(
            [programs / "mlflow", "models", "generate-dockerfile", "-m", "model", "-d", "context"],
            folder,
        )
        return _from(folder / "context", base)

    return context


def _bentoml(base: str, folder: Path) -> Callable[[str, bool], Path]:
    programs = _environment("bentoml")
    home = {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "1",
            "PATH": f"{programs}:{os.environ['PATH']}"}  # fmt: skip
    (folder / "service.py").write_text(_BENTO)

    def context(strength: str, more: bool) -> Path:  # noqa: FBT001
        packages = ["scikit-learn", "pandas", *([MORE] if more else [])]
        (folder / "bentofile.yaml").write_text(
            "service: service:Model\ninclude: [service.py]\nmodels: [model:latest]\n"
            f"python:\n  packages: {json.dumps(packages)}\n"
        )
        _quiet([programs / "python", "-c", _BENTO_TRAIN % strength], folder, home)
        said = _quiet([programs / "bentoml", "build", "-o", "tag"], folder, home)
        name, _, version = said.strip().rpartition("__tag__:")[2].partition(":")
        built = folder / "home" / "bentos" / name / version
        shutil.copy(built / "env" / "docker" / "Dockerfile", built / "Dockerfile")
        return _from(built, base)

    return context


def _r2d(base: str, folder: Path) -> Callable[[str, bool], Path]:
    programs = _environment("repo2docker")

    def context(strength: str, more: bool) -> Path:  # noqa: FBT001
        source = folder / "source"
        source.mkdir(exist_ok=True)
        _notebook(source, strength)
        wanted = ["mlflow-skinny", "pandas", "scikit-learn", *([MORE] if more else [])]
        (source / "requirements.txt").write_text("\n".join(wanted))
        # It builds by itself, through the engine's API.
        name = f"mlrepro-bench/r2d:{uuid.uuid4().hex[:8]}"
        _quiet([programs / "repo2docker", "--no-run", "--user-id", "1000", "--user-name", "jo",
                f"--Repo2Docker.base_image={base}", "--image-name", name, "source"],
               folder)  # fmt: skip
        made = folder / "made"
        made.mkdir(exist_ok=True)
        (made / "Dockerfile").write_text(f"FROM {name}\n")
        return made

    return context


def _from(folder: Path, base: str) -> Path:
    file = folder / "Dockerfile"
    text = re.sub(r"(?m)^FROM \S+", f"FROM {base}", file.read_text(), count=1)
    file.write_text(text)
    return folder


def _quiet(
    command: list[str | Path], folder: Path, variables: Mapping[str, str] = MappingProxyType({})
) -> str:
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True,
        env={**os.environ, **variables},
    ).stdout  # fmt: skip


# --- what came out


def _saved(identity: str) -> tuple[int, int]:
    """Return the size of an engine's image as a registry holds it, by gzip, and its files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["docker", "save", "-o", folder / "a.tar", identity], check=True)
        subprocess.run(["tar", "-xf", "a.tar"], cwd=folder, check=True)
        (told,) = json.loads((folder / "manifest.json").read_bytes())
        size = files = 0
        for layer in map(str, told["Layers"]):
            packed = subprocess.run(["gzip", "-c", layer], cwd=folder, check=True,
                                    capture_output=True)  # fmt: skip
            size += len(packed.stdout)
            files += _files(folder / layer)
        return size, files


def _files(layer: Path) -> int:
    with tarfile.open(layer) as tar:
        return sum(not entry.isdir() for entry in tar)
