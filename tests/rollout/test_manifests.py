"""The manifests: valid, hardened, traceable, stable."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Gpu, Hardware, Peak
from mlrepro_nb.rollout import Options, Subject, manifests, plan, preview, to_yaml
from tests.records import a_record

IMAGE = f"registry.example.com/team/tour@sha256:{'a' * 64}"
RECORD = f"sha256:{'b' * 64}"
Manifests = dict[str, dict[str, Any]]

GPU = a_record(
    hardware=Hardware(
        cpu="A CPU", cores=8, memory=2**34,
        gpus=(Gpu(product="NVIDIA H100 80GB HBM3", uuid="GPU-1", memory=2**36, used=True),),
        peak=Peak(memory=2**31, cpu=1.5, gpu_memory=2**33, samples=60),
    )
)  # fmt: skip
EVERYTHING = Options(
    replicas=3, env={"LEVEL": "debug"}, secrets=("all", "db:PASSWORD"), pull_secret="pull",
    allow_from=("ingress",), allow_egress=True, create_namespace=True, cpu_limit="4",
)  # fmt: skip
FETCHED = Options(
    secrets=("all",), data_secrets=("AWS_ACCESS_KEY_ID=s3:key",), env={"LEVEL": "debug"}
)
CASES = {
    "service": ("service", a_record(), Options()),
    "service of which nothing is known": ("service", None, Options()),
    "service with everything": ("service", GPU, EVERYTHING),
    "job": ("job", a_record(), Options()),
    "job on a GPU": ("job", GPU, Options(secrets=("all",))),
    "job whose data is fetched": ("job", GPU, FETCHED, 5 * 2**30),
}


def rendered(
    kind: Any = "service", record: Any = None, options: Any = None, fetches: int | None = None
) -> Manifests:
    subject = Subject(
        fetches=fetches,
        reference=IMAGE, kind=kind, record=RECORD, notebook="notebooks/train.ipynb",
        commit="1a2b3c4d" * 5, version="1.4.2+g1a2b", run="f" * 32,
    )  # fmt: skip
    found = manifests(plan(subject, record, options))
    assert len({m["kind"] for m in found}) == len(found)
    return {m["kind"]: m for m in found}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Manifests:
    return rendered(*CASES[request.param])


def workload(found: Manifests) -> dict[str, Any]:
    return found.get("Deployment") or found["Job"]


def pod(found: Manifests) -> dict[str, Any]:
    spec = workload(found)["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def test_every_manifest_meets_its_schema_strictly(case: Manifests) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for manifest in case.values():
        validate.validate(manifest, "1.36", strict=True)


# The Pod Security Standard "restricted", with all of "baseline":
# https://kubernetes.io/docs/concepts/security/pod-security-standards/
HOST = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip


def containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(group, ())


RESTRICTED = {
    "host namespaces": lambda p: not any(p.get(name) for name in HOST),
    "privileged": lambda p: not any(c["securityContext"].get("privileged") for c in containers(p)),
    "capabilities": lambda p: all(
        c["securityContext"]["capabilities"] == {"drop": ["ALL"]} for c in containers(p)
    ),
    "volume types": lambda p: all(set(v) - {"name"} <= VOLUMES for v in p["volumes"]),
    "host ports": lambda p: (
        not any(port.get("hostPort") for c in containers(p) for port in c.get("ports", ()))
    ),
    "privilege escalation": lambda p: all(
        c["securityContext"]["allowPrivilegeEscalation"] is False for c in containers(p)
    ),
    "non-root": lambda p: p["securityContext"]["runAsNonRoot"] is True,
    "non-root user": lambda p: (
        p["securityContext"]["runAsUser"] > 0
        and all(c["securityContext"].get("runAsUser") != 0 for c in containers(p))
    ),
    "seccomp": lambda p: (
        p["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        and not any(c["securityContext"].get("seccompProfile") for c in containers(p))
    ),
    "sysctls": lambda p: not p["securityContext"].get("sysctls"),
    "selinux": lambda p: not p["securityContext"].get("seLinuxOptions"),
    "proc mount": lambda p: not any(c["securityContext"].get("procMount") for c in containers(p)),
    "probes and hooks of other hosts": lambda p: not re.search(r"'host':", str(p)),
}


@pytest.mark.parametrize("control", RESTRICTED)
def test_pods_meet_the_restricted_standard(case: Manifests, control: str) -> None:
    assert RESTRICTED[control](pod(case))


def test_pods_are_hardened_beyond_the_standard(case: Manifests) -> None:
    spec = pod(case)
    container = spec["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["securityContext"]["runAsUser"] >= 10000
    assert all(v["emptyDir"]["sizeLimit"] for v in spec["volumes"])
    assert {m["mountPath"] for m in container["volumeMounts"]} >= {"/tmp"}
    assert spec["automountServiceAccountToken"] is False
    assert case["ServiceAccount"]["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == case["ServiceAccount"]["metadata"]["name"]
    assert container["image"] == IMAGE


def test_requests_are_complete_and_memory_is_not_overcommitted(case: Manifests) -> None:
    found = pod(case)["containers"][0]["resources"]
    assert set(found["requests"]) == {"cpu", "memory", "ephemeral-storage"}
    assert found["limits"]["memory"] == found["requests"]["memory"]


def test_cpu_has_no_limit_unless_told() -> None:
    limits = pod(rendered())["containers"][0]["resources"]["limits"]
    assert "cpu" not in limits
    limits = pod(rendered(options=Options(cpu_limit="2")))["containers"][0]["resources"]["limits"]
    assert limits["cpu"] == "2"


def test_probes_ask_different_things() -> None:
    container = pod(rendered())["containers"][0]
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("readiness", "liveness")}
    assert asked["readiness"]["path"] == "/ready"
    assert asked["liveness"]["path"] == "/ping"
    # Of an image that is nobody's we know no more than MLflow's own protocol.
    other = manifests(plan(Subject(reference=IMAGE), None, Options(kind="service")))
    unknown = next(pod({"Deployment": m}) for m in other if m["kind"] == "Deployment")
    assert unknown["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/health"
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300
    assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]


def test_the_chain_is_on_the_workload_and_on_its_pods(case: Manifests) -> None:
    template = workload(case)["spec"]["template"]["metadata"]["annotations"]
    own = workload(case)["metadata"]["annotations"]
    for annotations in (template, own):
        assert annotations["mlrepro.io/record"] == RECORD
        assert annotations["mlrepro.io/image"] == IMAGE
        assert annotations["mlrepro.io/commit"] == "1a2b3c4d" * 5
        assert annotations["mlrepro.io/notebook"] == "notebooks/train.ipynb"
        assert annotations["mlrepro.io/mlflow-run"] == "f" * 32
    assert "confidence" in own["inferred.mlrepro.io/memory"]


def test_labels_are_valid_everywhere(case: Manifests) -> None:
    value = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
    for manifest in case.values():
        assert all(value.fullmatch(v) for v in manifest["metadata"]["labels"].values())
    labels = workload(case)["metadata"]["labels"]
    for name in ("name", "instance", "version", "part-of", "managed-by"):
        assert labels[f"app.kubernetes.io/{name}"]


def test_selectors_hold_nothing_that_a_new_version_changes() -> None:
    found = rendered(options=Options(replicas=2))
    selector = found["Deployment"]["spec"]["selector"]["matchLabels"]
    assert "app.kubernetes.io/version" not in selector
    assert found["Service"]["spec"]["selector"] == selector
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == selector
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == selector
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()


def test_a_service_does_not_select_the_pods_of_a_job_of_the_same_name() -> None:
    service = rendered(options=Options(name="tour"))["Service"]["spec"]["selector"]
    job = rendered("job", None, Options(name="tour"))["Job"]["spec"]["template"]["metadata"]
    assert not service.items() <= job["labels"].items()


def test_a_new_setting_is_a_new_config_map_and_so_a_new_revision() -> None:
    one, same, other = (
        rendered(options=Options(env={"LEVEL": level})) for level in ("debug", "debug", "info")
    )
    assert one == same
    assert one["ConfigMap"]["metadata"]["name"] != other["ConfigMap"]["metadata"]["name"]
    assert one["ConfigMap"]["immutable"] is True
    for found in (one, other):
        source = pod(found)["containers"][0]["envFrom"][0]["configMapRef"]
        assert source["name"] == found["ConfigMap"]["metadata"]["name"]


def test_secrets_are_only_named() -> None:
    found = rendered(options=Options(secrets=("all", "T=db:token")))
    container = pod(found)["containers"][0]
    assert {"secretRef": {"name": "all"}} in container["envFrom"]
    assert container["env"] == [
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "db", "key": "token"}}}
    ]
    assert "Secret" not in found


def test_one_replica_needs_no_budget_and_more_are_spread() -> None:
    assert "PodDisruptionBudget" not in rendered()
    found = rendered(options=Options(replicas=2))
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert len(pod(found)["topologySpreadConstraints"]) == 2


def test_a_rolling_update_needs_no_spare_gpu() -> None:
    def strategy(record: Any) -> Any:
        return rendered(record=record)["Deployment"]["spec"]["strategy"]["rollingUpdate"]

    assert strategy(None) == {"maxSurge": 1, "maxUnavailable": 0}
    assert strategy(GPU) == {"maxSurge": 0, "maxUnavailable": 1}


def test_a_gpu_pod_lands_on_a_node_with_such_a_gpu() -> None:
    spec = pod(rendered(record=GPU))
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    affinity = spec["affinity"]["nodeAffinity"]
    required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    (memory,) = required[0]["matchExpressions"]
    assert (memory["key"], memory["operator"]) == ("nvidia.com/gpu.memory", "Gt")
    assert 8192 * 1.15 <= int(memory["values"][0]) + 1 <= 8192 * 1.15 + 256
    preferred = affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["preference"]
    assert preferred["matchExpressions"][0]["values"] == ["NVIDIA-H100-80GB-HBM3"]


def test_a_job_that_says_no_is_not_asked_again() -> None:
    spec = rendered("job")["Job"]["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] >= 3600
    # Only a pod that was evicted, which says nothing about the notebook, is replaced.
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"]] == ["Ignore"]


def test_another_image_is_another_job() -> None:
    names = set()
    for digest in "ab":
        subject = Subject(reference=f"r.example.com/x@sha256:{digest * 64}", kind="job")
        names.add(manifests(plan(subject, None))[-1]["metadata"]["name"])
    assert len(names) == 2


def test_the_workload_comes_last_and_the_namespace_first() -> None:
    kinds = list(rendered(*CASES["service with everything"]))
    assert kinds[0] == "Namespace"
    assert kinds[-1] == "Deployment"
    labels = rendered(*CASES["service with everything"])["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_network_is_closed_but_for_its_purpose() -> None:
    spec = rendered()["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    assert spec["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "http"}]
    assert rendered("job")["NetworkPolicy"]["spec"]["ingress"] == []


def test_the_same_plan_gives_the_same_text(case: Manifests) -> None:
    text = to_yaml(case.values())
    assert list(yaml.safe_load_all(text)) == list(case.values())
    assert text == to_yaml(msgspec.json.decode(msgspec.json.encode(list(case.values()))))


def test_a_preview_shows_what_will_be_and_cannot_be_applied() -> None:
    text = preview(a_record(), RECORD, "registry.example.com/team/tour")
    assert text.startswith("# Preview")
    assert "registry.example.com/team/tour@sha256" not in text
    found = list(yaml.safe_load_all(text))
    assert found[-1]["kind"] == "Deployment"
    # No API server takes this for a label.
    assert found[-1]["metadata"]["labels"]["app.kubernetes.io/version"] == "<not-pushed>"


def test_a_preview_of_a_pushed_image_is_the_real_thing() -> None:
    text = preview(a_record(), RECORD, IMAGE, kind="job", memory="2Gi")
    assert not text.startswith("#")
    job = list(yaml.safe_load_all(text))[-1]
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == IMAGE
    assert container["resources"]["requests"]["memory"] == "2Gi"


def test_data_is_fetched_by_an_init_step_with_credentials_of_its_own() -> None:
    spec = pod(rendered("job", GPU, FETCHED, 5 * 2**30))
    (fetching,), (job,) = spec["initContainers"], spec["containers"]
    assert fetching["image"] == job["image"]
    assert [e["name"] for e in fetching["env"]] == ["AWS_ACCESS_KEY_ID"]
    assert "env" not in job
    assert "nvidia.com/gpu" not in str(fetching["resources"])
    assert {"name": "data", "mountPath": "/data"} in fetching["volumeMounts"]
    assert {"name": "data", "mountPath": "/data", "readOnly": True} in job["volumeMounts"]
    (volume,) = [v for v in spec["volumes"] if v["name"] == "data"]
    size = int(volume["emptyDir"]["sizeLimit"].removesuffix("Mi"))
    assert 5 * 1024 < size < 6 * 1024
    assert int(job["resources"]["limits"]["ephemeral-storage"].removesuffix("Mi")) > size
    assert rendered("job", GPU, FETCHED, 1)["NetworkPolicy"]["spec"]["egress"] == [{}]


def test_data_may_be_in_a_claim() -> None:
    spec = pod(rendered("job", GPU, Options(data_claim="datasets"), 5 * 2**30))
    (volume,) = [v for v in spec["volumes"] if v["name"] == "data"]
    assert volume["persistentVolumeClaim"] == {"claimName": "datasets"}
    for wrong in (Options(data_claim="NO_NAME"), Options(data_secrets=("a:b:c:d",))):
        with pytest.raises(UsageError):
            rendered("job", GPU, wrong, 1)
    with pytest.raises(UsageError, match="not known to need data"):
        rendered("job", GPU, Options(data_claim="datasets"))
