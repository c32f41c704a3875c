"""What a registry knows of an image: digest, configuration, labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from mlrepro_nb.connect.registry._conversation import Conversation, absent
from mlrepro_nb.connect.registry._reference import parse
from mlrepro_nb.errors import ToolError


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry tells of an image."""

    reference: str
    digest: str
    """Of the manifest that was asked for, which may list several platforms."""
    id: str
    """Digest of the image's configuration, as an engine names it."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    created: str | None = None
    architecture: str | None = None
    size: int = 0
    """Of the compressed layers together."""


def resolve(reference: str) -> str:
    """Return the digest that a reference has now.

    Raises
    ------
    ToolError
        The registry is unreachable, refuses, or has no such image.
    """
    parsed = parse(reference)
    if parsed.digest:
        return parsed.digest
    found = Conversation(parsed).manifest(parsed.tag or "latest")
    if found is None:
        raise absent(parsed)
    return found[0]


def inspect(reference: str, *, platform: str = "linux/amd64") -> ImageInfo:
    """Return what the registry knows of an image: digest, labels, annotations.

    Raises
    ------
    ToolError
        As in `resolve`; or the image is not there for this platform.
    """
    parsed = parse(reference)
    registry = Conversation(parsed)
    found = registry.manifest(parsed.digest or parsed.tag or "latest")
    if found is None:
        raise absent(parsed)
    digest, manifest = found
    if "manifests" in manifest:
        found = registry.manifest(of_platform(manifest, platform, str(parsed)))
        if found is None:
            raise absent(parsed)
        manifest = found[1]
    if "config" not in manifest:
        raise ToolError(
            f"{parsed} is not a container image.", "Check the reference.", tool="registry"
        )
    identity = manifest["config"]["digest"]
    configuration = registry.blob(identity)
    return ImageInfo(
        reference=str(parsed),
        digest=digest,
        id=identity,
        labels=(configuration.get("config") or {}).get("Labels") or {},
        annotations=manifest.get("annotations") or {},
        created=configuration.get("created"),
        architecture=configuration.get("architecture"),
        size=sum(layer.get("size", 0) for layer in manifest.get("layers", ())),
    )


def find(reference: str) -> ImageInfo | None:
    """Return what `inspect` does, or None where the registry has no such tag or repository."""
    parsed = parse(reference)
    if Conversation(parsed).manifest(parsed.digest or parsed.tag or "latest") is None:
        return None
    return inspect(reference)


def check_push(repository: str) -> None:
    """Check that this user may push to a repository, by opening an upload and cancelling it.

    Raises
    ------
    ToolError
        The registry is unreachable or refuses.
    """
    parsed = parse(repository)
    registry = Conversation(parsed, actions="pull,push")
    answer = registry.ask("POST", "blobs/uploads/")
    if answer.status_code != 202:
        raise registry.refusal(answer)
    location = urljoin(registry.at("blobs/uploads/"), answer.headers.get("Location", ""))
    if urlsplit(location).netloc == urlsplit(registry.url).netloc:
        registry.request("DELETE", location)


def of_platform(index: Mapping[str, Any], platform: str, name: str) -> str:
    """Return the digest of an index's image for a platform, ``linux/amd64``.

    Raises
    ------
    ToolError
        It has none.
    """
    system, architecture = platform.split("/")[:2]
    for entry in index["manifests"]:
        described = entry.get("platform") or {}
        if (described.get("os"), described.get("architecture")) == (system, architecture):
            return str(entry["digest"])
    raise ToolError(f"{name} has no image for {platform}.", "Choose one that has.", tool="registry")
