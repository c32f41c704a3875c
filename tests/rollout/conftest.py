"""Images that stand for ours, small and quick to start, and a namespace that takes only
hardened pods."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

# How long a value takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

SERVER = """\
import http.server, os, signal, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path in ("/ping", "/health", "/ready", "/version")
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(os.environ["VERSION"].encode())

    def log_message(self, *_):
        pass

if os.environ["VERSION"] == "crash":
    print("loading the model")
    sys.exit("FileNotFoundError: no model here")
open("/tmp/proof", "w").close()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""
JOB = """\
import os, sys

print("verdict: " + os.environ["VERSION"])
sys.exit(int(os.environ["VERSION"]))
"""


def docker(*arguments: str, **options: object) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=True, **options
    )  # type: ignore[call-overload]
    return str(done.stdout).strip()


@pytest.fixture(scope="session")
def image(
    registry: str, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Build and push a small image; return its reference by digest."""
    made: dict[tuple[str, str, str], str] = {}

    def build(kind: str, version: str, labels: str = "") -> str:
        if (kind, version, labels) in made:
            return made[kind, version, labels]
        folder = tmp_path_factory.mktemp("image")
        (folder / "main.py").write_text(SERVER if kind == "service" else JOB, encoding="utf-8")
        (folder / "Dockerfile").write_text(
            f"FROM {base_image}\nCOPY main.py /main.py\nENV VERSION={version} PYTHONUNBUFFERED=1\n"
            f"USER 10001\nLABEL io.mlrepro.kind={kind} {labels}\n"
            'ENTRYPOINT ["python", "/main.py"]\n',
            encoding="utf-8",
        )
        tag = f"{registry}/test/rollout-{kind}:{version}"
        docker(
            "build",
            "--quiet",
            "--tag",
            tag,
            str(folder),
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )
        docker("push", "--quiet", tag)
        pushed = json.loads(docker("image", "inspect", tag))[0]["RepoDigests"]
        made[kind, version, labels] = next(d for d in pushed if d.startswith(f"{registry}/"))
        return made[kind, version, labels]

    return build


Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def kubectl(kubernetes: str) -> Kubectl:
    """Kubernetes' own client, as the second opinion."""

    def run(*arguments: str, given: str | None = None) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", kubernetes, *arguments],
            input=given, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    return run


@pytest.fixture
def namespace(kubectl: Kubectl, kubernetes: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A namespace that enforces the Pod Security Standard *restricted*."""
    monkeypatch.setenv("KUBECONFIG", kubernetes)
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def steps() -> list[str]:
    """Messages of progress, as they come."""
    return []
