"""Wait until a workload has rolled out, or it is known why it does not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from mlrepro_nb.connect.kubernetes._cluster import (
    Cluster,
    RefusedError,
    UnreachableError,
    resource_path,
)
from mlrepro_nb.connect.kubernetes._pods import Trouble, troubles
from mlrepro_nb.model import Report, Step, silent

PATIENCE = 20.0
"""Seconds for which a lasting trouble must be seen before it counts as a failure."""

_REVISION = "deployment.kubernetes.io/revision"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a rollout ended: a finding, not an error."""

    complete: bool
    revision: int | None = None
    reason: str = ""
    """Why it is not complete, in a sentence without its full stop."""
    exit_code: int | None = None
    """Of a Job's container."""
    logs: str = ""
    """The last lines that the container to blame printed."""


def wait(
    cluster: Cluster,
    kind: Literal["Deployment", "Job"],
    namespace: str,
    name: str,
    *,
    timeout: float = 600,
    patience: float | None = None,
    report: Report = silent,
) -> Outcome:
    """Wait for a Deployment's rollout or a Job's end.

    Parameters
    ----------
    cluster : Cluster
        Where it runs.
    kind, namespace, name
        What to wait for.
    timeout : float
        Seconds to wait at most.
    patience : float
        Seconds for which a trouble that does not mend itself (the image cannot
        be pulled, the container crashes) is watched before giving up on it;
        by default `PATIENCE`.
    report : Report
        Told how far it is, and what is in the way.

    Raises
    ------
    ToolError
        The cluster stayed out of reach until the timeout, or forbids to look.
    """
    patience = PATIENCE if patience is None else patience
    watch = _DeploymentWatch if kind == "Deployment" else _JobWatch
    watched = watch(cluster, namespace, name)
    deadline = time.monotonic() + timeout
    since: dict[str, float] = {}
    while True:
        trouble: Trouble | None = None
        try:
            outcome = watched.look(report)
            if outcome is not None:
                return outcome
            trouble = watched.trouble
        except (UnreachableError, RefusedError) as error:
            # A lost connection or a busy server is no verdict on the rollout.
            passing = isinstance(error, UnreachableError) or error.status >= 429
            if not passing or time.monotonic() >= deadline:
                raise
            report(Step(message=str(error.message), log=True))
        now = time.monotonic()
        if trouble is None:
            since.clear()
        else:
            # ErrImagePull and ImagePullBackOff alternate: the message's start is one trouble.
            key = trouble.message.partition(":")[0]
            if key not in since:
                report(Step(message=str(trouble), log=True))
            since = {key: since.get(key, now)}
            if trouble.lasting and (trouble.now or now - since[key] >= patience):
                return watched.failed(str(trouble), trouble)
        if now >= deadline:
            told = str(trouble) if trouble else watched.last_warning()
            reason = f"it was not complete after {timeout:g} s ({watched.state})"
            return watched.failed(f"{reason}{f'; {told}' if told else ''}", trouble)
        time.sleep(min(1.0, max(0.05, deadline - now)))


class _Watch:
    """What both kinds of workload have in common: pods, their troubles and logs."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name
        self.pods: list[dict[str, Any]] = []
        self.trouble: Trouble | None = None
        self.state = "nothing is known of it yet"
        self.revision: int | None = None

    def look_at_pods(self, selector: Mapping[str, str]) -> None:
        self.pods = self.cluster.items(
            resource_path("Pod", self.namespace),
            labelSelector=",".join(f"{key}={value}" for key, value in selector.items()),
        )
        found = troubles(self.pods)
        self.trouble = found[0] if found else None

    def failed(self, reason: str, trouble: Trouble | None = None) -> Outcome:
        return Outcome(
            complete=False, revision=self.revision, reason=reason, logs=self.said(trouble)
        )

    def said(self, trouble: Trouble | None) -> str:
        """Return what the container in trouble printed, an init container's too."""
        if trouble is None or trouble.container is None:
            return ""
        return self.cluster.logs(
            self.namespace, trouble.pod, trouble.container, previous=trouble.previous
        )

    def last_warning(self) -> str:
        """Return the newest warning about our pods: a probe that fails, a volume that is late."""
        names = {pod["metadata"]["name"] for pod in self.pods}
        events = [
            event
            for event in self.cluster.items(
                f"/api/v1/namespaces/{self.namespace}/events", fieldSelector="type=Warning"
            )
            if (event.get("involvedObject") or {}).get("name") in names
        ]
        if not events:
            return ""
        newest = max(events, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
        message = " ".join(str(newest.get("message", "")).split())
        return f"pod {newest['involvedObject']['name']}: {newest.get('reason')}: {message}"


class _DeploymentWatch(_Watch):
    def look(self, report: Report) -> Outcome | None:
        found = self.cluster.get(resource_path("Deployment", self.namespace, self.name))
        if found is None:
            return self.failed("the Deployment was deleted meanwhile")
        spec, status = found["spec"], found.get("status") or {}
        revision = (found["metadata"].get("annotations") or {}).get(_REVISION, "")
        self.revision = int(revision) if revision.isdigit() else None
        self.trouble = None
        if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
            self.state = "the Deployment controller has not seen it yet"
            return None
        wanted = spec.get("replicas", 1)
        updated = status.get("updatedReplicas", 0)
        available = status.get("availableReplicas", 0)
        old = max(0, status.get("replicas", 0) - updated)
        self.state = f"{updated} of {wanted} updated, {available} available, {old} old"
        report(
            Step(
                message=f"Deployment {self.name}: {self.state}",
                done=min(updated, available),
                total=wanted,
            )
        )
        if updated >= wanted and available >= wanted and not old:
            return Outcome(complete=True, revision=self.revision)
        conditions = {c["type"]: c for c in status.get("conditions") or ()}
        self._look_at_new_pods(spec)
        if self.trouble is None and conditions.get("ReplicaFailure", {}).get("status") == "True":
            refused = conditions["ReplicaFailure"]
            self.trouble = Trouble(
                pod=f"{self.name}-…",
                reason=refused.get("reason") or "FailedCreate",
                message=f"the cluster refuses its pods: {refused.get('message')}",
                lasting=True,
            )
        progressing = conditions.get("Progressing", {})
        if progressing.get("reason") == "ProgressDeadlineExceeded":
            told = str(self.trouble) if self.trouble else self.last_warning()
            reason = f"it made no progress for {spec.get('progressDeadlineSeconds')} s"
            return self.failed(
                f"{reason} ({self.state}){f'; {told}' if told else ''}", self.trouble
            )
        return None

    def _look_at_new_pods(self, spec: Mapping[str, Any]) -> None:
        """Look at the pods of the newest ReplicaSet only: the old ones are not to blame."""
        selector = spec["selector"]["matchLabels"]
        sets = self.cluster.items(
            resource_path("ReplicaSet", self.namespace),
            labelSelector=",".join(f"{key}={value}" for key, value in selector.items()),
        )
        for candidate in sets:
            meta = candidate["metadata"]
            made_by_us = any(
                owner.get("kind") == "Deployment" and owner.get("name") == self.name
                for owner in meta.get("ownerReferences") or ()
            )
            number = (meta.get("annotations") or {}).get(_REVISION)
            if made_by_us and self.revision is not None and number == str(self.revision):
                template = meta.get("labels", {}).get("pod-template-hash", "")
                self.look_at_pods({**selector, "pod-template-hash": template})
                return


class _JobWatch(_Watch):
    def look(self, report: Report) -> Outcome | None:
        found = self.cluster.get(resource_path("Job", self.namespace, self.name))
        if found is None:
            return self.failed("the Job was deleted meanwhile")
        status = found.get("status") or {}
        self.look_at_pods({"batch.kubernetes.io/job-name": self.name})
        phases = [pod.get("status", {}).get("phase", "Unknown") for pod in self.pods]
        self.state = f"pod {phases[-1].lower()}" if phases else "no pod yet"
        report(Step(message=f"Job {self.name}: {self.state}"))
        for condition in status.get("conditions") or ():
            if condition.get("status") != "True":
                continue
            if condition["type"] == "Complete":
                return Outcome(complete=True, exit_code=0, logs=self._log(self.pods))
            if condition["type"] == "Failed":
                return self._job_failed(condition)
        return None

    def _job_failed(self, condition: Mapping[str, Any]) -> Outcome:
        code = _exit_code(self.pods)
        message = condition.get("message") or condition.get("reason") or "it failed"
        if self.trouble is not None:
            message = str(self.trouble)
        elif code is not None:
            message = f"its container ended with exit code {code}"
        logs = self.said(self.trouble) or self._log(self.pods)
        return Outcome(complete=False, reason=str(message), exit_code=code, logs=logs)

    def _log(self, pods: Iterable[Mapping[str, Any]]) -> str:
        for pod in pods:
            for container in pod.get("status", {}).get("containerStatuses") or ():
                return self.cluster.logs(
                    self.namespace, pod["metadata"]["name"], container["name"], lines=40
                )
        return ""


def _exit_code(pods: Iterable[Mapping[str, Any]]) -> int | None:
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses") or ():
            ended = (container.get("state") or {}).get("terminated")
            if ended and isinstance(ended.get("exitCode"), int):
                return int(ended["exitCode"])
    return None
