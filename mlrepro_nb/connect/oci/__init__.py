"""OCI images without an engine: layers, layouts, and the cache of what they are made of.

https://github.com/opencontainers/image-spec
"""

from mlrepro_nb.connect.oci._cache import Cache, digest_of, full_disk, located
from mlrepro_nb.connect.oci._header import EPOCH
from mlrepro_nb.connect.oci._layer import (
    COMPRESSOR,
    Content,
    Deflated,
    Layer,
    LayerWriter,
    check_compressor,
    compress,
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
    image,
    place,
)
from mlrepro_nb.connect.oci._opened import opened
from mlrepro_nb.connect.oci._output import check_folder, placing
from mlrepro_nb.connect.oci._texts import Entry, entries_in, stacked, texts_in
from mlrepro_nb.connect.oci._write import check_target, damaged, is_archive, share, stream, write

__all__ = [
    "COMPRESSOR",
    "CONFIG",
    "EPOCH",
    "GZIP",
    "LAYER",
    "MANIFEST",
    "Cache",
    "Content",
    "Deflated",
    "Descriptor",
    "Entry",
    "Image",
    "Layer",
    "LayerWriter",
    "Layout",
    "as_oci",
    "check_compressor",
    "check_folder",
    "check_target",
    "compress",
    "damaged",
    "digest_of",
    "entries_in",
    "full_disk",
    "image",
    "is_archive",
    "located",
    "opened",
    "place",
    "placing",
    "share",
    "spooled",
    "stacked",
    "stream",
    "texts_in",
    "write",
]
