"""The verb: find the image, render, try, apply, wait, remember."""

from __future__ import annotations

from typing import Any

import msgspec

from mlrepro_nb.connect import kubernetes
from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Report, Rollout, Step, digest, digest_bytes, silent, timestamp
from mlrepro_nb.rollout._image import find_record, subject
from mlrepro_nb.rollout._manifests import manifests
from mlrepro_nb.rollout._plan import NOT_PUSHED, Options, Plan, plan
from mlrepro_nb.rollout._yaml import to_yaml
from mlrepro_nb.store import Store


def rollout(
    image: str,
    *,
    name: str | None = None,
    namespace: str | None = None,
    replicas: int = 1,
    apply: bool = False,
    dry_run: bool = False,
    force_conflicts: bool = False,
    context: str | None = None,
    timeout: float = 600,
    store: Store | None = None,
    report: Report = silent,
    **options: Any,
) -> tuple[str, Rollout, str]:
    """Render an image's manifests, and roll them out if told.

    Parameters
    ----------
    image : str
        A reference, a digest of an image or record, or a notebook.
    name, namespace, replicas
        Of the workload; name and namespace are inferred where they are not said.
    apply : bool
        Apply the manifests and wait for the rollout.
    dry_run : bool
        Let the cluster check them, and keep nothing: neither there nor in the store.
    force_conflicts : bool
        Take over fields that other managers set.
    context : str, optional
        Of the kubeconfig.
    timeout : float
        Seconds to wait at most.
    store : Store, optional
        By default the one that serves the working folder.
    report : Report
        Told of progress, and of what a failing container printed.
    **options
        More of `Options`.

    Returns
    -------
    str, Rollout, str
        Digest of the document, the document, and the YAML. That it failed is
        the document's `status` and `reason`, not an exception.

    Raises
    ------
    UsageError
        The image or an option is not possible.
    ToolError
        A registry or the cluster is out of reach or refuses. Nothing was written.
    """
    if apply and dry_run:
        raise UsageError("A rollout is either tried or done.", "Drop --dry-run or --apply.")
    if timeout <= 0:
        raise UsageError(f"A timeout of {timeout:g} s is no time.", "Give some seconds.")
    store = store or Store.find()
    found = kubernetes.current_context(context)
    chosen = Options(
        name=name,
        namespace=namespace,
        replicas=replicas,
        context_namespace=found.namespace if found else None,
        **options,
    )
    meant = subject(image, store, report)
    planned = plan(meant, find_record(meant, store), chosen)
    if NOT_PUSHED in planned.image:
        raise UsageError("The image was not pushed yet.", "Push it with `mlrepro build --push`.")
    rendered = manifests(planned)
    text = to_yaml(rendered)
    document = Rollout(
        image=planned.image,
        record=planned.record,
        name=rendered[-1]["metadata"]["name"],
        namespace=planned.namespace,
        workload=planned.workload,
        manifests=digest_bytes(text.encode()),
        created=timestamp(),
    )
    if not apply and not dry_run:
        store.blobs.put(text.encode())
        return store.put(document), document, text
    cluster = kubernetes.Cluster(context)
    document = msgspec.structs.replace(
        document, context=cluster.context, previous=_previous(cluster, planned, document, store)
    )
    done = kubernetes.apply(
        cluster, rendered, dry_run=dry_run, force=force_conflicts, report=report
    )
    for item in done:
        would = "would be " if dry_run else ""
        report(Step(message=f"{item.kind} {item.name} {would}{item.outcome}", log=True))
    if dry_run:
        return digest(document), document, text
    document = msgspec.structs.replace(document, status="applied")
    try:
        outcome = kubernetes.wait(
            cluster,
            planned.workload,
            planned.namespace,
            document.name,
            timeout=timeout,
            report=report,
        )
        for line in outcome.logs.splitlines():
            report(Step(message=line, log=True))
        document = msgspec.structs.replace(
            document,
            status="complete" if outcome.complete else "failed",
            revision=outcome.revision,
            reason=None if outcome.complete else _reason(outcome, planned),
        )
    finally:
        # Whatever ends the waiting, the cluster has it: so must the store.
        store.blobs.put(text.encode())
        kept = store.put(document)
    return kept, document, text


def remedy(document: Rollout) -> str:
    """Return what to do about a rollout that failed."""
    if document.workload == "Job":
        return (
            f"See `kubectl logs job/{document.name} -n {document.namespace}`; "
            "`mlrepro verify` says why a notebook does not reproduce."
        )
    target = f"deployment/{document.name} -n {document.namespace}"
    if document.previous and document.previous != document.image:
        return (
            f"Go back with `mlrepro rollout {document.previous} --apply` and the options of then, "
            f"or with `kubectl rollout undo {target}`."
        )
    return f"See `kubectl describe {target}`."


def _previous(
    cluster: kubernetes.Cluster, planned: Plan, document: Rollout, store: Store
) -> str | None:
    """Return the image that last worked under this name, having made sure that it is ours."""
    found = cluster.get(
        kubernetes.resource_path(planned.workload, planned.namespace, document.name)
    )
    if found is None:
        return None
    annotations = found["metadata"].get("annotations") or {}
    other = annotations.get("mlrepro.io/notebook")
    if other and planned.notebook and other != planned.notebook:
        raise UsageError(
            f"{planned.workload} {document.name} in namespace {planned.namespace} runs another "
            f"notebook, {other}.",
            "Give this one a name of its own with --name.",
        )
    key = f"workload:{planned.namespace}/{planned.workload.lower()}/{document.name}"
    for kept in store.find_by_key(key, Rollout):
        past = store.get(Rollout, kept)
        if past.status == "complete" and past.context == cluster.context:
            return past.image
    image = found["spec"]["template"]["spec"]["containers"][0].get("image")
    return image if isinstance(image, str) else None


def _reason(outcome: kubernetes.Outcome, planned: Plan) -> str:
    if planned.workload == "Job" and outcome.exit_code == 1:
        return "The notebook did not reproduce: the job ended with exit code 1."
    return f"{planned.workload} {planned.name} did not roll out: {outcome.reason.rstrip('.')}."
