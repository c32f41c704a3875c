"""Images without an engine: the same digest everywhere, and in a real engine as good as its own."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import docker, oci, uv
from mlrepro_nb.connect import registry as door
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.image.builders import Wanted, choose
from mlrepro_nb.image.builders.oci import OciBuilder
from mlrepro_nb.image.builders.oci._base import base
from mlrepro_nb.image.supply.packages import WANTED
from mlrepro_nb.model import Image, Record, Step, short, silent
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import put

pytestmark = pytest.mark.engine

Recorded = tuple[Path, Store, Record]
# Pillow is big enough for a layer of its own, and quick to compile.
PINS = ("click==8.1.8", "pillow==11.3.0", "python-dateutil==2.9.0.post0", "six==1.17.0")
PYTHON = platform.python_version()


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check)


@pytest.fixture(scope="session")
def downloads() -> oci.Cache:
    """Wheels and base image; what lies there changes no digest."""
    return oci.Cache()


@pytest.fixture(scope="session")
def lock() -> str:
    return uv.lock(PINS, python=PYTHON)


@pytest.fixture
def exact(recorded: Recorded) -> Recorded:
    """The recorded project, recorded by this very Python."""
    folder, store, record = recorded
    environment = msgspec.structs.replace(record.environment, python=PYTHON)
    return folder, store, put(folder, store, environment=environment)


@pytest.fixture
def small(exact: Recorded, base_image: str, lock: str) -> image.Plan:
    """A plan of few distributions, none of which is this checkout: others edit that."""
    return little(base_image, lock)


def little(base: str, lock: str, **options: Any) -> image.Plan:
    full = image.plan("train.ipynb", base=base, build_id="1", offline=True, **options)
    return msgspec.structs.replace(full, local=(), pins=PINS, lock=lock, problems=())


def build(plan: image.Plan, store: Store, cache: oci.Cache, downloads: oci.Cache) -> Any:
    return OciBuilder(cache, downloads).build(plan, Wanted(), store, silent)


def test_the_same_plan_gives_the_same_image_wherever_and_whenever(
    exact: Recorded, small: image.Plan, downloads: oci.Cache, base_image: str, lock: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder, store, _ = exact
    cache = oci.Cache(tmp_path / "cold")
    first = build(small, store, cache, downloads)
    assert build(small, store, cache, downloads).manifest == first.manifest  # warm
    clone = tmp_path / "elsewhere" / "with a space"
    clone.parent.mkdir()
    git(tmp_path, "clone", "-q", str(folder), str(clone))
    git(clone, "remote", "remove", "origin")
    script = (
        "import os, sys; os.umask(0o077)\n"
        "from pathlib import Path\n"
        "from mlrepro_nb.connect import oci\n"
        "from mlrepro_nb.store import Store\n"
        "from tests.image.test_oci_builder import build, little\n"
        "lock = Path(sys.argv[1]).read_text()\n"
        f"made = build(little({base_image!r}, lock), Store.find(), oci.Cache(Path(sys.argv[2])), "
        f"oci.Cache(Path({str(downloads.root)!r})))\n"
        "print(made.manifest)\n"
    )
    (tmp_path / "lock").write_text(lock)
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "lock"), str(tmp_path / "other")],
        cwd=clone, check=True, capture_output=True, text=True,
        env={**os.environ, "MLREPRO_STORE": str(store.root), "TZ": "Asia/Kathmandu",
             "LC_ALL": "C", "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert ended.stdout.strip() == first.manifest


def test_what_was_prepared_is_not_made_again(
    exact: Recorded, small: image.Plan, downloads: oci.Cache, tmp_path: Path
) -> None:
    _, store, _ = exact
    builder = OciBuilder(oci.Cache(tmp_path / "cache"), downloads)
    steps: list[str] = []

    def report(step: Step) -> None:
        steps.append(step.message)

    builder.prepare(small, Wanted(), report)
    assert any(step.startswith("unpacking") for step in steps)
    steps.clear()
    made = builder.build(small, Wanted(), store, report)
    assert not any(step.startswith("unpacking") for step in steps)
    assert made.id == build(small, store, oci.Cache(tmp_path / "other"), downloads).id


def test_the_system_is_looked_for_in_the_base_image_alone(
    exact: Recorded, small: image.Plan, downloads: oci.Cache, tmp_path: Path
) -> None:
    cache = oci.Cache(tmp_path / "cache")
    made = build(small, exact[1], cache, downloads)
    steps: list[str] = []
    found = made.texts(WANTED, lambda step: steps.append(step.message))
    assert "/var/lib/dpkg/status" in found
    layers = [layer.digest for layer in base(small, downloads, silent).image.layers]
    assert steps == [f"looking through layer {short(digest)}" for digest in layers]


def test_a_change_of_code_makes_two_layers(
    exact: Recorded, small: image.Plan, downloads: oci.Cache, base_image: str, lock: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder, store, _ = exact
    cache = oci.Cache(tmp_path / "cold")
    first = build(small, store, cache, downloads).image.layers
    cells = json.loads((folder / "train.ipynb").read_text())
    cells["cells"][0]["source"] += "\n# a comment"
    (folder / "train.ipynb").write_text(json.dumps(cells))
    git(folder, "commit", "-qam", "Comment")
    environment = msgspec.structs.replace(exact[2].environment, python=PYTHON)
    put(folder, store, environment=environment)
    before = {p for p in (cache.root / "blobs").rglob("*") if p.is_file()}
    second = build(little(base_image, lock), store, cache, downloads).image.layers
    assert [a == b for a, b in zip(first, second, strict=True)] == (
        [True] * (len(first) - 2) + [False, False]
    )
    made = {p for p in (cache.root / "blobs").rglob("*") if p.is_file()} - before
    assert len(made) == 4  # code, record, configuration, manifest


def test_the_image_is_set_up_as_the_engine_s_own(
    exact: Recorded, base_image: str, tmp_path: Path
) -> None:
    name = f"test/{uuid.uuid4().hex[:12]}"
    options: dict[str, Any] = {"base": base_image, "build_id": "1"}
    _, theirs = image.build("train.ipynb", builder="docker", **options)
    _, ours = image.build("train.ipynb", builder="oci", load=True, repository=name, **options)
    assert (theirs.builder, ours.builder) == ("docker", "oci")
    assert ours.manifest is not None
    told = [json.loads(run("inspect", i.id).stdout)[0] for i in (theirs, ours)]
    for key in ("User", "WorkingDir", "Entrypoint", "Cmd", "ExposedPorts", "Labels", "Volumes",
                "Healthcheck"):  # fmt: skip
        assert told[0]["Config"].get(key) == told[1]["Config"].get(key), key
    assert sorted(told[0]["Config"]["Env"]) == sorted(told[1]["Config"]["Env"])
    find = ("run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "find")
    files = []
    for made in (theirs, ours):
        listed = run(*find, made.id, "/app", "/opt", "/results", "-printf", "%M %U %G %l %p\n")
        files.append({line for line in listed.stdout.splitlines() if not _theirs_alone(line)})
    assert files[0] == files[1]
    assert len(files[0]) > 500
    # and does the same
    ended = run("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp:exec",
                f"{name}:0.0.0", check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "reproduced" in ended.stdout


def _theirs_alone(line: str) -> bool:
    """What `python -m venv` and pip leave besides, and nobody in an image needs."""
    return bool(
        re.search(r"/bin/[Aa]ctivate|/opt/venv/include$|/include/python3\.\d+$", line)
        or re.search(r"\.dist-info/(direct_url\.json|REQUESTED)$|__pycache__", line)
        or re.search(r" (/opt|/opt/venv/bin/python)$", line)  # which name of the base's Python
    )


def test_the_image_is_loaded_compiled(exact: Recorded, base_image: str) -> None:
    _, made = image.build("train.ipynb", builder="oci", base=base_image, load=True)
    code = "import pandas, sys; print(pandas.__cached__); print(open(pandas.__cached__, 'rb'))"
    ended = run("run", "--rm", "--network", "none", "--entrypoint", "python", made.id, "-X",
                "importtime", "-c", code)  # fmt: skip
    assert "__pycache__/__init__.cpython-" in ended.stdout


# --- where it goes


def test_it_is_pushed_under_all_its_tags_and_found_by_its_labels(
    exact: Recorded, base_image: str, registry: str
) -> None:
    name = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    steps: list[str] = []
    digest, made = image.build(
        "train.ipynb", builder="oci", base=base_image, repository=name, push=True,
        report=lambda s: steps.append(s.message),
    )  # fmt: skip
    assert made.digest == made.manifest
    for tag in made.tags:
        found = door.inspect(f"{name}:{tag}")
        assert (found.digest, found.id) == (made.digest, made.id)
    assert found.labels["io.mlrepro.record"] == made.record
    assert found.annotations["io.mlrepro.record"] == made.record
    assert "deflate" in found.annotations["io.mlrepro.builder"]
    assert exact[1].get(Image, digest) == made
    assert any(s.startswith("pushing") for s in steps)
    run("pull", f"{name}@{made.digest}")
    run("rmi", f"{name}@{made.digest}")


def test_a_tag_is_never_moved(exact: Recorded, base_image: str, registry: str) -> None:
    folder, store, record = exact
    name = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    options: dict[str, Any] = {"builder": "oci", "base": base_image, "repository": name,
                               "push": True}  # fmt: skip
    _, first = image.build("train.ipynb", **options, build_id="1")
    _, again = image.build("train.ipynb", **options, build_id="2")
    assert again.digest == first.digest
    changed = msgspec.structs.replace(record.environment, variables={"PYTHONHASHSEED": "8"})
    put(folder, store, environment=changed)
    with pytest.raises(UsageError, match=r"0\.0\.0 exists in the registry as another image"):
        image.build("train.ipynb", **options, build_id="3")
    assert door.resolve(f"{name}:0.0.0") == first.digest
    assert door.find(f"{name}:build-3") is None


def test_a_commit_that_is_built_again_for_a_release_keeps_its_tag_where_it_is(
    exact: Recorded, base_image: str, registry: str
) -> None:
    name = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    options: dict[str, Any] = {"builder": "oci", "base": base_image, "repository": name,
                               "push": True}  # fmt: skip
    _, first = image.build("train.ipynb", **options, build_id="1")
    (commit,) = set(first.tags) - {"0.0.0", "build-1"}
    steps: list[str] = []
    _, release = image.build(
        "train.ipynb", **options, build_id="2", version="1.0.0",
        report=lambda step: steps.append(step.message),
    )  # fmt: skip
    assert release.tags == ("1.0.0", "build-2")
    assert door.resolve(f"{name}:1.0.0") == release.digest != first.digest
    assert door.resolve(f"{name}:{commit}") == first.digest
    assert any(commit in step and "stays so" in step for step in steps)


def test_an_archive_is_a_layout_and_loads_into_an_engine(
    exact: Recorded, base_image: str, tmp_path: Path
) -> None:
    name = f"test/{uuid.uuid4().hex[:12]}"
    _, made = image.build(
        "train.ipynb", base=base_image, repository=name, output=tmp_path / "image.tar"
    )
    assert made.builder == "oci"  # only it writes one
    found, _ = oci.Layout(tmp_path / "image.tar").find("linux/amd64")
    assert found.digest == made.manifest
    run("load", "--input", str(tmp_path / "image.tar"))
    held = docker.inspect(f"{name}:0.0.0")
    assert held is not None
    assert held.id == made.id
    run("rmi", *(f"{name}:{tag}" for tag in made.tags))


def test_a_base_in_a_layout_gives_the_image_that_a_registry_s_does(
    exact: Recorded, small: image.Plan, downloads: oci.Cache, base_image: str, lock: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    first = build(small, exact[1], oci.Cache(tmp_path / "one"), downloads)
    content = door.manifest(base_image, platform="linux/amd64").content
    base = oci.image(content, base_image)
    where = {d.digest: downloads.blob(d.digest) for d in base.blobs}
    oci.write(base, [base_image.partition("@")[0] + ":3"], where, tmp_path / "base.tar")
    bare = oci.Cache(tmp_path / "bare")
    shutil.copytree(downloads.root / "notes", bare.root / "notes")
    plan = little(f"oci:{tmp_path / 'base.tar'}", lock)
    assert plan.base_digest == small.base_digest
    second = build(plan, exact[1], oci.Cache(tmp_path / "two"), downloads)
    assert second.manifest == first.manifest
    assert str(tmp_path) not in second.image.manifest.decode()


def test_without_a_place_to_go_nothing_is_built(
    exact: Recorded, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no place to be"):
        image.build("train.ipynb", builder="oci", base=base_image)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    said: list[str] = []
    found = choose("auto", Wanted(push=True), lambda s: said.append(s.message))
    assert found.key == "oci"
    assert any("No Docker Engine answers" in s and "without one" in s for s in said)
    with pytest.raises(ToolError, match="No Docker Engine answers"):
        choose("oci", Wanted(push=True, test=True), silent)


# --- the check


def test_a_rebuild_is_compared_and_the_first_difference_told(
    exact: Recorded, small: image.Plan, downloads: oci.Cache, base_image: str, lock: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("mlrepro_nb.image._check.plan", lambda *a, **k: small)
    found = image.check("train.ipynb", store=exact[1])
    assert found.same, found
    assert found.manifest == found.again
    assert found.difference is None
    # Somebody, or the disk, changed what the cache has.
    cache = oci.Cache(tmp_path / "mine")
    first = build(small, exact[1], cache, downloads)
    from mlrepro_nb.image.builders.oci import _unpack

    before = _unpack._INSTALLER
    monkeypatch.setattr(_unpack, "_INSTALLER", b"another\n")
    second = build(small, exact[1], oci.Cache(tmp_path / "other"), downloads)
    monkeypatch.setattr(_unpack, "_INSTALLER", before)
    from mlrepro_nb.image.builders._compare import first_difference

    told = first_difference(
        first.image, second.image, lambda digest: first.blob(digest) or second.blob(digest)
    )
    assert told is not None
    assert re.search(r"site-packages/pillow-11\.3\.0\.dist-info/INSTALLER: bytes 11 and 8", told)
    variables = msgspec.structs.replace(small, variables={"A": "1"})
    third = build(variables, exact[1], cache, downloads)
    told = first_difference(first.image, third.image, first.blob)
    assert told is not None
    assert "the setting config.Env" in told


# --- what goes wrong


SCRIPT = """
import sys
from pathlib import Path
from mlrepro_nb.connect import oci
from mlrepro_nb.store import Store
from tests.image.test_oci_builder import build, little
plan = little(sys.argv[1], Path(sys.argv[2]).read_text())
cache, downloads = (oci.Cache(Path(name)) for name in sys.argv[3:])
print(build(plan, Store.find(), cache, downloads).manifest)
"""


def start(
    folder: Path, store: Store, base: str, lock: str, cache: Path, downloads: Path
) -> subprocess.Popen[str]:
    (cache.parent / "lock").write_text(lock)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, base, str(cache.parent / "lock"), str(cache),
         str(downloads)],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "MLREPRO_STORE": str(store.root),
             "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip


def test_a_build_that_is_killed_leaves_a_cache_that_the_next_one_uses(
    exact: Recorded, small: image.Plan, downloads: oci.Cache, base_image: str, lock: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder, store, _ = exact
    cache = tmp_path / "cache"
    process = start(folder, store, base_image, lock, cache, downloads.root)
    while not list(cache.glob("new/*")) and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = build(small, store, oci.Cache(cache), downloads)
    assert again.manifest == build(small, store, oci.Cache(tmp_path / "b"), downloads).manifest
    for path in (cache / "blobs" / "sha256").iterdir():
        assert oci.digest_of(path) == f"sha256:{path.name}"


def test_two_builds_at_once_share_a_cache(
    exact: Recorded, downloads: oci.Cache, base_image: str, lock: str, tmp_path: Path
) -> None:
    folder, store, _ = exact
    cache = tmp_path / "cache"
    both = [start(folder, store, base_image, lock, cache, downloads.root) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert len({out for out, _ in said}) == 1


def test_a_full_disk_is_told_and_the_next_build_goes_on(
    exact: Recorded, small: image.Plan, downloads: oci.Cache, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=False
    )
    assert mounted.returncode == 0, "tests of the engine run as root"
    try:
        cache = oci.Cache(folder / "cache")
        with pytest.raises(ToolError, match=r"disk of .* is full"):
            build(small, exact[1], cache, downloads)
        left = [p for p in (folder / "cache" / "new").rglob("*") if p.is_file()]
        assert not left
        subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
        assert build(small, exact[1], cache, downloads).manifest
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_base_that_is_gone_is_told(exact: Recorded, small: image.Plan, registry: str) -> None:
    gone = msgspec.structs.replace(
        small, base=f"{registry}/no/such@sha256:{'0' * 64}", base_digest=f"sha256:{'0' * 64}"
    )
    with pytest.raises(ToolError, match="has no image"):
        build(gone, exact[1], oci.Cache(Path(os.environ["HOME"]) / ".no"), oci.Cache())


def test_another_python_in_the_base_is_told(
    exact: Recorded, small: image.Plan, downloads: oci.Cache
) -> None:
    other = msgspec.structs.replace(small, python="3.99.1")
    with pytest.raises(ToolError, match=r"another Python than the record, 3\.99"):
        build(other, exact[1], downloads, downloads)


def test_a_lock_without_hashes_is_not_built(
    exact: Recorded, small: image.Plan, downloads: oci.Cache
) -> None:
    other = msgspec.structs.replace(small, lock="six==1.17.0\n")
    with pytest.raises(MlreproError, match="without a hash"):
        build(other, exact[1], downloads, downloads)


def test_no_bytecode_is_another_image_without_any(
    exact: Recorded, downloads: oci.Cache, base_image: str, lock: str, tmp_path: Path
) -> None:
    plan = little(base_image, lock, bytecode=False)
    made = build(plan, exact[1], oci.Cache(tmp_path / "cache"), downloads)
    names: list[str] = []
    for layer in made.image.layers[1:]:
        with oci.opened(made.blob(layer.digest)) as archive:
            inside = archive.getnames()
        assert len(inside) == len(set(inside))  # Docker refuses a path that comes twice
        names += inside
    assert not [n for n in names if n.endswith(".pyc")]
    assert "compileall" not in image.containerfile(plan)


# --- secrets


def test_secrets_of_the_machine_are_nowhere(
    exact: Recorded, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exact[0]
    plan = little(base_image, uv.lock(PINS[:1] + PINS[3:], python=PYTHON))
    secret = f"s3cret-{uuid.uuid4().hex}"
    (folder / ".env").write_text(f"TOKEN={secret}\n")
    (folder / "secret.txt").write_text(secret)
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        f"[global]\nextra-index-url = http://user:{secret}@127.0.0.1:9/simple\nretries = 0\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("API_TOKEN", secret)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    shown: list[str] = []
    monkeypatch.setattr("mlrepro_nb.image._build.plan", lambda *a, **k: plan)
    _, made = image.build(
        "train.ipynb", builder="oci", output=tmp_path / "image.tar",
        report=lambda s: shown.append(s.message),
    )  # fmt: skip
    assert any("downloading" in line for line in shown)
    assert secret not in "".join(shown)
    found, _ = oci.Layout(tmp_path / "image.tar").find("linux/amd64")
    assert secret.encode() not in found.manifest
    own = 0
    for path in (tmp_path / "home" / "mlrepro").rglob("*"):
        if path.is_file():
            own += 1
            assert secret.encode() not in path.read_bytes(), path
    assert own > 10
    with tarfile.open(tmp_path / "image.tar") as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            assert secret.encode() not in content.read(), member.name
    for layer in found.layers[-5:]:
        with oci.opened(oci.Cache().blob(layer.digest)) as archive:
            for member in archive:
                if member.isfile():
                    assert secret.encode() not in archive.extractfile(member).read(), member.name
    assert made.builder == "oci"
