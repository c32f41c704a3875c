"""What stands in the way of a build: one sentence, nothing half-named, and the next one goes on.

Servers that are to die, fill up or be slow are the tests' own, beside those of tests/cluster.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import buildkit as kit
from mlrepro_nb.connect import docker, oci, uv
from mlrepro_nb.connect import registry as door
from mlrepro_nb.errors import MlreproError, StoreError, ToolError
from mlrepro_nb.image import _build
from mlrepro_nb.image._context import context
from mlrepro_nb.image._render import upper
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders.docker import DockerBuilder
from mlrepro_nb.image.builders.oci import OciBuilder
from mlrepro_nb.model import Image, Record, silent
from mlrepro_nb.store import Store
from tests.image.conftest import PINS, PYTHON

pytestmark = pytest.mark.engine

Recorded = tuple[Path, Store, Record]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder with a short path, for sockets, that other users may look into."""
    folder = Path(tempfile.mkdtemp(prefix="mlrepro-test-", dir="/tmp"))
    yield folder
    listed = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    for line in reversed(listed):
        if (point := line.split()[1]).startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", point], check=False)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def tiny(folder: Path, size: str) -> Iterator[Path]:
    """A disk of a few megabytes."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False
    )
    assert done.returncode == 0, "tests of the engine run as root"
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=500m", str(folder)], check=True)


def wait(answers: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError, ToolError):
            if answers():
                return
        assert process.poll() is None, "it stopped at once"
        time.sleep(0.1)
    pytest.fail("it does not answer")


# --- what builds goes away


def buildkitd(scratch: Path, registry: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a BuildKit of the test's own and return it with its address."""
    address = f"unix://{scratch}/buildkitd.sock"
    (scratch / "buildkitd.toml").write_text(
        f'root = "{scratch}/root"\n[worker.containerd]\nenabled = false\n'
        f'[registry."{registry}"]\nhttp = true\n'
    )
    process = subprocess.Popen(
        ["buildkitd", "--config", str(scratch / "buildkitd.toml"), "--addr", address],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    ask = ["buildctl", "--addr", address, "debug", "workers"]
    wait(lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0, process)
    return process, address


def dockerd(scratch: Path, registry: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start an engine of the test's own and return it with its address.

    It has a bridge of its own: without one (``--bridge none``), it would delete
    that of the engine which is there.
    """
    address = f"unix://{scratch}/docker.sock"
    bridge = bridge_of(scratch)
    for arguments in (["link", "add", bridge, "type", "bridge"],
                      ["address", "add", "10.213.77.1/24", "dev", bridge]):  # fmt: skip
        subprocess.run(["ip", *arguments], check=True)
    process = subprocess.Popen(
        ["dockerd", "--host", address, "--data-root", str(scratch / "root"), "--exec-root",
         str(scratch / "exec"), "--pidfile", str(scratch / "docker.pid"), "--bridge", bridge,
         "--iptables=false", "--ip-forward=false", "--ip-masq=false",
         "--containerd-namespace", bridge, "--containerd-plugins-namespace", f"{bridge}-plugins"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    ask = ["docker", "--host", address, "version"]
    wait(lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0, process)
    return process, address


def bridge_of(scratch: Path) -> str:
    return f"mlt{scratch.name[-8:]}".replace("_", "x")


def end(process: subprocess.Popen[bytes], scratch: Path) -> None:
    """End a server and what it started; an engine's own containerd has a process group of its."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()):
        with contextlib.suppress(OSError):
            if f"{scratch}/" in Path(f"/proc/{pid}/cmdline").read_text() and pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "link", "delete", bridge_of(scratch)], capture_output=True, check=False)


SERVERS = {"BUILDKIT_HOST": buildkitd, "DOCKER_HOST": dockerd}


@pytest.mark.parametrize("variable", sorted(SERVERS))
def test_what_builds_dies_in_the_middle_and_the_next_build_goes_on(
    small: Recorded, base_image: str, registry: str, buildkit: str, variable: str, scratch: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _, store, _ = small
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    name = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    process, address = SERVERS[variable](scratch, registry)
    monkeypatch.setenv(variable, address)
    servers = [process]

    def dies(step: Any) -> None:
        if re.match(r"[\w-]+: FROM |RUN sleep", step.message):
            servers[0].kill()

    def slow(plan: image.Plan) -> str:  # by itself it would be done before it can be killed
        return upper(plan).replace("\nCOPY", "\nRUN sleep 100\nCOPY", 1)

    options: dict[str, Any] = {"builder": "docker", "base": base_image, "repository": name}
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mlrepro_nb.image.builders.docker.upper", slow)
            with pytest.raises(ToolError) as raised:
                image.build("train.ipynb", **options, push=True, report=dies)
        assert raised.value.exit_code == 3
        assert "went away in the middle" in raised.value.message, raised.value.output
        assert "build again" in raised.value.remedy
        assert not list((tmp_path / "tmp").iterdir())
        assert not list((tmp_path / "cache").rglob("layout-*"))
        assert door.find(f"{name}:0.0.0") is None
        assert not store.entries(Image)
        if variable == "DOCKER_HOST":
            return  # its containers have no network: one that dies is all that it is for
        end(servers[0], scratch)
        servers[0], _ = SERVERS[variable](scratch, registry)
        _, made = image.build("train.ipynb", **options, push=True)
        assert door.resolve(f"{name}:0.0.0") == made.digest
    finally:
        end(servers[0], scratch)


def test_a_buildkit_that_does_not_answer_is_told(
    small: Recorded, base_image: str, buildkit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKIT_HOST", "unix:///nowhere/buildkitd.sock")
    with pytest.raises(ToolError, match=r"No BuildKit answers at unix:///nowhere") as raised:
        image.build("train.ipynb", builder="docker", base=base_image)
    assert "BUILDKIT_HOST" in raised.value.remedy


# --- what a build needs is gone


def builders(buildkit: str, cache: Path) -> Iterator[Any]:
    yield DockerBuilder(oci.Cache(cache / "docker"))
    yield OciBuilder(oci.Cache(cache / "oci"))


def test_a_base_that_its_registry_no_longer_has_is_told(
    small: Recorded, registry: str, buildkit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    gone = f"{registry}/library/python@sha256:{'0' * 64}"
    from mlrepro_nb.image._build import plan

    planned = plan("train.ipynb", base=gone)
    for builder in builders(buildkit, tmp_path):
        with pytest.raises(ToolError, match=r"base image cannot be pulled|has no image") as raised:
            builder.build(planned, Wanted(), small[1], silent)
        assert raised.value.remedy


@pytest.fixture
def empty_index() -> Iterator[str]:
    """A package index on which nothing is any more."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


def test_a_wheel_that_the_index_no_longer_has_is_told(
    small: Recorded, base_image: str, buildkit: str, empty_index: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from mlrepro_nb.image._build import plan

    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    lock = f"{uv.lock(PINS, python=PYTHON)}# {uuid.uuid4().hex}\n"  # no build has seen it
    planned = msgspec.structs.replace(plan("train.ipynb", base=base_image), lock=lock)
    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[global]\nindex-url = {empty_index}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    for name in [n for n in os.environ if n.startswith(("PIP_", "UV_")) and n != "PIP_CONFIG_FILE"]:
        monkeypatch.delenv(name)
    for builder in builders(buildkit, tmp_path):
        if isinstance(builder, OciBuilder):  # the base image it has
            builder.downloads = oci.Cache()
            monkeypatch.setattr(
                "mlrepro_nb.image.builders.oci._wheels._noted", lambda *arguments: None
            )
        with pytest.raises(ToolError, match=r"six") as raised:
            builder.build(planned, Wanted(), small[1], silent)
        assert raised.value.remedy


# --- disks are full


def test_a_registry_whose_disk_is_full_gets_no_tag_and_later_the_rest(
    small: Recorded, base_image: str, tmp_path: Path, scratch: Path
) -> None:
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(tiny(scratch / "disk", "8m"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (scratch / "registry.yml").write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {disk}}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        process = subprocess.Popen(
            ["docker-registry", "serve", str(scratch / "registry.yml")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(lambda: (process.kill(), process.wait()))
        wait(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True, process)
        name = f"localhost:{port}/test/full"
        options: dict[str, Any] = {
            "builder": "oci", "base": base_image, "repository": name, "push": True
        }  # fmt: skip
        with pytest.raises(ToolError, match="is full") as raised:
            image.build("train.ipynb", **options)
        assert raised.value.exit_code == 3
        assert door.find(f"{name}:0.0.0") is None
        assert not small[1].entries(Image)
        grow(disk)
        _, made = image.build("train.ipynb", **options)
        assert door.resolve(f"{name}:0.0.0") == made.digest


def test_a_disk_too_small_for_the_image_holds_nothing_of_it(
    small: Recorded, base_image: str, scratch: Path
) -> None:
    with tiny(scratch / "disk", "4m") as disk:
        for target in (disk / "image.tar", disk / "layout"):
            options: dict[str, Any] = {"builder": "oci", "base": base_image, "output": target}
            with pytest.raises(ToolError, match="is full") as raised:
                image.build("train.ipynb", **options)
            assert "next build" in raised.value.remedy
            assert "--output" in raised.value.remedy
            assert not list(disk.iterdir())
            assert not small[1].entries(Image)
        grow(disk)
        image.build("train.ipynb", **options)
        assert oci.Layout(disk / "layout").find("linux/amd64")


def test_a_disk_too_small_for_the_context_is_told(
    small: Recorded, base_image: str, scratch: Path
) -> None:
    planned = _build.plan("train.ipynb", base=base_image)
    with (
        tiny(scratch / "disk", "8k") as disk,
        pytest.raises(ToolError, match=r"disk of .*/out is full") as raised,
        context(planned, disk / "out"),
    ):
        pass
    assert "--output" in raised.value.remedy


def test_a_full_store_is_told(
    small: Recorded, base_image: str, scratch: Path, tmp_path: Path
) -> None:
    _, store, record = small
    with tiny(scratch / "disk", "2m") as disk:
        other = Store(disk / "store")
        for blob in (record.results.notebook,):
            if blob:
                other.blobs.put(store.blobs.get(blob))
        other.put(record)
        free = os.statvfs(disk)
        with (disk / "filler").open("wb") as filler, contextlib.suppress(OSError):
            filler.write(b"\0" * free.f_bavail * free.f_frsize)
            filler.flush()
        options: dict[str, Any] = {"builder": "oci", "base": base_image, "store": other}
        with pytest.raises(MlreproError) as raised:
            image.build("train.ipynb", **options, output=tmp_path / "one.tar")
        assert isinstance(raised.value, StoreError | ToolError)
        assert "No space left" in raised.value.message
        assert "Free some space" in raised.value.remedy
        (disk / "filler").unlink()
        digest, made = image.build("train.ipynb", **options, output=tmp_path / "two.tar")
        assert other.get(Image, digest) == made


# --- Ctrl-C


@pytest.mark.parametrize("builder", ["docker", "oci"])
def test_ctrl_c_names_nothing_and_the_next_build_goes_on(
    small: Recorded, base_image: str, registry: str, buildkit: str, builder: str, tmp_path: Path
) -> None:
    folder, store, _ = small
    name = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    script = (
        "import sys, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import msgspec\n"
        "from mlrepro_nb.image import _build\n"
        "from mlrepro_nb.connect import uv\n"
        "real = _build.plan\n"
        f"lock = {uv.lock(PINS, python=PYTHON)!r} + '# {uuid.uuid4().hex}\\n'\n"
        "def little(*a, **o):\n"
        "    full = real(*a, **{**o, 'offline': True})\n"
        f"    return msgspec.structs.replace(full, local=(), pins={PINS!r}, lock=lock,\n"
        "                                   problems=())\n"
        "_build.plan = little\n"
        "from mlrepro_nb.faces.cli import main\n"
        "sys.argv = ['mlrepro', *sys.argv[1:]]\n"
        "main()\n"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {
        **os.environ, "BUILDKIT_HOST": buildkit, "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    arguments = [sys.executable, "-c", script, "build", "train.ipynb", "--builder", builder,
                 "--base", base_image, "--repository", name, "--push"]  # fmt: skip
    process = subprocess.Popen(
        arguments, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    # In the middle: blobs or a context are being made.
    while process.poll() is None and not (
        list((tmp_path / "cache").glob("mlrepro/new/*")) or list(temporary.glob("mlrepro-build-*"))
    ):
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Traceback" not in said, said
    assert not [p for p in temporary.iterdir() if p.name.startswith("mlrepro")]
    assert door.find(f"{name}:0.0.0") is None
    assert docker.inspect(f"{name}:0.0.0") is None
    assert not store.entries(Image)
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert door.resolve(f"{name}:0.0.0")


def test_what_buildkit_prints_when_it_dies_is_understood() -> None:
    for text in (
        "error: failed to receive status: rpc error: code = Unavailable desc = error reading "
        "from server: EOF",
        "failed to receive status: rpc error: code = Unavailable desc = transport is closing",
    ):
        assert "went away" in kit.meaning("buildctl build", text).message


RETRY = "WARNING: Retrying (Retry(total={}, connect=None, read=None, redirect=None, status=None)) "
REFUSED = (
    "after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection."
    "HTTPConnection object at 0x7f3720af9c10>: Failed to establish a new connection: [Errno 111] "
    "Connection refused')': /simple/privpkg/"
)
UNKNOWN = "ERROR: No matching distribution found for privpkg==2.0"


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (f"{RETRY.format(0)}{REFUSED}\n{UNKNOWN}", "index https://pypi.example/simple cannot be"),
        (f"{RETRY.format(4)}{REFUSED}\n{UNKNOWN}", "no distribution of privpkg==2.0"),
        (
            "ERROR: Could not install packages due to an OSError: HTTPConnectionPool(host='h', "
            "port=80): Max retries exceeded with url: /f.whl (Caused by NewConnectionError('<…>: "
            "Failed to establish a new connection: [Errno 111] Connection refused'))",
            "index https://pypi.example/simple cannot be",
        ),
        (
            f"{RETRY.format(0)}after connection broken by 'SSLError(SSLCertVerificationError(1, "
            f"'[SSL: CERTIFICATE_VERIFY_FAILED]'))': /simple/privpkg/\n{UNKNOWN}",
            "TLS certificates",
        ),
        ("dial unix /run/buildkit.sock: connect: connection refused", "went away"),
    ],
)
def test_a_connection_that_pip_is_refused_is_not_that_to_what_builds(
    monkeypatch: pytest.MonkeyPatch, printed: str, told: str
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:s3cret@pypi.example/simple")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    error = kit.meaning("docker build", printed)
    assert told in error.message
    assert "s3cret" not in str(error)
