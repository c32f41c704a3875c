"""A plan as Kubernetes manifests: pure.

Pods meet the Pod Security Standard *restricted* in full. Whatever must change
for a new version changes the pod template; whatever must not (selectors) does
not hold it.
"""

from __future__ import annotations

from mlrepro_nb.model import canonical
from mlrepro_nb.rollout._containers import Manifest, container, fetching, volumes
from mlrepro_nb.rollout._names import content_name, label_value
from mlrepro_nb.rollout._plan import NOT_PUSHED, PORT, Plan

USER = 10001
PROGRESS_DEADLINE = 600
REVISIONS = 10
WEEK = 7 * 24 * 3600


def manifests(plan: Plan) -> tuple[Manifest, ...]:
    """Return a plan's manifests, in the order in which they are applied."""
    config = _config_map(plan)
    pod = _pod_template(plan, config["metadata"]["name"] if config else None)
    found = [
        _namespace(plan) if plan.create_namespace else None,
        {**_head(plan, "v1", "ServiceAccount"), "automountServiceAccountToken": False},
        config,
        _network_policy(plan),
    ]
    if plan.workload == "Job":
        found.append(_job(plan, pod))
    else:
        if plan.replicas > 1:
            found.append(_disruption_budget(plan))
        found += [_service(plan), _deployment(plan, pod)]
    return tuple(manifest for manifest in found if manifest is not None)


def selector(plan: Plan) -> dict[str, str]:
    """Return the labels that tell this workload's pods from all others; they never change."""
    return {
        "app.kubernetes.io/name": plan.name,
        "app.kubernetes.io/instance": plan.name,
        "app.kubernetes.io/component": "job" if plan.workload == "Job" else "service",
    }


def labels(plan: Plan) -> dict[str, str]:
    """Return the recommended labels."""
    # The placeholder stays as it is: it is there to be refused.
    version = plan.version if plan.version == NOT_PUSHED else label_value(plan.version or "")
    found = {
        **selector(plan),
        "app.kubernetes.io/version": version or "",
        "app.kubernetes.io/part-of": plan.project,
        "app.kubernetes.io/managed-by": "mlrepro",
    }
    return {key: value for key, value in found.items() if value}


def chain(plan: Plan) -> dict[str, str]:
    """Return the chain back to the notebook, which digests are too long to label."""
    found = {
        "mlrepro.io/record": plan.record,
        "mlrepro.io/image": plan.image,
        "mlrepro.io/commit": plan.commit,
        "mlrepro.io/dirty": "true" if plan.dirty else None,
        "mlrepro.io/notebook": plan.notebook,
        "mlrepro.io/mlflow-run": plan.run,
    }
    return {key: value for key, value in found.items() if value}


def _head(plan: Plan, api_version: str, kind: str, name: str | None = None) -> Manifest:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name or plan.name,
            "namespace": plan.namespace,
            "labels": labels(plan),
        },
    }


def _namespace(plan: Plan) -> Manifest:
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": plan.namespace, "labels": level},
    }


def _config_map(plan: Plan) -> Manifest | None:
    if not plan.env:
        return None
    # A new content is a new name: pods of the old revision keep theirs, and so does a rollback.
    name = content_name(plan.name, canonical(plan.env).decode())
    return {**_head(plan, "v1", "ConfigMap", name), "immutable": True, "data": dict(plan.env)}


def _network_policy(plan: Plan) -> Manifest:
    spec: Manifest = {"podSelector": {"matchLabels": selector(plan)}}
    spec["policyTypes"] = ["Ingress", "Egress"]
    if plan.workload == "Deployment":
        callers: list[Manifest] = [{"podSelector": {}}]
        callers += [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
            for name in plan.allow_from
        ]
        spec["ingress"] = [{"from": callers, "ports": [{"protocol": "TCP", "port": "http"}]}]
    else:
        spec["ingress"] = []
    spec["egress"] = [{}] if plan.egress else []
    return {**_head(plan, "networking.k8s.io/v1", "NetworkPolicy"), "spec": spec}


def _disruption_budget(plan: Plan) -> Manifest:
    return {
        **_head(plan, "policy/v1", "PodDisruptionBudget"),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(plan)},
        },
    }


def _service(plan: Plan) -> Manifest:
    return {
        **_head(plan, "v1", "Service"),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(plan),
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
        },
    }


def _annotated(plan: Plan, manifest: Manifest) -> Manifest:
    why = {f"inferred.mlrepro.io/{what}": text for what, text in sorted(plan.source.items())}
    meta = {**manifest["metadata"], "annotations": {**chain(plan), **why}}
    return {**manifest, "metadata": meta}


def _deployment(plan: Plan, pod: Manifest) -> Manifest:
    # A surge pod would need a spare GPU; without one the rollout would wait for ever.
    surge = 0 if plan.resources.gpus else 1
    return {
        **_annotated(plan, _head(plan, "apps/v1", "Deployment")),
        "spec": {
            "replicas": plan.replicas,
            "revisionHistoryLimit": REVISIONS,
            "progressDeadlineSeconds": PROGRESS_DEADLINE,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1 - surge},
            },
            "selector": {"matchLabels": selector(plan)},
            "template": pod,
        },
    }


def _job(plan: Plan, pod: Manifest) -> Manifest:
    spec = {
        # 1 says that the notebook does not reproduce: once more would say so once more.
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
        },
        "activeDeadlineSeconds": plan.deadline,
        "ttlSecondsAfterFinished": WEEK,
        "template": pod,
    }
    # A Job's template cannot change: another content is another Job.
    name = content_name(plan.name, canonical(spec).decode())
    return {**_annotated(plan, _head(plan, "batch/v1", "Job", name)), "spec": spec}


def _pod_template(plan: Plan, config: str | None) -> Manifest:
    job = plan.workload == "Job"
    spec: Manifest = {
        "serviceAccountName": plan.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }
    if plan.pull_secret:
        spec["imagePullSecrets"] = [{"name": plan.pull_secret}]
    if job:
        spec["restartPolicy"] = "Never"
    spec["terminationGracePeriodSeconds"] = 30
    spec["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec |= _placement(plan)
    if plan.data:
        spec["initContainers"] = [fetching(plan, config)]
    spec["containers"] = [container(plan, config)]
    spec["volumes"] = [
        {"name": name, "emptyDir": {"sizeLimit": size}} for name, _, size in volumes(plan)
    ]
    if plan.data and plan.data.claim:
        claim = {"claimName": plan.data.claim}
        spec["volumes"].append({"name": "data", "persistentVolumeClaim": claim})
    elif plan.data:
        spec["volumes"].append({"name": "data", "emptyDir": {"sizeLimit": f"{plan.data.size}Mi"}})
    found = chain(plan)
    if plan.proves:
        found |= {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(PORT),
            "prometheus.io/path": "/metrics",
        }
    return {"metadata": {"labels": labels(plan), "annotations": found}, "spec": spec}


def _placement(plan: Plan) -> Manifest:
    needs = plan.resources
    found: Manifest = {}
    if needs.gpus:
        found["tolerations"] = [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]
    affinity: Manifest = {}
    # A node's label must be above a number: there is no "at least".
    enough = [
        {"key": f"nvidia.com/gpu.{label}", "operator": "Gt", "values": [str(least - 1)]}
        for label, least in (("memory", needs.gpu_memory), ("compute.major", needs.gpu_compute))
        if least
    ]
    if enough:
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [{"matchExpressions": enough}]
        }
    if needs.gpu_products:
        same = {
            "key": "nvidia.com/gpu.product",
            "operator": "In",
            "values": list(needs.gpu_products),
        }
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": 100, "preference": {"matchExpressions": [same]}}
        ]
    if affinity:
        found["affinity"] = {"nodeAffinity": affinity}
    if plan.replicas > 1:
        found["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(plan)},
                "matchLabelKeys": ["pod-template-hash"],
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    return found
