"""``mlrepro rollout``, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import Image, Rollout
from mlrepro_nb.store import Store
from tests.records import a_record

PUSHED = f"sha256:{'a' * 64}"
REPOSITORY = "registry.invalid/team/train"


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


@pytest.fixture
def image(store: Store) -> Image:
    """An image of a recorded notebook that was pushed."""
    return put_image(store, digest=PUSHED)


def put_image(store: Store, **fields: Any) -> Image:
    found = Image(
        record=store.put(a_record()), notebook="train.ipynb", image_kind="service",
        id=f"sha256:{'1' * 64}", repository=REPOSITORY, tags=("1.4.2", "build-7"),
        base=f"python@sha256:{'2' * 64}", commit="1a2b3c4d" * 5, dirty=False, version="1.4.2",
        build_id="7", containerfile=f"sha256:{'3' * 64}", lock=f"sha256:{'4' * 64}",
        created="2026-11-23T10:00:00Z",
    )  # fmt: skip
    found = msgspec.structs.replace(found, **fields)
    store.put(found)
    return found


def mlrepro(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["rollout", *arguments])


def rendered(text: str) -> dict[str, Any]:
    return {m["kind"]: m for m in yaml.safe_load_all(text)}


def test_it_prints_yaml_and_nothing_else(image: Image, repository: Path) -> None:
    result = mlrepro(f"{REPOSITORY}:1.4.2")
    assert result.exit_code == 0, result.output
    found = rendered(result.stdout)
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"{REPOSITORY}@{PUSHED}"
    assert found["Service"]["metadata"]["namespace"] == "mlrepro"
    assert result.stdout == mlrepro(f"{REPOSITORY}:1.4.2").stdout


@pytest.mark.parametrize(
    "target",
    [
        f"{REPOSITORY}:build-7", f"{REPOSITORY}@{PUSHED}", f"{REPOSITORY}:9@{PUSHED}", PUSHED,
        "a" * 64, f"sha256:{'1' * 64}", "train.ipynb", "RECORD", "RECORD-PREFIX",
    ],
)  # fmt: skip
def test_an_image_has_many_names_and_one_digest(image: Image, target: str) -> None:
    target = {"RECORD": image.record, "RECORD-PREFIX": image.record[7:15]}.get(target, target)
    result = mlrepro(target, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)["rollout"]
    assert document["image"] == f"{REPOSITORY}@{PUSHED}"
    assert document["record"] == image.record


def test_what_was_rendered_is_in_the_store(image: Image, store: Store) -> None:
    answer = json.loads(mlrepro("train.ipynb", "--json").stdout)
    document = store.get(Rollout, answer["digest"])
    assert document.status == "rendered"
    assert store.blobs.get(document.manifests).decode() == answer["manifests"]


def test_it_writes_a_file_or_one_file_a_manifest(image: Image, repository: Path) -> None:
    assert mlrepro("train.ipynb", "-o", "all.yaml").stdout == ""
    assert mlrepro("train.ipynb", "-o", "manifests").exit_code == 0
    files = sorted(Path("manifests").iterdir())
    assert [f.name for f in files][-1] == "4-deployment.yaml"
    joined = "---\n".join(f.read_text() for f in files)
    assert joined == Path("all.yaml").read_text()


def test_options_reach_the_manifests(image: Image) -> None:
    arguments = ["--name", "mine", "-n", "default", "--replicas", "2", "--memory", "2Gi", "--cpu",
                 "1", "--gpus", "1", "--env", "LEVEL=a=b", "--secret", "db:PASSWORD"]  # fmt: skip
    found = rendered(mlrepro("train.ipynb", *arguments).stdout)
    spec = found["Deployment"]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert found["Deployment"]["metadata"]["namespace"] == "default"
    assert spec["replicas"] == 2
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert found["ConfigMap"]["data"]["LEVEL"] == "a=b"
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "db", "key": "PASSWORD"}


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["nothing.ipynb"], "was never recorded", 2),
        (["sha256:" + "9" * 64], "has no image", 2),
        (["Not An Image"], "not an image reference", 2),
        ([f"{REPOSITORY}:latest"], "names another image tomorrow", 2),
        ([REPOSITORY], "names another image tomorrow", 2),
        ([f"{REPOSITORY}:unknown"], "registry.invalid", 3),
        (["train.ipynb", "--env", "PASSWORD=hunter2hunter2"], "looks like a secret", 2),
        (["train.ipynb", "--env", "NAME"], "NAME=VALUE", 2),
        (["train.ipynb", "--memory", "much"], "not a Kubernetes quantity", 2),
        (["train.ipynb", "--apply", "--dry-run"], "either tried or done", 2),
        (["train.ipynb", "--timeout", "0"], "no time", 2),
        (["train.ipynb", "--kind", "job"], "is a service image", 2),
        (["train.ipynb", "--apply"], "no kubeconfig", 2),
        (["train.ipynb", "--apply", "--context", "x"], "no context 'x'", 2),
        (["train.ipynb", "-o", "no/where/x.yaml"], "no folder", 2),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    image: Image, store: Store, arguments: list[str], said: str, code: int
) -> None:
    result = mlrepro(*arguments)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output
    assert result.stdout == ""
    assert store.entries(Rollout) == []


def test_an_image_that_was_not_pushed_cannot_be_rolled_out(store: Store) -> None:
    put_image(store)
    for target in ("train.ipynb", f"sha256:{'1' * 64}", f"{REPOSITORY}:1.4.2"):
        result = mlrepro(target)
        assert (result.exit_code, "not pushed" in result.stderr) == (2, True), result.output
        assert "mlrepro build --push" in result.stderr


def test_a_notebook_without_an_image_says_how_to_build_one(store: Store) -> None:
    store.put(a_record())
    result = mlrepro("train.ipynb")
    assert result.exit_code == 2
    assert "mlrepro build train.ipynb --push" in result.stderr


def test_the_newest_record_may_be_younger_than_the_newest_image(image: Image, store: Store) -> None:
    newer = msgspec.structs.replace(a_record().lineage, ended="2026-11-24T10:00:00Z")
    store.put(a_record(lineage=newer))
    assert f"{REPOSITORY}@{PUSHED}" in mlrepro("train.ipynb").stdout


def test_a_digest_needs_no_registry_but_a_kind(repository: Path) -> None:
    reference = f"registry.invalid/other@sha256:{'e' * 64}"
    assert "--kind" in mlrepro(reference).stderr
    result = mlrepro(reference, "--kind", "job")
    assert result.exit_code == 0, result.output
    assert reference in result.stdout
