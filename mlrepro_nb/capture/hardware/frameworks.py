"""What frameworks hold of the GPUs, as their allocators count it.

Each is asked only if the user's code has made it use a GPU already: a question must not
make a CUDA context. Peaks are never reset, since the user may read them too.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple


class Held(NamedTuple):
    """What one framework holds of one GPU, in bytes."""

    framework: str
    ordinal: int
    """The device's number in this process, among those visible to it."""
    peak: int
    """The most it needed: what torch reserved; what was in use for one that reserves ahead."""
    pool: int
    """What it has taken from the driver at present."""
    used: int
    """What its arrays take at present."""
    most_used: int
    """The most that its arrays took."""
    allocated: int | None
    """All that was ever allocated, added up; None where that is not counted."""
    uuid: str | None = None
    product: str = ""
    memory: int = 0
    compute_capability: str | None = None


def held() -> list[Held]:
    """Return what the frameworks of this process hold of each GPU that they use."""
    found: list[Held] = []
    for ask in (_torch, _jax, _tensorflow):
        try:
            found += ask()
        except Exception:  # noqa: BLE001, PERF203 - another version of it, or half shut down
            continue
    return found


def initialized() -> bool:
    """Return whether a framework of this process has begun to use a GPU."""
    return _torch_cuda() is not None or bool(_jax_gpus()) or _tensorflow_gpus() is not None


def least_capability() -> str | None:
    """Return the smallest compute capability that torch's kernels were compiled for."""
    if _torch_cuda() is None:
        return None
    try:
        names = sys.modules["torch"].cuda.get_arch_list()
        numbers = [int(name[3:].rstrip("af")) for name in names if name.startswith("sm_")]
    except (AttributeError, ValueError):
        return None
    return f"{min(numbers) // 10}.{min(numbers) % 10}" if numbers else None


def _torch_cuda() -> Any:
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    try:
        return cuda if cuda is not None and cuda.is_initialized() else None
    except Exception:  # noqa: BLE001 - torch is being imported
        return None


def _torch() -> list[Held]:
    cuda = _torch_cuda()
    if cuda is None:
        return []
    found = []
    for ordinal in range(cuda.device_count()):
        stats = cuda.memory_stats_as_nested_dict(ordinal)
        reserved = stats.get("reserved_bytes", {}).get("all", {})
        allocated = stats.get("allocated_bytes", {}).get("all", {})
        if not reserved.get("peak"):
            continue
        properties = cuda.get_device_properties(ordinal)
        uuid = getattr(properties, "uuid", None)
        found.append(
            Held(
                framework="torch",
                ordinal=ordinal,
                peak=reserved["peak"],
                pool=reserved["current"],
                used=allocated.get("current", 0),
                most_used=allocated.get("peak", 0),
                allocated=allocated.get("allocated"),
                uuid=str(uuid) if uuid else None,
                product=str(properties.name),
                memory=int(properties.total_memory),
                compute_capability=f"{properties.major}.{properties.minor}",
            )
        )
    return found


def _jax_gpus() -> list[Any]:
    # Asking jax itself for its devices would make it take most of the card's memory.
    bridge = sys.modules.get("jax._src.xla_bridge")
    backends = dict(getattr(bridge, "_backends", None) or {})
    return [
        device
        for name, backend in backends.items()
        if name in ("cuda", "rocm", "gpu")
        for device in backend.local_devices()
    ]


def _jax() -> list[Held]:
    found = []
    for device in _jax_gpus():
        stats = device.memory_stats() or {}
        peak = stats.get("peak_bytes_in_use", 0)
        if not peak:
            continue
        ordinal = device.local_hardware_id
        found.append(
            Held(
                framework="jax",
                ordinal=int(device.id if ordinal is None else ordinal),
                peak=peak,
                pool=stats.get("pool_bytes") or stats.get("bytes_reserved") or 0,
                used=stats.get("bytes_in_use", 0),
                most_used=peak,
                allocated=None,
                product=str(getattr(device, "device_kind", "")),
                compute_capability=str(getattr(device, "compute_capability", "")) or None,
            )
        )
    return found


def _tensorflow_gpus() -> Any:
    # Its own functions make the context that they are asked about.
    eager = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(eager, "_context", None)
    return context if getattr(context, "_initialized", False) else None


def _tensorflow() -> list[Held]:
    if _tensorflow_gpus() is None:
        return []
    config = sys.modules["tensorflow"].config
    found = []
    for ordinal, device in enumerate(config.list_logical_devices("GPU")):
        memory = config.experimental.get_memory_info(device.name.removeprefix("/device:"))
        if memory["peak"]:
            found.append(
                Held("tensorflow", ordinal, memory["peak"], 0, memory["current"],
                     memory["peak"], None)
            )  # fmt: skip
    return found
