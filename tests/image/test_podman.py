"""Images by podman, with no Docker here or with podman's service behind its command."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import podman
from mlrepro_nb.connect import registry as door
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Record
from mlrepro_nb.store import Store
from tests.conftest import needed

pytestmark = pytest.mark.engine

Recorded = tuple[Path, Store, Record]


@pytest.fixture
def scratch(registry: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which podman, set up by the test alone, keeps everything."""
    needed("podman", shutil.which("podman"))
    folder = Path(tempfile.mkdtemp(prefix="mlrepro-podman-", dir="/tmp"))
    files = {
        "CONTAINERS_CONF": '[containers]\nnetns = "host"\n'
        'default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{folder}/tmp"\n',
        "CONTAINERS_STORAGE_CONF": f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\n'
        f'runroot = "{folder}/run"\n',
        "CONTAINERS_REGISTRIES_CONF": f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n',
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        monkeypatch.setenv(name, str(folder / name))
    monkeypatch.delenv("BUILDKIT_HOST", raising=False)
    yield folder
    subprocess.run(["podman", "system", "reset", "--force"], capture_output=True, check=False)
    listed = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    for line in reversed(listed):
        if (point := line.split()[1]).startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", point], check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def alone(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Podman, and no docker command."""
    (scratch / "bin").mkdir()
    for name in ("podman", "git", "runc", "crun", "conmon"):
        if found := shutil.which(name):
            (scratch / "bin" / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(scratch / "bin"))
    return scratch


@pytest.fixture
def served(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of podman's service, for the docker command."""
    address = f"unix://{scratch}/podman.sock"
    process = subprocess.Popen(
        ["podman", "system", "service", "--time=0", address],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not (scratch / "podman.sock").exists():
            assert process.poll() is None
            time.sleep(0.1)
        monkeypatch.setenv("DOCKER_HOST", address)
        yield address
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)


def test_podman_builds_where_there_is_no_docker(
    small: Recorded, base_image: str, registry: str, alone: Path
) -> None:
    rebuilt = image.check("train.ipynb", builder="docker", base=base_image)
    assert rebuilt.same, rebuilt
    name = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    steps: list[str] = []
    _, made = image.build(
        "train.ipynb", builder="auto", base=base_image, repository=name, push=True,
        report=lambda s: steps.append(s.message),
    )  # fmt: skip
    assert made.digest == rebuilt.manifest
    assert made.toolchain is not None
    assert made.toolchain.startswith("podman ")
    assert door.resolve(f"{name}:0.0.0") == made.digest
    assert any("COPY" in step for step in steps)
    ended = subprocess.run(
        ["podman", "run", "--rm", "--network", "none", "--entrypoint", "python",
         f"{name}:0.0.0", "-c", "import six, os; print(os.getuid())"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.stdout == "10001\n", ended.stderr


def test_podman_s_service_builds_for_the_docker_command(
    small: Recorded, base_image: str, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = podman.find()
    assert found is not None
    assert found.url == served
    _, made = image.build("train.ipynb", builder="docker", base=base_image)
    named = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}",
         f"{made.repository}:{made.tags[0]}"], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert named.stdout.strip() in (made.id, made.id.removeprefix("sha256:"))
    monkeypatch.setattr(
        "mlrepro_nb.connect.podman.shutil.which",
        lambda name: None if name == "podman" else f"/usr/bin/{name}",
    )
    with pytest.raises(ToolError, match="builds only for its own command"):
        podman.find()
