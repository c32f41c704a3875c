"""A job in a real cluster whose data an init step fetches, with credentials of its own."""

from __future__ import annotations

import base64
import http.server
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlrepro_nb import image
from mlrepro_nb.model import Image
from mlrepro_nb.record import record
from mlrepro_nb.rollout import rollout
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.test_job import BIG, MD5, project

pytestmark = pytest.mark.kubernetes

Kubectl = Callable[..., str]
PASSWORD = f"pass-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def remote(kubectl: Kubectl) -> Iterator[tuple[str, list[str]]]:
    """A DVC remote over HTTP that wants a password, and what it was asked for."""
    asked: list[str] = []
    wanted = "Basic " + base64.b64encode(f"robot:{PASSWORD}".encode()).decode()

    class Remote(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == f"/dvc/files/md5/{MD5[:2]}/{MD5[2:]}"
            allowed = self.headers.get("Authorization") == wanted
            asked.append(f"{200 if known and allowed else 401} {self.path}")
            self.send_response(404 if not known else 200 if allowed else 401)
            self.send_header("Content-Length", str(len(BIG) if known and allowed else 0))
            self.end_headers()
            if known and allowed:
                self.wfile.write(BIG)

        def log_message(self, *_: object) -> None:
            pass

    path = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    address = kubectl("get", "nodes", "-o", path)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    http.server.ThreadingHTTPServer.address_family = family
    with http.server.ThreadingHTTPServer((address, 0), Remote) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"[{address}]" if ":" in address else address
        yield f"http://{host}:{server.server_port}/dvc", asked
        server.shutdown()


@pytest.fixture(scope="module")
def pushed(
    tmp_path_factory: pytest.TempPathFactory, base_image: str, registry: str,
    remote: tuple[str, list[str]],
) -> tuple[Image, Store]:  # fmt: skip
    """The pushed image of a recorded notebook that reads what only the remote has."""
    folder = tmp_path_factory.mktemp("data") / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    project(folder)
    (folder / ".dvc" / "config").write_text(
        f"[core]\n    remote = r\n['remote \"r\"']\n    url = {remote[0]}\n"
    )
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Train")
    notebook = folder / "nb" / "train.ipynb"
    record(notebook)
    repository = f"{registry}/test/data-{uuid.uuid4().hex[:8]}"
    made = image.build(
        str(notebook), base=base_image, builder="oci", push=True, repository=repository
    )[1]
    return made, Store.find(folder)


def test_a_job_s_data_is_fetched_by_the_init_step_which_alone_has_the_password(
    pushed: tuple[Image, Store], remote: tuple[str, list[str]], kubectl: Kubectl, namespace: str
) -> None:
    made, store = pushed
    reference = f"{made.repository}@{made.digest}"
    options = {"namespace": namespace, "memory": "512Mi", "timeout": 180, "apply": True}
    secret = f"DVC-{uuid.uuid4().hex[:6]}".lower()
    kubectl(
        "create", "secret", "generic", secret, "-n", namespace,
        "--from-literal=MLREPRO_DVC_USER=robot", f"--from-literal=MLREPRO_DVC_PASSWORD={PASSWORD}",
    )  # fmt: skip
    _, done, _ = rollout(reference, store=store, data_secrets=(secret,), **options)
    assert done.status == "complete", done.reason
    assert remote[1][-1].startswith("200 ")

    (pod,) = json.loads(kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
    (fetch,), (job,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    assert secret in json.dumps(fetch["envFrom"])
    assert secret not in json.dumps(job)
    name = pod["metadata"]["name"]
    said = kubectl("logs", name, "-n", namespace, "-c", fetch["name"])
    assert "fetched data/big.bin" in said
    assert "reproduced bit for bit" in kubectl("logs", name, "-n", namespace, "-c", job["name"])
    for kept in (said, json.dumps(pod), *(p.read_text("utf-8", "replace") for p in _blobs(store))):
        assert PASSWORD not in kept


def test_a_job_without_the_password_fails_and_says_which_file(
    pushed: tuple[Image, Store], namespace: str
) -> None:
    made, store = pushed
    steps: list[str] = []
    _, done, _ = rollout(
        f"{made.repository}@{made.digest}", store=store, namespace=namespace, memory="512Mi",
        timeout=120, apply=True, report=lambda step: steps.append(step.message),
    )  # fmt: skip
    assert done.status == "failed"
    assert "data/big.bin" in "\n".join([*steps, str(done.reason)])
    assert "401" in "\n".join([*steps, str(done.reason)])


def _blobs(store: Store) -> Iterator[Path]:
    return (path for path in store.root.rglob("*") if path.is_file())
