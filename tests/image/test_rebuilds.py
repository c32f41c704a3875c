"""Rebuilds from nothing: one digest for each notebook and builder, whoever builds it and where.

MLREPRO_REBUILDS=100 pytest -s tests/image/test_rebuilds.py  # twice each, unless told

The dependencies take most of the time: MLREPRO_REBUILDS_WHOLE=10 makes them anew in every
tenth build only, and in the others all that is above them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import index, oci, uv
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders.docker import DockerBuilder
from mlrepro_nb.image.builders.oci import OciBuilder
from mlrepro_nb.model import DataAccess, Distribution, DvcPointer, Record, silent
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import blake, notebook, put

pytestmark = pytest.mark.engine

Recorded = tuple[Path, Store, Record]
PYTHON = platform.python_version()
TIMES = int(os.environ.get("MLREPRO_REBUILDS", "2"))
WHOLE = int(os.environ.get("MLREPRO_REBUILDS_WHOLE", "1"))
LEARNS = ("joblib==1.5.2", "numpy==2.2.6", "scikit-learn==1.7.2", "scipy==1.15.3",
          "threadpoolctl==3.6.0")  # fmt: skip
PINS = {
    "plain": LEARNS,
    "library": ("lightgbm==4.6.0", *LEARNS[1:2], *LEARNS[3:4]),  # its wheel wants libgomp.so.1
    "project": ("click==8.1.8", "python-dateutil==2.9.0.post0", "six==1.17.0"),
}
SOURCES = {
    "plain": ("import sklearn.linear_model as l", "print(l.LinearRegression())"),
    "library": ("import lightgbm", "print(lightgbm.__version__)"),
    "project": ("import helpers.scale", "print(helpers.scale.twice(6))"),
}
VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "77", "HOME": "/nonexistent",
     "USER": "nobody", "UMASK": "077"},
    {"TZ": "Pacific/Apia", "PYTHONHASHSEED": "1", "UMASK": "000"},
)  # fmt: skip
"""What differs between two machines besides the folder; every second build is by another user."""


def a_wheel(folder: Path) -> Distribution:
    """Return a distribution of a local file: this checkout's own wheel would change as we edit."""
    source = folder / "own"
    (source / "own").mkdir(parents=True)
    (source / "own" / "__init__.py").write_text("ANSWER = 42\n")
    (source / "pyproject.toml").write_text('[project]\nname = "own"\nversion = "1.0"\n')
    made = uv.build_wheel(source, folder / "wheel", epoch=oci.EPOCH)
    return Distribution(name="own", version="1.0", origin="wheel", source=str(made))


@pytest.fixture
def cache_of_downloads() -> oci.Cache:
    """Wheels and base image; what lies there changes no digest."""
    return oci.Cache()


@pytest.fixture(params=sorted(PINS))
def kept(
    request: pytest.FixtureRequest, recorded: Recorded, tmp_path: Path
) -> tuple[str, Path, Store]:
    """A committed notebook of one of the three kinds, recorded by this very Python."""
    folder, store, record = recorded
    kind = str(request.param)
    (folder / "train.ipynb").write_text(json.dumps(notebook(SOURCES[kind])), encoding="utf-8")
    data: tuple[DataAccess, ...] = ()
    if kind == "project":
        content = bytes(range(256)) * 400
        (folder / "big.bin").write_bytes(content)
        pointer = "outs:\n- md5: 3d8e577bddb17db339eae0b3d9bcf180\n  path: big.bin\n"
        (folder / "big.bin.dvc").write_text(pointer)
        (folder / ".dvc").mkdir()
        (folder / ".dvc" / "config").write_text("[core]\n    remote = s\n")
        data = (
            DataAccess(
                path="big.bin", repo_path="big.bin", digest=blake(content), size=len(content),
                access="read", cell=1, execution=1,
                dvc=DvcPointer(file="big.bin.dvc", md5="3d8e577bddb17db339eae0b3d9bcf180"),
            ),
        )  # fmt: skip
    git(folder, "add", ".")
    git(folder, "commit", "-qm", kind)
    environment = msgspec.structs.replace(record.environment, python=PYTHON)
    modules = record.code.modules if kind == "project" else ()
    changed = put(folder, store, environment=environment, data=(*record.data, *data))
    put(folder, store, environment=environment, data=(*record.data, *data),
        code=msgspec.structs.replace(changed.code, modules=modules))  # fmt: skip
    (tmp_path / "lock").write_text(uv.lock(PINS[kind], python=PYTHON))
    (tmp_path / "wheel.json").write_bytes(msgspec.json.encode(a_wheel(tmp_path)))
    return kind, folder, store


def plan(kind: str, base: str, given: Path) -> image.Plan:
    full = image.plan("train.ipynb", base=base, build_id="1", offline=True, bake_data=True)
    own = msgspec.json.decode((given / "wheel.json").read_bytes(), type=Distribution)
    return msgspec.structs.replace(
        full, local=(own,), pins=PINS[kind], lock=(given / "lock").read_text(), problems=()
    )


def build(builder: str, planned: image.Plan, store: Store, fresh: Path, downloads: Path) -> str:
    """Build from nothing but downloads, and dependencies that the cache has, if any."""
    caches = oci.Cache(fresh), oci.Cache(downloads)
    by: Any = OciBuilder(*caches) if builder == "oci" else DockerBuilder(*caches, fresh=True)
    return str(by.build(planned, Wanted(bundle=index.ca_bundle()), store, silent).manifest)


SCRIPT = """
import os, sys, time
os.umask(int(os.environ.get("UMASK", "022"), 8))
now, away = time.time, int(os.environ["DAYS"]) * 86400
time.time = lambda: now() + away
from pathlib import Path
from mlrepro_nb.store import Store
from tests.image.test_rebuilds import build, plan
builder, kind, base, given, fresh, downloads = sys.argv[1:]
planned = plan(kind, base, Path(given))
print(build(builder, planned, Store.find(), Path(fresh), Path(downloads)))
"""


def elsewhere(
    arguments: Sequence[str], folder: Path, store: Store, number: int
) -> subprocess.Popen[str]:
    """Start a build in a process of its own, as another user of another machine would."""
    user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if number % 2 else []
    variables = {**os.environ, **VARIANTS[number % len(VARIANTS)]}
    variables |= {"MLREPRO_STORE": str(store.root), "PYTHONPATH": str(Path(__file__).parents[2])}
    variables["DAYS"] = str(number * 5 % 23 - 11)
    return subprocess.Popen(
        [*user, sys.executable, "-c", SCRIPT, *arguments], cwd=folder, env=variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("builder", ["docker", "oci"])
def test_every_rebuild_gives_one_digest(
    kept: tuple[str, Path, Store], builder: str, base_image: str, buildkit: str,
    cache_of_downloads: oci.Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    kind, folder, store = kept
    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    clone = tmp_path / "another place" / "of another name"
    clone.parent.mkdir()
    git(tmp_path, "clone", "-q", str(folder), str(clone))
    git(clone, "remote", "remove", "origin")
    if kind == "project":  # as `dvc pull` would
        (clone / "big.bin").write_bytes((folder / "big.bin").read_bytes())
    found: dict[str, int] = {}
    kept_dependencies = tmp_path / "dependencies"
    for number in range(TIMES):
        fresh = tmp_path / f"fresh-{number}"
        whole = number % WHOLE == 0
        if not whole:
            subprocess.run(["cp", "-al", str(kept_dependencies), str(fresh)], check=True)
        at = (folder, clone)[number % 2]
        dated(at, number)
        arguments = [builder, kind, base_image, str(tmp_path), str(fresh),
                     str(cache_of_downloads.root)]  # fmt: skip
        process = elsewhere(arguments, at, store, number)
        said, wrong = process.communicate()
        assert process.returncode == 0, wrong
        found[said.strip()] = found.get(said.strip(), 0) + 1
        how = "whole" if whole else "above the dependencies"
        print(f"{kind} {builder} {number + 1}, {how}: {said.strip()}", flush=True)
        if number == 0:
            fresh.rename(kept_dependencies)
        shutil.rmtree(fresh, ignore_errors=True)
    assert len(found) == 1, found


def dated(folder: Path, number: int) -> None:
    """Give the project's files other dates than they had in the last build."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for count, name in enumerate(files):
            date = 1_000_000_000 + number * 86_400 * 31 + count
            os.utime(Path(parent) / name, (date, date))
