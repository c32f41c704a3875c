"""Artifacts that refer to an image (SBOM, provenance, signatures), put beside it and read back.

https://github.com/opencontainers/distribution-spec (1.1): a registry that lists
an image's referrers says so when one is pushed (``OCI-Subject``). For one that
does not, the list is an index under the tag ``sha256-<hex>``, which whoever
pushes a referrer keeps up.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import msgspec

from mlrepro_nb.connect.registry._conversation import (
    INDEXES,
    MANIFESTS,
    Conversation,
    WrongContentError,
)
from mlrepro_nb.connect.registry._reference import parse
from mlrepro_nb.connect.registry._transfer import Blob, Manifest, put_manifest, upload
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Report, Step, canonical, digest_bytes, silent

EMPTY = b"{}"
"""The configuration of what needs none."""
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
MANIFEST_TYPE = MANIFESTS[0]
_LARGEST = 64 << 20
_TRIES = 12
_SETTLE = 0.25
"""Seconds after which the list is looked at again; somebody else may have replaced it."""
_PAGES = 50


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One document that says something of an image."""

    artifact_type: str
    media_type: str
    content: bytes
    annotations: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """Of the document."""
        return digest_bytes(self.content)

    def manifest(self, subject: Manifest) -> Manifest:
        """Return its manifest, by which it refers to an image's."""
        content = canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": self.artifact_type,
                "config": _described(EMPTY_TYPE, EMPTY),
                "layers": [_described(self.media_type, self.content)],
                "subject": _described(subject.media_type, subject.content),
                "annotations": self.annotations,
            }
        )
        return Manifest(content=content, media_type=MANIFEST_TYPE)

    def entry(self, subject: Manifest) -> dict[str, Any]:
        """Return how an index lists it."""
        manifest = self.manifest(subject)
        return {
            **_described(manifest.media_type, manifest.content),
            "artifactType": self.artifact_type,
            "annotations": self.annotations,
        }


class Referrer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An artifact as a list of referrers names it."""

    digest: str
    """Of its manifest."""
    size: int = 0
    artifact_type: str = ""
    annotations: dict[str, str] = {}


def _described(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_bytes(content), "size": len(content)}


def fallback_tag(digest: str) -> str:
    """Return the tag under which a registry without the referrers API lists them."""
    return digest.replace(":", "-", 1)


def attach(
    repository: str, subject: Manifest, artifacts: Sequence[Artifact], *, report: Report = silent
) -> tuple[str, ...]:
    """Push artifacts that refer to an image, and return the digests of their manifests.

    What is there already is not pushed a second time.

    Raises
    ------
    ToolError
        The registry is unreachable, refuses, is full; or others change the list of
        referrers all the time.
    """
    conversation = Conversation(parse(repository), actions="pull,push")
    unlisted = []
    with tempfile.TemporaryDirectory(prefix="mlrepro-attach-") as folder:
        for number, artifact in enumerate(artifacts):
            what = f"attaching {artifact.artifact_type}"
            report(Step(message=what, done=float(number), total=float(len(artifacts))))
            for content in (EMPTY, artifact.content):
                path = Path(folder) / "blob"
                path.write_bytes(content)
                blob = Blob(digest=digest_bytes(content), path=path, size=len(content))
                upload(conversation, blob, lambda _: None)
            manifest = artifact.manifest(subject)
            answer = put_manifest(conversation, manifest.digest, manifest)
            if not answer.headers.get("OCI-Subject"):
                unlisted.append(artifact.entry(subject))
    if unlisted:
        _list(conversation, fallback_tag(subject.digest), unlisted)
    return tuple(artifact.manifest(subject).digest for artifact in artifacts)


def _list(conversation: Conversation, tag: str, entries: list[dict[str, Any]]) -> None:
    """Add entries to the index under a tag.

    A registry replaces what a tag names, whoever wrote it meanwhile. So it is
    looked at again after longer than reading and writing took, and what another
    writer left out, of ours or of what was seen there, is added once more.
    """
    wanted = {str(entry["digest"]): entry for entry in entries}
    for attempt in range(_TRIES):
        started = time.monotonic()
        index = _index(conversation, tag)
        there = {str(entry.get("digest")): entry for entry in index["manifests"]}
        if wanted.keys() <= there.keys():
            return
        if attempt == _TRIES - 1:
            break
        wanted = {**there, **wanted}
        content = json.dumps({**index, "manifests": list(wanted.values())}).encode()
        put_manifest(conversation, tag, Manifest(content=content, media_type=INDEXES[0]))
        took = time.monotonic() - started
        # Those who write at once wait for different times, and longer each time.
        time.sleep(max(_SETTLE, 3 * took) * (1 + random.random() * (attempt + 1)))
    raise ToolError(
        f"The list of what refers to the image, {conversation.reference.name}:{tag}, is replaced "
        "by others all the time.",
        "Push again when nobody else attaches to the same image.",
        tool="registry",
    )


def _index(conversation: Conversation, tag: str) -> dict[str, Any]:
    """Return the index under a tag, an empty one where there is none."""
    # A registry that is just writing the tag may answer that it is broken.
    answer = conversation.patient(
        "GET", conversation.at(f"manifests/{tag}"), headers={"Accept": INDEXES[0]}
    )
    if answer.status_code == 404:
        return {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": []}
    if answer.status_code != 200:
        raise conversation.refusal(answer)
    try:
        index = answer.json()
        if not all(isinstance(entry, dict) for entry in index["manifests"]):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise WrongContentError(
            f"{conversation.reference.name}:{tag} is not a list of referrers, though its name is "
            "that of one.",
            "Delete that tag.",
            tool="registry",
        ) from None
    return {"mediaType": INDEXES[0], **index}


def referrers(reference: str, digest: str) -> tuple[Referrer, ...]:
    """Return what refers to an image of a repository, by the image's digest.

    Raises
    ------
    ToolError
        The registry is unreachable or refuses.
    """
    conversation = Conversation(parse(reference))
    found = _asked(conversation, digest)
    if found is None:
        found = _index(conversation, fallback_tag(digest))["manifests"]
    listed: dict[str, Referrer] = {}
    for entry in found:
        with contextlib.suppress(msgspec.ValidationError):
            referrer = msgspec.convert({k: v for k, v in entry.items() if v is not None}, Referrer)
            listed.setdefault(referrer.digest, referrer)
    return tuple(listed.values())


def _asked(conversation: Conversation, digest: str) -> list[Any] | None:
    """Return what the registry lists, None where it does not know how."""
    url = conversation.at(f"referrers/{digest}")
    found: list[Any] = []
    for _ in range(_PAGES):
        answer = conversation.request("GET", url, accept=INDEXES[0])
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        # A registry, or a proxy before it, that does not know the address may answer anything.
        if answer.status_code in (400, 404, 405) or (
            answer.status_code == 200 and kind != INDEXES[0]
        ):
            return None
        if answer.status_code != 200:
            raise conversation.refusal(answer)
        content = answer.json()
        found += content.get("manifests") or []
        more = re.match(r'<([^>]+)>;\s*rel="?next"?', answer.headers.get("Link", ""))
        if more is None:
            break
        url = urljoin(url, more[1])
    return found


def fetch(reference: str, referrer: Referrer, subject: str) -> Artifact:
    """Return an artifact that a list of referrers names, whole and checked by its digests.

    Raises
    ------
    WrongContentError
        It is not there, or none of the image's: it refers to another one, is no
        artifact of one document, or was changed.
    ToolError
        The registry is unreachable or refuses.
    """
    conversation = Conversation(parse(reference))
    found = conversation.manifest(referrer.digest)
    if found is None:
        raise WrongContentError(
            f"{referrer.digest} is listed for the image {subject} but is not there.",
            "Who deleted it?",
            tool="registry",
        )

    def read(blob: str) -> bytes:
        return conversation.blob_bytes(blob)

    return artifact(found[1], subject, referrer.digest, read)


def artifact(manifest: dict[str, Any], subject: str, name: str, read: Any) -> Artifact:
    """Read an artifact by its manifest.

    Parameters
    ----------
    manifest
        What the manifest says.
    subject
        Digest of the image that it must refer to.
    name
        What to call it in an error.
    read
        Returns a blob by its digest.

    Raises
    ------
    WrongContentError
        It refers to another image, or is no artifact of one document.
    """
    layers = manifest.get("layers") or []
    refers = (manifest.get("subject") or {}).get("digest")
    if refers != subject:
        raise WrongContentError(
            f"{name} is listed for the image {subject} but refers to {refers}.",
            "Do not trust it: who pushed it?",
            tool="registry",
        )
    if len(layers) != 1 or not 0 <= int(layers[0].get("size", -1)) <= _LARGEST:
        raise WrongContentError(f"{name} is not one document.", "Who pushed it?", tool="registry")
    config = manifest.get("config") or {}
    return Artifact(
        artifact_type=str(manifest.get("artifactType") or config.get("mediaType") or ""),
        media_type=str(layers[0].get("mediaType", "")),
        content=read(str(layers[0]["digest"])),
        annotations=manifest.get("annotations") or {},
    )
