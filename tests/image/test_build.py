"""Images of a real notebook, built by a real engine, pushed to real registries."""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.capture.environment import lock as _lock
from mlrepro_nb.connect import docker
from mlrepro_nb.connect import registry as door
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.model import Image, Model, Record
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import put

pytestmark = pytest.mark.engine

Recorded = tuple[Path, Store, Record]


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check)


@pytest.fixture
def name() -> str:
    """A repository that nobody used before."""
    return f"test/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def modelled(recorded: Recorded) -> Recorded:
    """The recorded project, with a model that the run logged."""
    import mlflow
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    from mlrepro_nb.connect.mlflow import digest_of_files
    from tests.image.conftest import installed

    folder, store, record = recorded
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 0.0, 2.0]})
    model = LinearRegression().fit(table, table["a"] * 2 + table["b"] + 1)
    mlflow.sklearn.save_model(
        model, str(folder / "model"), pip_requirements=["mlflow", "scikit-learn", "skops"],
        signature=mlflow.models.infer_signature(table, model.predict(table)),
    )  # fmt: skip
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Model")
    models = (
        Model(name="m", uri="models:/m-1", path="model", cell=1,
              digest=digest_of_files(folder / "model")),
    )  # fmt: skip
    environment = msgspec.structs.replace(
        record.environment,
        python=platform.python_version(),
        distributions=installed("pandas", "scikit-learn", "mlflow-skinny"),
    )
    results = msgspec.structs.replace(record.results, models=models)
    return folder, store, put(folder, store, environment=environment, results=results)


@pytest.fixture(params=["docker", "oci"])
def served(
    modelled: Recorded, base_image: str, request: pytest.FixtureRequest
) -> Iterator[tuple[Image, str, str]]:
    """A running service: its image, container and address. Hardened as in a cluster."""
    _, made = image.build(
        "train.ipynb", kind="service", base=base_image, builder=request.param, load=True
    )
    # fmt: off
    container = run(
        "run", "--detach", "--publish", "127.0.0.1::8080", "--read-only", "--tmpfs", "/tmp",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", made.id,
    ).stdout.strip()
    # fmt: on
    try:
        port = run("port", container, "8080").stdout.split(":")[-1].strip()
        yield made, container, f"http://127.0.0.1:{port}"
    finally:
        run("rm", "--force", container)


def ask(url: str, content: Any = None, *, kind: str = "application/json") -> tuple[int, str]:
    data = None if content is None else content.encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait(address: str, container: str) -> None:
    for _ in range(600):
        try:
            if ask(f"{address}/ping")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)  # it answers from its start on, and 503 until it is ready
        if not run("ps", "--quiet", "--filter", f"id={container}").stdout:
            break
    logs = run("logs", container)
    pytest.fail(f"the service does not answer: {logs.stdout}{logs.stderr}")


def test_a_service_answers_with_the_model_s_predictions(served: tuple[Image, str, str]) -> None:
    made, container, address = served
    wait(address, container)
    assert ask(f"{address}/health")[0] == 200
    assert ask(f"{address}/version")[0] == 200
    split = {"dataframe_split": {"columns": ["a", "b"], "data": [[5.0, 1.0], [0.0, 0.0]]}}
    status, body = ask(f"{address}/invocations", json.dumps(split))
    assert status == 200
    assert json.loads(body)["predictions"] == pytest.approx([12.0, 1.0])
    assert ask(f"{address}/invocations", "a,b\n5,1\n", kind="text/csv")[0] == 200
    status, body = ask(f"{address}/invocations", json.dumps({"dataframe_split": {}}))
    assert status == 400
    status, body = ask(f"{address}/invocations", '{"dataframe_records": [{"a": 1.0}]}')
    assert status == 400
    assert "b" in body
    health = json.loads(run("inspect", container).stdout)[0]["Config"]["Healthcheck"]["Test"]
    assert run("exec", container, *health[1:], check=False).returncode == 0
    run("stop", "--time", "25", container)
    state = json.loads(run("inspect", container).stdout)[0]["State"]
    assert state["ExitCode"] == 0  # it ended by itself: 137 would be killed
    last = json.loads(run("logs", container).stdout.splitlines()[-1])
    assert (last["message"], last["requests_cut_off"]) == ("ended", 0)
    assert made.model


def test_a_service_refuses_a_model_that_is_not_the_recorded_one(
    modelled: Recorded, base_image: str, tmp_path: Path
) -> None:
    _, made = image.build("train.ipynb", kind="service", base=base_image)
    (tmp_path / "Containerfile").write_text(
        f"FROM {made.repository}:{made.tags[0]}\nUSER 0\n"
        "RUN echo >> /app/model/MLmodel\nUSER 10001\n"
    )
    spoiled = docker.build(
        tmp_path, containerfile=tmp_path / "Containerfile", identity=tmp_path / "id"
    )
    ended = run("run", "--rm", "--env", "MLREPRO_FAIL_AFTER=0", spoiled, check=False)
    assert ended.returncode == 1
    assert "not sha256:" in ended.stdout


# --- names and pushes


def test_a_pushed_image_is_found_by_digest_with_its_labels(
    recorded: Recorded, base_image: str, registry: str, name: str
) -> None:
    folder, store, _ = recorded
    digest, made = image.build(
        "train.ipynb", base=base_image, repository=f"{registry}/{name}", push=True,
        version="1.2.3", build_id="57",
    )  # fmt: skip
    commit = git(folder, "rev-parse", "HEAD")
    assert made.tags == ("1.2.3", commit[:12], "build-57")
    assert store.get(Image, digest) == made
    for tag in made.tags:
        found = door.inspect(f"{made.repository}:{tag}")
        assert (found.digest, found.id) == (made.digest, made.id)
    found = door.inspect(f"{made.repository}@{made.digest}")
    assert found.labels["io.mlrepro.record"] == made.record
    assert found.labels["org.opencontainers.image.revision"] == commit
    assert store.find_by_key(f"image:{made.repository}@{made.digest}", Image) == [digest]


def test_a_tag_is_never_moved(
    recorded: Recorded, base_image: str, registry: str, name: str
) -> None:
    folder, store, record = recorded
    options = {"base": base_image, "repository": f"{registry}/{name}", "push": True}
    _, first = image.build("train.ipynb", **options, build_id="1")
    # The same again is the same image: only the build's own tag is new.
    _, again = image.build("train.ipynb", **options, build_id="2")
    assert again.digest == first.digest
    changed = msgspec.structs.replace(record.environment, variables={"PYTHONHASHSEED": "8"})
    put(folder, store, environment=changed)
    with pytest.raises(UsageError, match=r"0\.0\.0 exists in the registry as another image"):
        image.build("train.ipynb", **options, build_id="3")
    assert door.resolve(f"{registry}/{name}:0.0.0") == first.digest
    assert door.find(f"{registry}/{name}:build-3") is None
    assert docker.inspect(f"{registry}/{name}:build-3") is None


def test_a_registry_with_a_password_is_used_as_docker_login_left_it(
    recorded: Recorded, base_image: str, registry_auth: tuple[str, str, str], name: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    host, user, password = registry_auth
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    options = {"base": base_image, "repository": f"{host}/{name}", "push": True}
    with pytest.raises(ToolError, match="does not let you push") as raised:
        image.build("train.ipynb", **options)
    assert f"docker login {host}" in raised.value.remedy
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    _, made = image.build("train.ipynb", **options)
    assert door.resolve(f"{host}/{name}:0.0.0") == made.digest


def test_an_unreachable_registry_is_told_before_anything_is_built(
    recorded: Recorded, base_image: str
) -> None:
    steps = []
    with pytest.raises(ToolError, match=r"127\.0\.0\.1:9 cannot be reached"):
        image.build(
            "train.ipynb", base=base_image, repository="127.0.0.1:9/a", push=True,
            report=lambda s: steps.append(s.message),
        )  # fmt: skip
    assert not [s for s in steps if s.startswith("builder:")]
    with pytest.raises(UsageError, match="no repository to push to"):
        image.build("train.ipynb", base=base_image, push=True)


def test_a_dirty_tree_is_not_built_unless_told(recorded: Recorded, base_image: str) -> None:
    (recorded[0] / "other.py").write_text("x = 1\n")
    with pytest.raises(UsageError, match="changes that are in no commit"):
        image.build("train.ipynb", base=base_image)
    _, made = image.build("train.ipynb", base=base_image, allow_dirty=True)
    assert made.dirty
    assert all(tag.endswith("-dirty") for tag in made.tags)
    found = docker.inspect(made.id)
    assert found is not None
    assert found.labels["io.mlrepro.dirty"] == "true"


def test_a_base_that_is_not_pinned_is_not_built(recorded: Recorded) -> None:
    with pytest.raises(ToolError, match="digest of the base image 127"):
        image.build("train.ipynb", base="127.0.0.1:9/python:3.11")


# --- layers


def layers(identity: str) -> list[str]:
    return list(json.loads(run("image", "inspect", identity).stdout)[0]["RootFS"]["Layers"])


def test_a_change_of_code_leaves_the_dependencies_alone(
    recorded: Recorded, base_image: str
) -> None:
    folder, store, _ = recorded
    _, first = image.build("train.ipynb", base=base_image)
    cells = json.loads((folder / "train.ipynb").read_text())
    cells["cells"][0]["source"] += "\n# a comment"
    (folder / "train.ipynb").write_text(json.dumps(cells))
    git(folder, "commit", "-qam", "Comment")
    put(folder, store)
    steps: list[str] = []
    _, second = image.build(
        "train.ipynb", base=base_image, report=lambda s: steps.append(s.message)
    )
    before, after = layers(first.id), layers(second.id)
    assert len(before) == len(after)
    # Base, /results, dependencies, our own wheel and data are the same; code and record are not.
    same = [a == b for a, b in zip(before, after, strict=True)]
    assert same[:-3] == [True] * (len(same) - 3)
    assert not all(same)
    assert not [s for s in steps if "Collecting" in s]


def test_no_secret_of_the_machine_is_in_the_image(
    recorded: Recorded, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recorded[0]
    secret = f"s3cret-{uuid.uuid4().hex}"
    (folder / ".env").write_text(f"TOKEN={secret}\n")
    (folder / "secret.txt").write_text(secret)
    bundle = tmp_path / "ca.pem"
    ours = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    bundle.write_text(f"# {secret}\n{ours.read_text()}")
    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[global]\ntrusted-host = {secret}.invalid\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    # A lock that no build has seen, so that the step with the secrets really runs.
    lock = image.plan("train.ipynb", base=base_image).lock
    monkeypatch.setattr(_lock, "cached", lambda *a: f"{lock}# {uuid.uuid4().hex}\n")
    shown: list[str] = []
    _, made = image.build(
        "train.ipynb",
        base=base_image,
        allow_dirty=True,
        ca_bundle=bundle,
        report=lambda s: shown.append(s.message),
    )
    assert any("Collecting" in line for line in shown)
    saved = tmp_path / "image.tar"
    run("save", "--output", str(saved), made.id)
    assert secret not in run("history", "--no-trunc", made.id).stdout
    assert secret not in "".join(shown)
    with tarfile.open(saved) as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                assert secret.encode() not in content.read(), member.name


def test_the_final_image_has_no_tool_of_the_build(recorded: Recorded, base_image: str) -> None:
    _, made = image.build("train.ipynb", base=base_image)
    listed = run("run", "--rm", "--user", "0", "--entrypoint", "find", made.id, "/", "-xdev").stdout
    paths = set(listed.splitlines())
    assert "/app/project/train.ipynb" in paths
    assert not [p for p in paths if re.search(r"/\.git$|/wheels|^/build|/requirements\.txt$", p)
                and not p.startswith(("/usr", "/opt/venv/lib"))]  # fmt: skip
    assert not [p for p in paths if p.startswith("/opt/venv") and re.search(r"/(pip|uv)$", p)]
    who = run("run", "--rm", "--entrypoint", "id", made.id).stdout
    assert who.startswith("uid=10001 gid=10001")


def test_nothing_is_left_behind_when_a_build_fails(
    recorded: Recorded, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    store = recorded[1]
    with pytest.raises(ToolError, match="base image cannot be pulled"):
        image.build("train.ipynb", base=f"{registry}/no/such@sha256:{'0' * 64}")
    assert not list(tmp_path.glob("mlrepro*"))
    assert not store.entries(Image)
