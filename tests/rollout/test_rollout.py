"""Rolling out to a real cluster."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.model import Rollout, Step, digest
from mlrepro_nb.rollout import remedy, rollout
from mlrepro_nb.store import Store
from tests.records import a_record

pytestmark = pytest.mark.kubernetes

Kubectl = Callable[..., str]
Build = Callable[..., str]


@pytest.fixture
def roll(
    store: Store, namespace: str, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Rollout]:
    """Roll out into the test's namespace, keeping what progress says."""

    # What is watched for 20 seconds in real life is no different after 3.
    monkeypatch.setattr("mlrepro_nb.connect.kubernetes._wait.PATIENCE", 3.0)

    def run(image: str, **options: Any) -> Rollout:
        def tell(step: Step) -> None:
            steps.append(step.message)

        options = {"namespace": namespace, "cpu": "50m", "memory": "64Mi", "timeout": 90, **options}
        options.setdefault("apply", True)
        kept, document, _ = rollout(image, store=store, report=tell, **options)
        if options["apply"]:
            assert store.get(Rollout, kept) == document
        return document

    return run


def answer(kubectl: Kubectl, namespace: str, name: str, wanted: str) -> str:
    """Return what the Service answers, once it is what is wanted or will not become it."""
    address = kubectl("get", "service", name, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")
    said = ""
    for _ in range(75):  # kube-proxy learns of a rollout a moment after it is complete
        try:
            with urllib.request.urlopen(f"http://{address}/version", timeout=5) as response:
                said = response.read().decode()
        except OSError as error:
            said = str(error)
        if said == wanted:
            break
        time.sleep(0.2)
    return said


def test_a_service_becomes_ready_answers_and_names_its_record(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, store: Store,
    steps: list[str],
) -> None:  # fmt: skip
    record = store.put(a_record())
    one = image("service", "one", f"io.mlrepro.record={record} io.mlrepro.notebook=train.ipynb")
    done = roll(one)
    assert (done.status, done.revision, done.name) == ("complete", 1, "train")
    assert any("1 of 1 updated" in step for step in steps)
    assert answer(kubectl, namespace, "train", "one") == "one"

    pods = json.loads(kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
    assert len(pods) == 1
    annotations = pods[0]["metadata"]["annotations"]
    assert annotations["mlrepro.io/record"] == record == digest(a_record())
    assert annotations["mlrepro.io/image"] == one
    assert annotations["mlrepro.io/commit"] == a_record().code.commit
    assert pods[0]["status"]["containerStatuses"][0]["imageID"].endswith(one.partition("@")[2])

    again = roll(one)
    assert (again.status, again.revision) == ("complete", 1)
    outcomes = [step.rpartition(" ")[2] for step in steps if "unchanged" in step]
    assert len(outcomes) == 5
    assert len(json.loads(kubectl("get", "rs", "-n", namespace, "-o", "json"))["items"]) == 1


def test_a_new_digest_rolls_and_a_bad_one_fails_while_the_old_one_serves(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, steps: list[str]
) -> None:
    one, two, broken = (image("service", version) for version in ("one", "two", "crash"))
    roll(one, name="tour")
    second = roll(two, name="tour")
    assert (second.status, second.revision, second.previous) == ("complete", 2, one)
    assert answer(kubectl, namespace, "tour", "two") == "two"

    third = roll(broken, name="tour")
    assert (third.status, third.revision) == ("failed", 3)
    assert "CrashLoopBackOff" in str(third.reason)
    assert "exit code 1" in str(third.reason)
    assert any("FileNotFoundError: no model here" in step for step in steps)
    assert two in remedy(third)
    assert f"kubectl rollout undo deployment/tour -n {namespace}" in remedy(third)
    assert answer(kubectl, namespace, "tour", "two") == "two"

    # What is named as the way back is what last worked, however often it fails since.
    assert roll(broken, name="tour").previous == two
    back = roll(two, name="tour")
    assert (back.status, back.revision) == ("complete", 4)


def test_an_image_that_is_not_there_says_so(
    roll: Callable[..., Rollout], registry: str, steps: list[str]
) -> None:
    missing = f"{registry}/test/rollout-missing@sha256:{'0' * 64}"
    failed = roll(missing, kind="service")
    assert failed.status == "failed"
    assert "the image cannot be pulled" in str(failed.reason)
    assert "not found" in str(failed.reason)
    assert "kubectl describe" in remedy(failed)


def test_a_pod_that_no_node_takes_is_explained_at_the_timeout(
    roll: Callable[..., Rollout], image: Build
) -> None:
    failed = roll(image("service", "one"), memory="4Ti", timeout=5)
    assert failed.status == "failed"
    assert "Unschedulable" in str(failed.reason)
    assert "Insufficient memory" in str(failed.reason)


def test_who_stops_waiting_keeps_what_was_applied(
    roll: Callable[..., Rollout], image: Build, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mlrepro_nb.connect.kubernetes.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        roll(image("service", "one"))
    (entry,) = store.entries(Rollout)
    assert store.get(Rollout, entry.digest).status == "applied"


def test_a_gpu_that_no_node_has_is_named(roll: Callable[..., Rollout], image: Build) -> None:
    failed = roll(image("service", "one"), gpus=7, timeout=5)
    assert "Insufficient nvidia.com/gpu" in str(failed.reason)


def test_a_secret_that_is_missing_is_named(roll: Callable[..., Rollout], image: Build) -> None:
    failed = roll(image("service", "one"), secrets=("nowhere",), timeout=60)
    assert failed.status == "failed"
    assert '"nowhere" not found' in str(failed.reason)


def test_a_secret_reaches_the_process_and_no_manifest(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, store: Store
) -> None:
    kubectl("create", "secret", "generic", "db", "-n", namespace, "--from-literal=word=two-words")
    done = roll(image("service", "one"), name="tour", secrets=("VERSION=db:word",))
    assert answer(kubectl, namespace, "tour", "two-words") == "two-words"
    assert b"two-words" not in store.blobs.get(done.manifests)


def test_a_job_runs_to_its_end(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, steps: list[str]
) -> None:
    done = roll(image("job", "0"))
    assert (done.status, done.workload) == ("complete", "Job")
    assert "verdict: 0" in steps
    again = roll(image("job", "0"))
    assert (again.status, again.name) == ("complete", done.name)
    assert len(json.loads(kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]) == 1


def test_a_job_that_does_not_reproduce_fails_once(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, steps: list[str]
) -> None:
    failed = roll(image("job", "1"))
    assert failed.status == "failed"
    assert "did not reproduce" in str(failed.reason)
    assert "verdict: 1" in steps
    assert len(json.loads(kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]) == 1


def test_a_job_that_breaks_otherwise_is_not_called_irreproducible(
    roll: Callable[..., Rollout], image: Build
) -> None:
    failed = roll(image("job", "3"))
    assert "exit code 3" in str(failed.reason)
    assert "reproduce" not in str(failed.reason)


def test_a_field_of_another_manager_is_not_taken_over_unless_told(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, store: Store
) -> None:
    roll(image("service", "one"), name="tour")
    kubectl("scale", "deployment/tour", "-n", namespace, "--replicas=2")
    before = len(store.entries(Rollout))
    with pytest.raises(ToolError) as caught:
        roll(image("service", "two"), name="tour")
    assert "'kubectl' owns spec.replicas" in str(caught.value)
    assert "--force-conflicts" in caught.value.remedy
    assert answer(kubectl, namespace, "tour", "one") == "one"
    assert len(store.entries(Rollout)) == before
    taken = roll(image("service", "two"), name="tour", force_conflicts=True)
    assert taken.status == "complete"


def test_a_refused_manifest_leaves_nothing_behind(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, store: Store
) -> None:
    # All are fine but the last: a Deployment's selector never changes.
    labels = {"matchLabels": {"app": "x"}}
    container = {"name": "service", "image": "x"}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}}
    other = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "tour"},
        "spec": {"replicas": 0, "selector": labels, "template": template},
    }  # fmt: skip
    command = ("apply", "--server-side", "--field-manager=mlrepro", "-n", namespace, "-f", "-")
    kubectl(*command, given=json.dumps(other))
    with pytest.raises(ToolError, match=r"invalid: .*field is immutable"):
        roll(image("service", "one"), name="tour")
    found = kubectl("get", "service,sa,netpol", "-n", namespace, "-o", "name")
    assert "tour" not in found
    assert store.entries(Rollout) == []


def test_a_dry_run_asks_the_cluster_and_keeps_nothing(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, store: Store,
    steps: list[str],
) -> None:  # fmt: skip
    tried = roll(image("service", "one"), name="tour", apply=False, dry_run=True)
    assert tried.status == "rendered"
    assert "Deployment tour would be created" in steps
    assert "tour" not in kubectl("get", "all,sa,cm,netpol", "-n", namespace, "-o", "name")
    assert store.entries(Rollout) == []


def test_a_namespace_is_made_only_when_told(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str
) -> None:
    other = f"{namespace}-new"
    with pytest.raises(ToolError) as caught:
        roll(image("job", "0"), namespace=other)
    assert f"no namespace '{other}'" in str(caught.value)
    assert "--create-namespace" in caught.value.remedy
    assert other not in kubectl("get", "namespaces", "-o", "name")
    try:
        assert roll(image("job", "0"), namespace=other, create_namespace=True).status == "complete"
    finally:
        kubectl("delete", "namespace", other, "--wait=false", "--ignore-not-found")


def test_two_notebooks_do_not_share_a_name_by_accident(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str
) -> None:
    roll(image("service", "one", "io.mlrepro.notebook=a/train.ipynb"))
    with pytest.raises(UsageError, match=r"another notebook, a/train\.ipynb"):
        roll(image("service", "one", "io.mlrepro.notebook=b/train.ipynb"))


def test_the_printed_yaml_is_what_kubectl_applies(
    roll: Callable[..., Rollout], image: Build, kubectl: Kubectl, namespace: str, store: Store
) -> None:
    done = roll(image("service", "one"), name="tour", replicas=2, apply=False)
    assert done.status == "rendered"
    text = store.blobs.get(done.manifests).decode()
    said = kubectl("apply", "--dry-run=server", "-f", "-", given=text)
    assert "deployment.apps/tour created" in said
    assert "poddisruptionbudget.policy/tour created" in said
