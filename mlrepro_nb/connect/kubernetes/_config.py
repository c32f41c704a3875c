"""What a kubeconfig says, read without the client library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A kubeconfig's context."""

    name: str | None
    """None inside a pod, where the service account stands for one."""
    namespace: str | None = None


def current_context(name: str | None = None) -> Context | None:
    """Return the named context, by default the current one; None where there is none.

    Files that cannot be read count as absent, as they do for kubectl: rendering
    manifests must not depend on them.
    """
    current: str | None = None
    contexts: dict[str, str | None] = {}
    for path in kubeconfigs():
        config = _read(path)
        current = current or _text(config.get("current-context"))
        listed = config.get("contexts")
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                inner = entry.get("context")
                namespace = inner.get("namespace") if isinstance(inner, dict) else None
                # The first file that names a context wins (kubectl's rule).
                contexts.setdefault(entry["name"], _text(namespace))
    wanted = name or current
    if wanted in contexts:
        return Context(name=wanted, namespace=contexts[wanted])
    if name is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        try:
            return Context(name=None, namespace=_POD_NAMESPACE.read_text(encoding="utf-8").strip())
        except OSError:
            return None
    return None


def kubeconfigs() -> list[Path]:
    """Return the kubeconfigs that are read, the first of them first."""
    named = os.environ.get("KUBECONFIG")
    if named:
        files = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    else:
        files = [Path("~/.kube/config").expanduser()]
    return [path for path in files if path.is_file()]


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
