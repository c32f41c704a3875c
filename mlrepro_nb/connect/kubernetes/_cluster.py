"""A connection to one cluster's API server, and its errors in words."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from mlrepro_nb.connect.kubernetes._config import current_context, kubeconfigs
from mlrepro_nb.errors import MlreproError, ToolError, UsageError

MANAGER = "mlrepro"
"""Our name as a field manager of server-side apply."""

TIMEOUT = (5, 30)
"""Seconds to connect and to read."""

PLURALS = {
    "ConfigMap": "configmaps",
    "CronJob": "cronjobs",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "Job": "jobs",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "ReplicaSet": "replicasets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets",
}

API_VERSIONS = {
    "CronJob": "batch/v1",
    "DaemonSet": "apps/v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
}
"""Of kinds that are read by name; what is not here is ``v1``."""


class RefusedError(ToolError):
    """The API server answered with an error.

    Parameters
    ----------
    status : int
        The HTTP status.
    """

    def __init__(self, message: str, remedy: str = "", *, status: int) -> None:
        super().__init__(message, remedy, tool="kubernetes")
        self.status = status


class UnreachableError(ToolError):
    """No API server answered."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy, tool="kubernetes")


def resource_path(kind: str, namespace: str | None = None, name: str | None = None) -> str:
    """Return the path of an object, or of a collection, on the API server."""
    return _path(API_VERSIONS.get(kind, "v1"), kind, namespace, name)


def _path(api_version: str, kind: str, namespace: str | None, name: str | None) -> str:
    parts = ["apis" if "/" in api_version else "api", api_version]
    if namespace is not None and kind != "Namespace":
        parts += ["namespaces", namespace]
    parts.append(PLURALS[kind])
    if name is not None:
        parts.append(name)
    return "/" + "/".join(parts)


def manifest_path(manifest: Mapping[str, Any]) -> str:
    """Return the path of the object that a manifest describes."""
    meta = manifest["metadata"]
    return _path(manifest["apiVersion"], manifest["kind"], meta.get("namespace"), meta["name"])


class Cluster:
    """One cluster, as a context of the kubeconfig, or the pod we run in, reaches it.

    Raises
    ------
    ToolError
        The client library is not installed.
    UsageError
        There is no such context.
    """

    def __init__(self, context: str | None = None) -> None:
        try:
            from kubernetes.client import ApiClient, Configuration
            from kubernetes.config import (
                ConfigException,
                load_incluster_config,
                new_client_from_config,
            )
            from kubernetes.dynamic import DynamicClient
        except ImportError as error:
            raise ToolError(
                "The Kubernetes client for Python is not installed.",
                "pip install 'mlrepro-nb[kubernetes]'",
                tool="kubernetes",
            ) from error
        found = current_context(context)
        if found is None:
            raise UsageError(
                f"The kubeconfig has no context {context!r}."
                if context
                else "There is no kubeconfig with a current context.",
                "`kubectl config get-contexts` lists them; KUBECONFIG names another file.",
            )
        self.context = found.name
        configuration = Configuration()
        # One try a request: who waits for a rollout asks again anyhow.
        configuration.retries = False
        try:
            if found.name is None:
                load_incluster_config(client_configuration=configuration)
                client = ApiClient(configuration)
            else:
                client = new_client_from_config(
                    # Said each time: the library looks at KUBECONFIG only when it is imported.
                    config_file=os.pathsep.join(str(path) for path in kubeconfigs()),
                    context=found.name,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            raise ToolError(
                f"The kubeconfig's {self._called} cannot be used: {_line(error)}.",
                "Try it with `kubectl version`, and log in again where it has expired.",
                tool="kubernetes",
            ) from error
        self.host = str(client.configuration.host)
        # Discovery would cost requests and write a cache file: our few paths are known.
        self._client = DynamicClient(client, discoverer=lambda *_: None)

    @property
    def _called(self) -> str:
        return f"context {self.context!r}" if self.context else "service account"

    def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """Read an object or a list; None where there is none."""
        try:
            found = self._request("get", path, query=query)
        except RefusedError as refusal:
            if refusal.status == 404:
                return None
            raise
        assert isinstance(found, dict)
        return found

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Read a collection."""
        listed = (self.get(path, **query) or {}).get("items") or []
        return [item for item in listed if isinstance(item, dict)]

    def apply(
        self, manifest: Mapping[str, Any], *, dry_run: bool = False, force: bool = False
    ) -> dict[str, Any]:
        """Apply a manifest on the server side and return the object that it became."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        if force:
            query["force"] = "true"
        meta = manifest["metadata"]
        found = self._request(
            "patch",
            manifest_path(manifest),
            query=query,
            # JSON is YAML; as text, since client versions differ in how they treat a dict.
            body=json.dumps(manifest),
            content_type="application/apply-patch+yaml",
            doing=f"{manifest['kind']} {meta['name']}",
            namespace=meta.get("namespace"),
        )
        assert isinstance(found, dict)
        return found

    def delete(self, path: str) -> None:
        """Delete an object; one that is gone already is no error."""
        try:
            self._request("delete", path, query={"propagationPolicy": "Background"})
        except RefusedError as refusal:
            if refusal.status != 404:
                raise

    def logs(
        self, namespace: str, pod: str, container: str, *, lines: int = 20, previous: bool = False
    ) -> str:
        """Return the last lines that a container printed, or nothing where they are gone."""
        query = {"container": container, "tailLines": str(lines)}
        if previous:
            query["previous"] = "true"
        try:
            found = self._request(
                "get", resource_path("Pod", namespace, pod) + "/log", query=query, text=True
            )
        except ToolError:
            return ""
        return str(found)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        body: str | None = None,
        content_type: str | None = None,
        text: bool = False,
        doing: str = "",
        namespace: str | None = None,
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            response = self._client.request(
                method,
                path,
                body=body,
                content_type=content_type,
                query_params=list(query.items()),
                header_params={"Accept": "*/*" if text else "application/json"},
                serialize=False,
                _request_timeout=TIMEOUT,
            )
            data = response.data
            data = data if isinstance(data, bytes) else str(data).encode()
            return data.decode("utf-8", "replace") if text else json.loads(data)
        except ApiException as error:
            if not error.status:
                raise self._unreachable(error.reason) from error
            raise self._refusal(error.status, error.body, doing, namespace) from error
        except (HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        except ValueError as error:
            raise self._unreachable("it does not speak the Kubernetes API") from error

    def _unreachable(self, why: object) -> MlreproError:
        line = _line(why)
        # urllib3 puts its own objects in front of the cause.
        line = re.sub(
            r"^\w*Connection\w*\(.*?\): (?:Failed to establish a new connection: )?", "", line
        )
        return UnreachableError(
            f"The cluster of {self._called} at {self.host} cannot be reached: {line}.",
            "Check the network and the context (`kubectl cluster-info`), or name another "
            "with --context.",
        )

    def _refusal(
        self, status: int, body: str | bytes | None, doing: str, namespace: str | None
    ) -> RefusedError:
        answer = _status(body)
        message = str(answer.get("message") or f"HTTP status {status}").strip().rstrip(".")
        where = f" in namespace {namespace}" if namespace else ""
        about = f"{doing}{where}" if doing else "the request"
        if status == 401:
            return RefusedError(
                f"The cluster did not accept the credentials of {self._called}.",
                "Log in again: the token or certificate has expired or was revoked.",
                status=status,
            )
        if status == 403:
            return RefusedError(
                f"The cluster refused {about}: {message}.",
                "Ask its administrator for that right, or choose another --namespace or --context.",
                status=status,
            )
        if status == 404 and namespace and f'namespaces "{namespace}" not found' in message:
            return RefusedError(
                f"The cluster has no namespace {namespace!r}.",
                "Pass --create-namespace, or name one that exists with --namespace.",
                status=status,
            )
        if status == 409 and (conflicts := _conflicts(answer)):
            return RefusedError(
                f"Another manager set fields of {about}: {conflicts}.",
                "Let that manager keep them (and drop them here), or take them over with "
                "--force-conflicts.",
                status=status,
            )
        if status == 400 and "unknown field" in message:
            return RefusedError(
                f"The cluster does not know all fields of {about}: {message}.",
                "It needs Kubernetes 1.30 or newer.",
                status=status,
            )
        if status in (400, 422):
            return RefusedError(
                f"The cluster finds {about} invalid: {message}.",
                "Nothing was written. Change the option that is named there.",
                status=status,
            )
        return RefusedError(
            f"The cluster answered {status} to {about}: {message}.",
            "Try again; if it stays, ask its administrator.",
            status=status,
        )


def _status(body: str | bytes | None) -> dict[str, Any]:
    """Read the Status object of an error's body; other text becomes its message."""
    try:
        answer = json.loads(body or "")
    except ValueError:
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
        return {"message": _line(text)}
    return answer if isinstance(answer, dict) else {}


def _conflicts(answer: Mapping[str, Any]) -> str:
    details = answer.get("details") or {}
    fields: dict[str, list[str]] = {}
    for cause in details.get("causes") or ():
        if cause.get("reason") == "FieldManagerConflict":
            named = re.search(r'conflict with "((?:[^"\\]|\\.)*)"', str(cause.get("message")))
            manager = named.group(1) if named else "another"
            fields.setdefault(manager, []).append(str(cause.get("field", "")).lstrip("."))
    return "; ".join(f"{manager!r} owns {', '.join(names)}" for manager, names in fields.items())


def _line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")[:400]
