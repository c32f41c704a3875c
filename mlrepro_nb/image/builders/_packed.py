"""What BuildKit wrote, in the cache: its layers compressed as our own are.

So their digests depend on one pinned compressor, not on which release of BuildKit built them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlrepro_nb.connect import oci
from mlrepro_nb.model import Report, Step, canonical


def packed(layout: Path, platform: str, cache: oci.Cache, report: Report) -> oci.Image:
    """Take an image out of a layout into the cache, and return it with compressed layers."""
    found, _ = oci.Layout(layout).find(platform)
    made = {layer.digest: layer for layer in found.layers}
    for layer in made.values():
        path = layout / oci.place(layer.digest)
        if layer.media_type == oci.LAYER:
            report(Step(message=f"compressing a layer of {layer.size / 1e6:.0f} MB"))
            made[layer.digest] = _compressed(path, cache)
        else:
            _taken(path, layer, cache)
    _taken(layout / oci.place(found.configuration.digest), found.configuration, cache)
    layers = tuple(made[layer.digest] for layer in found.layers)
    content = {**msgspec.json.decode(found.manifest), "layers": msgspec.to_builtins(layers)}
    manifest = canonical(content)
    cache.put(manifest)
    return oci.Image(manifest=manifest, configuration=found.configuration, layers=layers)


def _compressed(path: Path, cache: oci.Cache) -> oci.Descriptor:
    with cache.writing() as file:
        made = oci.compress(path, file)
        cache.keep(file, cache.blob(made.digest))
    return oci.Descriptor(media_type=oci.GZIP, digest=made.digest, size=made.size)


def _taken(path: Path, blob: oci.Descriptor, cache: oci.Cache) -> None:
    # What was shared into the layout is in a cache already.
    if not path.is_symlink() and not cache.has(blob.digest, blob.size):
        path.chmod(0o644)  # BuildKit's client takes the right to write away
        cache.take(path)
