"""The one door to OCI registries, through the distribution API.

https://github.com/opencontainers/distribution-spec
"""

from mlrepro_nb.connect.registry._conversation import Conversation
from mlrepro_nb.connect.registry._images import ImageInfo, check_push, find, inspect, resolve
from mlrepro_nb.connect.registry._reference import Reference, parse
from mlrepro_nb.connect.registry._transfer import Blob, Manifest, download, manifest, push

__all__ = [
    "Blob",
    "Conversation",
    "ImageInfo",
    "Manifest",
    "Reference",
    "check_push",
    "download",
    "find",
    "inspect",
    "manifest",
    "parse",
    "push",
    "resolve",
]
