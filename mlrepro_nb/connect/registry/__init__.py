"""The one door to OCI registries, through the distribution API.

https://github.com/opencontainers/distribution-spec
"""

from mlrepro_nb.connect.registry._conversation import Conversation, WrongContentError
from mlrepro_nb.connect.registry._images import ImageInfo, check_push, find, inspect, resolve
from mlrepro_nb.connect.registry._reference import Reference, parse
from mlrepro_nb.connect.registry._referrers import (
    EMPTY,
    Artifact,
    Referrer,
    artifact,
    attach,
    fallback_tag,
    fetch,
    referrers,
)
from mlrepro_nb.connect.registry._transfer import Blob, Manifest, download, manifest, push

__all__ = [
    "EMPTY",
    "Artifact",
    "Blob",
    "Conversation",
    "ImageInfo",
    "Manifest",
    "Reference",
    "Referrer",
    "WrongContentError",
    "artifact",
    "attach",
    "check_push",
    "download",
    "fallback_tag",
    "fetch",
    "find",
    "inspect",
    "manifest",
    "parse",
    "push",
    "referrers",
    "resolve",
]
