"""What it ran on, in silicon, and how much of it was used."""

from __future__ import annotations

from typing import Literal

import msgspec

Confidence = Literal["high", "medium", "low"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """Where a measured number comes from, and how far it can be trusted."""

    source: str
    """``pss``, ``rss``, ``torch``, ``nvml``…; what was added up is joined by ``+``."""
    samples: int = 0
    confidence: Confidence = "low"


class GpuUse(msgspec.Struct, frozen=True, kw_only=True):
    """What the run used of a GPU."""

    memory: int = 0
    """Bytes at the most: `reserved`, `overhead`, and what child processes took."""
    reserved: int = 0
    """Peak of the frameworks' allocators."""
    overhead: int = 0
    """What CUDA itself and its libraries take beside the allocator."""
    children: int = 0
    """Peak of child processes."""
    utilisation: float | None = None
    """Mean percentage of time in which the GPU was busy while a cell ran, whoever kept it so."""
    figure: Figure


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU, or a MIG slice of one."""

    product: str
    uuid: str
    memory: int
    compute_capability: str | None = None
    mig: bool = False
    used: bool = False
    index: int | None = None
    """The machine's number of it (nvidia-smi's)."""
    visible: bool = True
    """Whether ``CUDA_VISIBLE_DEVICES`` lets the run see it."""
    shared: bool = False
    """Whether other programs were on it too."""
    baseline: int = 0
    """Bytes in use on it, by anyone, when the recording began."""
    use: GpuUse | None = None


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The most that the run used."""

    memory: int = 0
    """Bytes, of the process tree: a page that n processes share counts once (PSS)."""
    cpu: float = 0.0
    """Cores, 95th percentile of the samples."""
    cpu_seconds: float = 0.0
    gpu_memory: int = 0
    """Bytes, of all GPUs together."""
    samples: int = 0
    shared_memory: int = 0
    """Bytes of `memory` that processes share by name (``/dev/shm``) or by inheritance."""
    processes: int = 0
    container_memory: int | None = None
    """Peak of the container's cgroup, page cache included; None outside of one."""
    figures: dict[str, Figure] = {}
    """By the name of the field."""


class CellPeak(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one execution of a cell used, of everything in bytes."""

    memory: int = 0
    cpu: float = 0.0
    """Cores, on average."""
    cpu_seconds: float = 0.0
    gpu_memory: int = 0
    """What frameworks' arrays took of GPUs, at least."""
    gpu_memory_most: int = 0
    """The same at most; the two differ where an earlier cell's peak hides this one's."""
    gpu_utilisation: float | None = None
    samples: int = 0
    figures: dict[str, Figure] = {}
    """By the name of the field."""


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """What the code ran on, in silicon."""

    cpu: str
    cores: int
    flags: tuple[str, ...] = ()
    memory: int
    gpus: tuple[Gpu, ...] = ()
    peak: Peak = Peak()
    cells: dict[str, CellPeak] = {}
    """By execution order, as a string."""
    visible_devices: tuple[str | None, str | None] = (None, None)
    """``CUDA_VISIBLE_DEVICES`` at the start and at the end."""
    least_capability: str | None = None
    """Smallest compute capability that the framework's kernels, where it was used, run on."""
    sampler: str | None = None
    """Who took the samples: ``process``, or ``thread`` and why no process could be had."""
