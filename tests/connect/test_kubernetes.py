"""The door to Kubernetes: what goes wrong is said in one sentence."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlrepro_nb.connect import kubernetes
from mlrepro_nb.errors import MlreproError, NotFoundError, ToolError, UsageError
from mlrepro_nb.model import Step

Configure = Callable[..., Path]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Write a kubeconfig of one context and make it the one in use."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    def write(server: str = "http://127.0.0.1:1", **context: str) -> Path:
        path = tmp_path / "config"
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "x"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **context}}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        monkeypatch.setenv("KUBECONFIG", str(path))
        return path

    return write


Answers = dict[tuple[str, str], tuple[int, Any]]


@pytest.fixture
def server(configure: Configure) -> Iterator[Answers]:
    """An API server that answers what it was told; the test fills in the answers."""
    answers: Answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            missing = (404, {"kind": "Status", "message": "not found"})
            status, body = answers.get((self.command, path), missing)
            if callable(body):
                status, body = body()
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    configure(f"http://127.0.0.1:{listening.server_port}")
    yield answers
    listening.shutdown()


def one_sentence(error: MlreproError) -> None:
    assert "\n" not in error.message
    assert error.message.endswith(".")
    assert error.remedy


# --- the kubeconfig


def test_the_current_context_and_its_namespace(configure: Configure) -> None:
    configure(namespace="team")
    assert kubernetes.current_context() == kubernetes.Context(name="here", namespace="team")
    assert kubernetes.current_context("elsewhere") is None


def test_several_kubeconfigs_are_merged_as_kubectl_does(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = configure(namespace="first")
    second = tmp_path / "second"
    second.write_text(
        first.read_text().replace("first", "second").replace("name: here", "name: there")
    )
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{first}:{second}")
    assert kubernetes.current_context() == kubernetes.Context(name="here", namespace="first")
    assert kubernetes.current_context("there") == kubernetes.Context(
        name="there", namespace="second"
    )


@pytest.mark.parametrize(
    "text", ["", "- a", "{", "current-context: 3\ncontexts: x", "\x00", "a: &a [*a]"]
)
def test_a_broken_kubeconfig_counts_as_none(configure: Configure, text: str) -> None:
    configure().write_text(text)
    assert kubernetes.current_context() is None


def test_an_unknown_context_is_a_usage_error(configure: Configure) -> None:
    configure()
    with pytest.raises(UsageError, match="no context 'elsewhere'") as caught:
        kubernetes.Cluster("elsewhere")
    one_sentence(caught.value)


def test_without_the_client_it_says_what_to_install(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure()
    for name in [n for n in sys.modules if n.split(".")[0] == "kubernetes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(ToolError) as caught:
        kubernetes.Cluster()
    assert caught.value.remedy == "pip install 'mlrepro-nb[kubernetes]'"


# --- the server's answers


def test_a_cluster_that_does_not_answer_is_named(configure: Configure) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        configure(f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(ToolError, match=r"context 'here' at .* cannot be reached") as caught:
            kubernetes.read("pod", "x")
    one_sentence(caught.value)
    assert caught.value.exit_code == 3
    assert "HTTPConnection" not in caught.value.message


def test_a_host_that_does_not_exist_is_named(configure: Configure) -> None:
    configure("https://no-such-host.invalid:6443")
    with pytest.raises(ToolError, match=r"no-such-host\.invalid.* cannot be reached") as caught:
        kubernetes.read("pod", "x")
    one_sentence(caught.value)


def test_a_server_that_is_no_kubernetes_is_recognised(server: Answers) -> None:
    server["GET", "/api/v1/namespaces/default/pods/x"] = (200, b"<html>hello</html>")
    with pytest.raises(ToolError, match="does not speak the Kubernetes API"):
        kubernetes.read("pod", "x")


POD = "/api/v1/namespaces/default/pods/x"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"message": "Unauthorized"}, "did not accept the credentials"),
        (403, {"message": 'pods "x" is forbidden: User "u" cannot get'}, "cannot get"),
        (500, {"message": "etcd is down"}, "answered 500 to the request: etcd is down"),
        (502, b"<html>Bad\nGateway</html>", "answered 502"),
        (500, b"", "answered 500"),
        (400, [], "invalid"),
    ],
)
def test_every_refusal_is_one_sentence(server: Answers, status: int, body: Any, said: str) -> None:
    server["GET", POD] = (status, body)
    with pytest.raises(ToolError, match=said) as caught:
        kubernetes.read("pod", "x")
    one_sentence(caught.value)


def test_what_is_not_there_is_told_from_what_has_no_images(server: Answers) -> None:
    with pytest.raises(NotFoundError, match="no Deployment 'x'"):
        kubernetes.read("deploy", "x")
    with pytest.raises(UsageError, match="has no images"):
        kubernetes.read("service", "x")


def test_conflicts_name_the_manager_and_its_fields(server: Answers) -> None:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "argocd" using apps/v1',
            "field": '.spec.template.spec.containers[name="service"].image',
        },
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "argocd" using apps/v1',
            "field": ".spec.replicas",
        },
    ]
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}
    server["PATCH", "/api/v1/namespaces/n/configmaps/a"] = (409, {"details": {"causes": causes}})
    with pytest.raises(ToolError) as caught:
        kubernetes.apply(kubernetes.Cluster(), [config])
    assert (
        "'argocd' owns spec.template.spec.containers[name=\"service\"].image, spec.replicas"
        in caught.value.message
    )
    one_sentence(caught.value)


def test_a_namespace_that_was_made_for_a_refused_manifest_is_taken_back(server: Answers) -> None:
    meta = {"name": "n", "resourceVersion": "1"}
    deleted = []
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}
    server["PATCH", "/api/v1/namespaces/n"] = (201, {"metadata": meta})
    server["PATCH", "/api/v1/namespaces/n/configmaps/a"] = (422, {"message": "no"})

    def delete() -> tuple[int, Any]:
        deleted.append("n")
        return 200, {}

    server["DELETE", "/api/v1/namespaces/n"] = (0, delete)
    with pytest.raises(ToolError, match="invalid: no"):
        kubernetes.apply(kubernetes.Cluster(), [namespace, config])
    assert deleted == ["n"]
    # One that was there before is not ours to delete.
    server["GET", "/api/v1/namespaces/n"] = (200, {"metadata": meta})
    with pytest.raises(ToolError):
        kubernetes.apply(kubernetes.Cluster(), [namespace, config])
    assert deleted == ["n"]


# --- waiting


def deployment(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "x", "generation": 2, "annotations": {"deployment.kubernetes.io/revision": "7"},
        },
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}},
        "status": {"observedGeneration": 2, "replicas": 1, **status},
    }  # fmt: skip


DEPLOYMENT = "/apis/apps/v1/namespaces/n/deployments/x"
DONE = deployment(updatedReplicas=1, availableReplicas=1)


def test_a_busy_server_is_no_verdict_on_the_rollout(server: Answers) -> None:
    answers = iter([(503, {"message": "busy"}), (429, {"message": "later"}), (200, DONE)])
    server["GET", DEPLOYMENT] = (0, lambda: next(answers))
    steps: list[Step] = []
    done = kubernetes.wait(
        kubernetes.Cluster(), "Deployment", "n", "x", timeout=30, report=steps.append
    )
    assert done == kubernetes.Outcome(complete=True, revision=7)
    assert any("busy" in step.message for step in steps)


def test_a_status_of_the_generation_before_does_not_count(server: Answers) -> None:
    old = {**DONE, "status": {**DONE["status"], "observedGeneration": 1}}
    answers = iter([(200, old), (200, DONE)])
    server["GET", DEPLOYMENT] = (0, lambda: next(answers))
    steps: list[Step] = []
    done = kubernetes.wait(
        kubernetes.Cluster(), "Deployment", "n", "x", timeout=30, report=steps.append
    )
    assert done.complete
    assert len(steps) == 1


def test_an_old_pod_that_still_runs_is_waited_for(server: Answers) -> None:
    both = deployment(updatedReplicas=1, availableReplicas=2, replicas=2)
    server["GET", DEPLOYMENT] = (200, both)
    outcome = kubernetes.wait(kubernetes.Cluster(), "Deployment", "n", "x", timeout=0.2)
    assert not outcome.complete
    assert "1 old" in outcome.reason


def test_the_deadline_of_the_deployment_ends_the_waiting(server: Answers) -> None:
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    server["GET", DEPLOYMENT] = (200, deployment(conditions=[condition]))
    outcome = kubernetes.wait(kubernetes.Cluster(), "Deployment", "n", "x", timeout=60)
    assert "made no progress" in outcome.reason


def test_pods_that_the_cluster_refuses_are_explained(server: Answers) -> None:
    condition = {
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": 'pods "x-1" is forbidden: exceeded quota: team',
    }  # fmt: skip
    server["GET", DEPLOYMENT] = (200, deployment(conditions=[condition]))
    outcome = kubernetes.wait(
        kubernetes.Cluster(), "Deployment", "n", "x", timeout=60, patience=0.0
    )
    assert "exceeded quota: team" in outcome.reason


def test_a_workload_that_is_deleted_meanwhile_ends_the_waiting(server: Answers) -> None:
    for kind in ("Deployment", "Job"):
        outcome = kubernetes.wait(kubernetes.Cluster(), kind, "n", "x", timeout=60)  # type: ignore[arg-type]
        assert "deleted meanwhile" in outcome.reason


# --- pods, as their status tells


def pod(name: str = "x-1", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": status}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(containerStatuses=[{"name": "c", "state": state, "ready": False, **more}])


def test_the_cause_of_a_failed_pull_comes_without_the_kubelets_repetitions() -> None:
    reference = f"r.example.com/x@sha256:{'0' * 64}"
    (found,) = kubernetes.troubles(
        [
            waiting(
                "ImagePullBackOff",
                f'Back-off pulling image "{reference}": ErrImagePull: rpc error: code = NotFound '
                f'desc = failed to pull and unpack image "{reference}": failed to resolve '
                f'reference "{reference}": {reference}: not found',
            )
        ]
    )
    assert found.lasting
    assert str(found).endswith("not found")
    assert "0" * 13 not in str(found)


def test_a_crash_loop_points_to_the_log_before_the_restart() -> None:
    last = {"terminated": {"exitCode": 3, "reason": "Error"}}
    (found,) = kubernetes.troubles([waiting("CrashLoopBackOff", lastState=last, restartCount=2)])
    assert (found.now, found.container, found.previous) == (True, "c", True)
    assert "exit code 3, 2 restarts" in found.message


def test_too_little_memory_is_named() -> None:
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    (found,) = kubernetes.troubles([waiting("CrashLoopBackOff", lastState=last, restartCount=1)])
    assert found.reason == "OOMKilled"
    assert "more memory than its limit" in found.message


def test_a_pod_that_finds_no_node_may_find_one_later() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    (found,) = kubernetes.troubles([pod(conditions=[condition])])
    assert (found.reason, found.lasting) == ("Unschedulable", False)


def test_healthy_starting_and_leaving_pods_are_no_trouble() -> None:
    running = {"name": "c", "state": {"running": {}}, "ready": True, "restartCount": 1}
    running["lastState"] = {"terminated": {"exitCode": 1}}
    starting = {"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}, "ready": False}
    leaving = waiting("CrashLoopBackOff")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T10:00:00Z"
    pods = [pod(), pod(containerStatuses=[running]), pod(containerStatuses=[starting]), leaving]
    assert kubernetes.troubles(pods) == ()


def test_the_gravest_trouble_comes_first() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "no"}
    pods = [pod(conditions=[condition]), waiting("ErrImagePull"), waiting("InvalidImageName")]
    assert [t.reason for t in kubernetes.troubles(pods)] == [
        "InvalidImageName", "ErrImagePull", "Unschedulable",
    ]  # fmt: skip


# --- a real cluster


@pytest.mark.kubernetes
def test_a_user_without_rights_is_told_which_are_missing(
    kubernetes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.connect import kubernetes as door

    config = yaml.safe_load(Path(kubernetes).read_text())
    # The service account of a namespace may do nothing.
    token = subprocess.run(
        ["kubectl", "--kubeconfig", kubernetes, "create", "token", "default"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ToolError, match="cannot get resource") as caught:
        door.read("deployment", "x", namespace="default")
    one_sentence(caught.value)
