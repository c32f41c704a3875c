"""The engine door: progress, and what its failures mean."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.connect import docker
from mlrepro_nb.connect.command import Ended
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Report, Step


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on PATH, for a docker of the test's own."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def says(folder: Path, text: str, status: int = 1) -> None:
    script = folder / "docker"
    script.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{text}\nEND\nexit {status}\n")
    script.chmod(0o755)


def build(folder: Path, steps: list[Step] | None = None) -> str:
    report = (steps if steps is not None else []).append
    return docker.build(
        folder, containerfile=folder / "Containerfile", identity=folder / "id", report=report
    )


def test_without_docker_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="'docker' is not on PATH") as raised:
        docker.engine()
    assert "--dry-run" in raised.value.remedy


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker "
         "daemon running?", "No Docker Engine answers"),
        ("Got permission denied while trying to connect to the Docker daemon socket",
         "refuses this user"),
        ("ERROR: BuildKit is enabled but the buildx component is missing or broken.",
         "cannot build with BuildKit"),
        ("#5 ERROR: write /x: no space left on device", "disk of the Docker Engine is full"),
        ("#7 3.2 ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]\n#7 ERROR: e",
         "certificates could not be verified"),
        ("#7 1.0 ERROR: No matching distribution found for numpy==9.9 (from -r x)\n#7 ERROR: e",
         r"no distribution of numpy==9\.9"),
        ("#7 1.0 ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM\n#7 ERROR: e",
         "not the file that the lock pinned"),
        ("#2 ERROR: docker.io/library/x:1: not found", "base image cannot be pulled"),
        ("#4 0.1 the base image has another Python than the record, 3.12\n#4 ERROR: e",
         r"another Python than the record, 3\.12"),
        ("unauthorized: authentication required", "registry refuses"),
        ("something else", "`docker build` failed"),
    ],
)  # fmt: skip
def test_each_failure_is_one_sentence_with_a_remedy(
    client: Path, printed: str, message: str
) -> None:
    says(client, printed)
    with pytest.raises(ToolError, match=message) as raised:
        build(client)
    assert raised.value.remedy
    assert raised.value.exit_code == 3


def test_of_a_failed_build_the_failed_step_is_shown(client: Path) -> None:
    says(client, "#3 0.1 fine\n#4 0.2 bad\n#3 0.3 fine\n#4 ERROR: exit code: 1\n#9 CANCELED")
    with pytest.raises(ToolError) as raised:
        build(client)
    assert raised.value.output == "bad\nERROR: exit code: 1"


def test_credentials_in_what_docker_prints_are_not_passed_on(client: Path) -> None:
    says(client, "#4 0.2 GET https://user:s3cret@index/simple\n#4 ERROR: x")
    steps: list[Step] = []
    with pytest.raises(ToolError) as raised:
        build(client, steps)
    assert "s3cret" not in raised.value.output
    assert not [s for s in steps if "s3cret" in s.message]


def test_progress_tells_the_step_and_how_far_it_is(client: Path) -> None:
    (client / "id").write_text("sha256:1\n")
    says(
        client,
        "#1 [internal] load build definition\n"
        "#5 [builder 2/6] RUN --mount=type=cache,target=/c pip   install\n"
        "#5 0.51 Collecting numpy\n#5 DONE 1.0s\n#6 sha256:aa 1MB / 2MB",
        status=0,
    )
    steps: list[Step] = []
    assert build(client, steps) == "sha256:1"
    assert steps == [
        Step(message="builder: RUN pip install", done=2, total=6),
        Step(message="Collecting numpy", log=True),
    ]


@pytest.mark.engine
def test_the_real_engine_answers(engine: str, base_image: str) -> None:
    found = docker.engine()
    assert found.architecture in ("amd64", "arm64")
    assert docker.inspect("mlrepro/no-such-image:1") is None


@pytest.mark.engine
def test_a_host_without_an_engine_is_told(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(ToolError, match="No Docker Engine answers"):
        docker.engine()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(ToolError, match="No Docker Engine answers"):
        docker.engine()


@pytest.mark.engine
def test_a_base_image_that_is_gone_is_told(engine: str, registry: str, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(f"FROM {registry}/no/such@sha256:{'0' * 64}\n")
    with pytest.raises(ToolError, match="base image cannot be pulled"):
        build(tmp_path)


@pytest.mark.engine
def test_a_secret_reaches_the_build_and_nothing_else(base_image: str, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(
        f"FROM {base_image}\nRUN --mount=type=secret,id=s,target=/s grep -q s3cret /s\n"
    )
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    (tmp_path / ".dockerignore").write_text("*\n")
    made = docker.build(
        tmp_path, containerfile=tmp_path / "Containerfile", identity=tmp_path / "id",
        secrets={"s": secret},
    )  # fmt: skip
    found = docker.inspect(made)
    assert found is not None
    assert found.id == made


def _gone(kind: str, name: str) -> bool:
    command = ["docker", kind, "inspect", name]
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.engine
def test_a_container_is_given_files_that_any_user_may_read_and_that_are_gone_with_it(
    base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    (tmp_path / "a.csv").chmod(0o600)
    names = ("/given/deep/er/a.csv", f"/given/{'ü' * 120}", "/tmp/b", "/etc/c", "/in-no-folder")
    given = dict.fromkeys(names, tmp_path / "a.csv")
    script = (
        "import os\n"
        "for folder, _, names in os.walk('/given'):\n"
        "    for path in [folder, *(f'{folder}/{n}' for n in names)]:\n"
        "        print(path, oct(os.stat(path).st_mode & 0o7777), os.path.getsize(path))\n"
        "print(open('/given/deep/er/a.csv').read(), open('/tmp/b').read())\n"
        "print(open('/etc/debian_version').read())\n"
    )
    made: list[tuple[str, list[str]]] = []
    real = docker._watched

    def noted(container: str, report: Report) -> Ended:
        form = "{{range .Mounts}}{{.Name}} {{end}}"
        command = ["docker", "container", "inspect", "--format", form, container]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        made.append((container, told.stdout.split()))
        return real(container, report)

    monkeypatch.setattr(docker, "_watched", noted)
    with monkeypatch.context() as patched:
        # Nobody is left to remove it: the engine does.
        does = docker._docker
        patched.setattr(docker, "_docker", lambda *a, **o: "" if a[0] == "rm" else does(*a, **o))
        ended = docker.run(base_image, ("python", "-c", script), given=given)
    assert ended.ok, ended.stderr
    assert "/given/deep 0o755" in ended.stderr
    assert "/given/deep/er/a.csv 0o644 3" in ended.stderr
    assert "1,2 1,2" in ended.stderr
    assert f"/given/{'ü' * 120} 0o644" in ended.stderr

    def interrupted(container: str, report: Report) -> Ended:
        noted(container, report)
        raise KeyboardInterrupt

    monkeypatch.setattr(docker, "_watched", interrupted)
    with pytest.raises(KeyboardInterrupt):
        docker.run(base_image, ("true",), given=given)
    for container, mounted in made:
        assert _gone("container", container)
        assert len(mounted) == 3
        assert all(_gone("volume", name) for name in mounted)


@pytest.mark.engine
def test_a_container_that_was_made_when_its_maker_is_interrupted_is_gone(
    base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, names = docker._docker, []

    def late(*arguments: str, **options: Any) -> str:
        found = real(*arguments, **options)
        if arguments[0] == "create":
            names.append(arguments[arguments.index("--name") + 1])
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(docker, "_docker", late)
    with pytest.raises(KeyboardInterrupt):
        docker.run(base_image, ("true",))
    assert _gone("container", names[0])
