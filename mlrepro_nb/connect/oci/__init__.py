"""OCI images without an engine: layers, layouts, and the cache of what they are made of.

https://github.com/opencontainers/image-spec
"""

from mlrepro_nb.connect.oci._cache import Cache, digest_of, full_disk
from mlrepro_nb.connect.oci._layer import (
    COMPRESSOR,
    EPOCH,
    Layer,
    LayerWriter,
    check_compressor,
    opened,
    spooled,
)
from mlrepro_nb.connect.oci._layout import (
    CONFIG,
    GZIP,
    LAYER,
    MANIFEST,
    Descriptor,
    Image,
    Layout,
    as_oci,
    check_target,
    damaged,
    image,
    is_archive,
    stream,
    write,
)

__all__ = [
    "COMPRESSOR",
    "CONFIG",
    "EPOCH",
    "GZIP",
    "LAYER",
    "MANIFEST",
    "Cache",
    "Descriptor",
    "Image",
    "Layer",
    "LayerWriter",
    "Layout",
    "as_oci",
    "check_compressor",
    "check_target",
    "damaged",
    "digest_of",
    "full_disk",
    "image",
    "is_archive",
    "opened",
    "spooled",
    "stream",
    "write",
]
