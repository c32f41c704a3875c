"""What an image was built from, by what: an in-toto Statement with SLSA provenance. Pure.

https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlrepro_nb.capture import secrets
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.supply.origin import base_purl, plain_url, record_of
from mlrepro_nb.model import Record, attestation, canonical, digest_text

BUILD_TYPE = "https://mlrepro.io/build/v1"
BUILDER = "https://mlrepro.io/builder/"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a build once it is done."""

    builder: str
    """``docker`` or ``oci``."""
    toolchain: str
    """What, besides the plan, the digest depends on."""
    versions: dict[str, str] = {}
    """Of the programs that took part."""
    started: str
    finished: str
    byproducts: dict[str, tuple[str, str]] = {}
    """Documents about the image: media type and digest, by name."""


def provenance(plan: Plan, built: Made) -> dict[str, Any]:
    """Return the predicate: how the image of a plan was made."""
    record = record_of(plan)
    external = {
        "notebook": plan.notebook,
        "source": plain_url(plan.source) if plan.source else None,
        "commit": plan.commit,
        "kind": plan.kind,
        "version": plan.version,
        "base": plan.base_reference,
        "bytecode": plan.bytecode,
    }
    internal = {
        "record": plan.record,
        "lock": digest_text(plan.lock) if plan.lock is not None else None,
        "uncompiled": list(plan.uncompiled) if plan.bytecode else [],
        "python": plan.python,
        "machine": plan.machine,
        "run": plan.run,
        "cell": plan.cell,
        "model": plan.model,
        "data": plan.data,
    }
    made = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {**_known(external), "dirty": plan.dirty},
            "internalParameters": _known(internal),
            "resolvedDependencies": _dependencies(plan, record),
        },
        "runDetails": {
            "builder": {
                "id": f"{BUILDER}{built.builder}",
                "version": {**built.versions, "toolchain": built.toolchain},
            },
            "metadata": {
                "invocationId": plan.build_id,
                "startedOn": built.started,
                "finishedOn": built.finished,
            },
            "byproducts": [
                {"name": name, "mediaType": kind, "digest": _set(digest)}
                for name, (kind, digest) in sorted(built.byproducts.items())
            ],
        },
    }
    scrubbed: dict[str, Any] = secrets.scrub(made)
    return scrubbed


def statement(plan: Plan, kind: str, predicate: Mapping[str, Any], subject: str) -> bytes:
    """Return an in-toto Statement about an image, by the digest of its manifest."""
    return canonical(attestation.statement(kind, predicate, subject, name=plan.repository))


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, {}, [], "")}


def _set(digest: str) -> dict[str, str]:
    """Return a digest as in-toto writes it."""
    algorithm, _, content = digest.partition(":")
    return {algorithm: content}


def _dependencies(plan: Plan, record: Record) -> list[dict[str, Any]]:
    """Return what went into the image, each by a digest where it has one."""
    found: list[dict[str, Any]] = []

    def add(name: str, digest: str | None, **told: Any) -> None:
        found.append(_known({"name": name, "digest": _set(digest) if digest else None, **told}))

    if plan.commit:
        where = f"git+{plain_url(plan.source)}@{plan.commit}" if plan.source else None
        add("source", f"gitCommit:{plan.commit}", uri=where)
    if record.results.notebook:
        add("notebook", record.results.notebook, annotations={"path": plan.notebook})
    add("record", plan.record)
    if plan.lock is not None:
        add("lock", digest_text(plan.lock))
    base = base_purl(plan)
    if plan.base_digest:
        add("base", plan.base_digest, uri=str(base) if base else None)
    for path, digest in sorted(plan.data.items()):
        add(f"data:{plain_url(path)}", digest)
    if plan.run:
        add("mlflow-run", None, uri=f"runs:/{plan.run}")
    for model in record.results.models:
        if model.digest and model.digest == plan.model:
            add(f"model:{model.name}", model.digest, uri=plain_url(model.uri))
            break
    return found
