"""What of CUDA an image carries for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata

from mlrepro_nb.image._closure import normal
from mlrepro_nb.model import Distribution, Hardware

# NVIDIA's `nvidia-ml-py` reads what the driver tells, with or without CUDA: we need it ourselves.
_CUDA = re.compile(
    r"nvidia-(?!ml-py$).*|triton(?:-.*)?|cuda-(?:bindings|toolkit|pathfinder)|.*-cu1[0-9]"
)
_MB = 10**6


def unused(hardware: Hardware, chosen: Iterable[Distribution]) -> str | None:
    """Return a note where CUDA's distributions are in the image of a run that used no GPU.

    They are not left out: PyTorch's wheel for CUDA does not start without them. Its
    makers' wheel for the CPU has another version, which did not run.
    """
    if any(gpu.used for gpu in hardware.gpus):
        return None
    there = list(chosen)
    found = [d for d in there if _CUDA.fullmatch(normal(d.name))]
    if not found:
        return None
    size = sum(_size(d) for d in found)
    much = f", {size / _MB:,.0f} MB," if size else ""
    wheel = ""
    if any(normal(d.name) == "torch" for d in there):
        wheel = " PyTorch's index has its wheels: https://download.pytorch.org/whl/cpu."
    return (
        f"The run used no GPU, but {len(found)} distributions of CUDA{much} are in the image, "
        "because what was installed needs them to start. Install the build for the CPU and "
        f"record again.{wheel}"
    )


def _size(distribution: Distribution) -> int:
    """Return the bytes of a distribution that is installed here in that version, else 0."""
    try:
        found = metadata.distribution(distribution.name)
    except (metadata.PackageNotFoundError, ValueError):
        return 0
    files = found.files or () if found.version == distribution.version else ()
    return sum(file.size or 0 for file in files)
