"""Why pods do not run, from their status: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_HOPELESS = {
    "InvalidImageName": "the image's name is invalid",
    "ErrImageNeverPull": "the image is not on the node",
    "ErrImagePull": "the image cannot be pulled",
    "ImagePullBackOff": "the image cannot be pulled",
    "CreateContainerConfigError": "a ConfigMap or Secret that it needs is missing or unfit",
    "CreateContainerError": "the container cannot be created",
    "RunContainerError": "the container cannot be started",
}
"""Waiting reasons that time alone seldom mends."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps a pod from being ready."""

    pod: str
    reason: str
    """Kubernetes' own word: ``ImagePullBackOff``, ``Unschedulable``, ``OOMKilled``…"""
    message: str
    lasting: bool
    """Whether waiting longer is unlikely to help."""
    now: bool = False
    """Whether it is certain: there is no need to see it last."""
    container: str | None = None
    """Whose log tells more."""
    previous: bool = False
    """Whether it is the log of the container before the restart."""

    def __str__(self) -> str:
        return f"pod {self.pod}: {self.reason}: {self.message}"


def troubles(pods: Iterable[Mapping[str, Any]]) -> tuple[Trouble, ...]:
    """Return what keeps pods from being ready, the gravest first."""
    found = [trouble for pod in pods if (trouble := _trouble(pod)) is not None]
    return tuple(sorted(found, key=lambda t: (not t.now, not t.lasting, t.pod)))


def _trouble(pod: Mapping[str, Any]) -> Trouble | None:
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return None
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Trouble(
                pod=name,
                reason=condition.get("reason") or "Unschedulable",
                message=_short(condition.get("message") or "no node takes it"),
                lasting=False,
            )
    if status.get("phase") == "Failed" and status.get("reason"):
        return Trouble(
            pod=name,
            reason=status["reason"],
            message=_short(status.get("message") or "the pod failed"),
            lasting=True,
        )
    groups = ("initContainerStatuses", "containerStatuses")
    for container in (c for group in groups for c in status.get(group) or ()):
        if trouble := _container_trouble(name, container):
            return trouble
    return None


def _container_trouble(pod: str, container: Mapping[str, Any]) -> Trouble | None:
    state = container.get("state") or {}
    last = (container.get("lastState") or {}).get("terminated")
    waiting = state.get("waiting") or {}
    ended = state.get("terminated")
    reason = waiting.get("reason") or ""
    if reason in _HOPELESS:
        text = _short(waiting.get("message") or "")
        return Trouble(
            pod=pod,
            reason=reason,
            message=f"{_HOPELESS[reason]}{f': {text}' if text else ''}",
            lasting=True,
            now=reason == "InvalidImageName",
        )
    crashed = ended if ended and ended.get("exitCode") else None
    if crashed is None and (reason == "CrashLoopBackOff" or not container.get("ready")):
        crashed = last
    if crashed is None:
        return None
    looping = reason == "CrashLoopBackOff"
    out_of_memory = crashed.get("reason") == "OOMKilled"
    message = f"exit code {crashed.get('exitCode')}, {container.get('restartCount', 0)} restarts"
    if out_of_memory:
        message = f"it needs more memory than its limit ({message})"
    elif crashed.get("message"):
        message += f": {_short(crashed['message'])}"
    return Trouble(
        pod=pod,
        reason="OOMKilled" if out_of_memory else reason or crashed.get("reason") or "Error",
        message=message,
        lasting=looping or out_of_memory,
        now=(looping or out_of_memory) and container.get("restartCount", 0) >= 2,
        container=container.get("name"),
        previous=crashed is last,
    )


def _short(text: str) -> str:
    """Put a message on one line; the kubelet tells the cause last, and every digest thrice."""
    line = " ".join(text.split())
    line = re.sub(r"^Back-off (?:pulling|restarting) .*?: (?=ErrImagePull: )", "", line)
    line = re.sub(r"^.*?rpc error: code = \w+ desc = ", "", line)
    line = re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1…", line)
    return line if len(line) <= 400 else "…" + line[-399:]
