"""A pod's containers: what runs, with which variables, needs, mounts and probes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlrepro_nb.rollout._plan import PORT, Plan, SecretRef

DATA = "/data"
"""Where the images look for data that they do not hold."""
DRAIN = 5
"""Seconds between leaving the Service and SIGTERM: proxies learn of it late."""

Manifest = dict[str, Any]
_HARDENED: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}


def container(plan: Plan, config: str | None) -> Manifest:
    """Return the container that does the work."""
    found: Manifest = {
        "name": "job" if plan.workload == "Job" else "service",
        "image": plan.image,
        "imagePullPolicy": "IfNotPresent",
    }
    if plan.workload == "Deployment":
        found["ports"] = [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]
    found |= _variables(plan.secrets, config)
    found["resources"] = _requests(plan)
    if plan.workload == "Deployment":
        found |= _probes(plan)
    found["securityContext"] = dict(_HARDENED)
    found["volumeMounts"] = [{"name": name, "mountPath": path} for name, path, _ in volumes(plan)]
    if plan.data:
        found["volumeMounts"].append({"name": "data", "mountPath": DATA, "readOnly": True})
    return found


def fetching(plan: Plan, config: str | None) -> Manifest:
    """Return the container that fetches the data and checks it, before the other starts."""
    assert plan.data is not None
    needs = _requests(plan)
    return {
        "name": "fetch",
        "image": plan.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "mlrepro_nb.image.fetch"],
        # It alone gets the credentials for the data; what is given to all may be among them.
        **_variables((*plan.secrets, *plan.data.secrets), config),
        "resources": {
            kind: {name: value for name, value in values.items() if "/" not in name}
            for kind, values in needs.items()
        },
        "securityContext": dict(_HARDENED),
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "data", "mountPath": DATA},
        ],
    }


def volumes(plan: Plan) -> list[tuple[str, str, str]]:
    """Return the volumes of every container: name, place, size."""
    found = [("tmp", "/tmp", plan.resources.scratch)]
    if plan.resources.results:
        found.append(("results", "/results", plan.resources.results))
    return found


def _variables(secrets: Sequence[SecretRef], config: str | None) -> Manifest:
    """Return where a container's variables come from."""
    found: Manifest = {}
    sources: list[Manifest] = [{"configMapRef": {"name": config}}] if config else []
    sources += [{"secretRef": {"name": s.name}} for s in secrets if s.key is None]
    if sources:
        found["envFrom"] = sources
    keys = [s for s in secrets if s.key is not None]
    if keys:
        found["env"] = [
            {
                "name": s.variable,
                "valueFrom": {"secretKeyRef": {"name": s.name, "key": s.key}},
            }
            for s in keys
        ]
    return found


def _requests(plan: Plan) -> Manifest:
    needs = plan.resources
    requests = {
        "cpu": needs.cpu,
        "memory": needs.memory,
        "ephemeral-storage": needs.ephemeral,
    }
    # Memory is not given back, so what is above the request is not to be had; CPU is, so it is.
    limits = {"memory": needs.memory, "ephemeral-storage": needs.ephemeral}
    if plan.cpu_limit:
        limits = {"cpu": plan.cpu_limit, **limits}
    if needs.gpus:
        limits[needs.gpu_resource] = str(needs.gpus)
    return {"requests": requests, "limits": limits}


def _probes(plan: Plan) -> Manifest:
    def get(path: str) -> Manifest:
        return {"httpGet": {"path": path, "port": "http"}}

    return {
        # Up to 5 minutes to load the model; only then do the others begin.
        "startupProbe": {
            **get("/health"),
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 150,
        },
        # Not ready is also who does not predict what was recorded, or is about to end.
        "readinessProbe": {
            **get("/ready" if plan.proves else "/health"),
            "periodSeconds": 5,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            **get("/ping"),
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN}}},
    }
