"""GPUs as NVIDIA's management library sees them. It makes no CUDA context."""

from __future__ import annotations

import os
import sys
from typing import Any

_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia/version", "/dev/nvidia0")
_FIRST_NAMESPACE = 0xEFFFFFFC
"""Inode of the machine's own PID namespace, a constant of Linux."""


class Gpus:
    """The GPUs of this machine; where a GPU is cut into MIG slices, the slices.

    Parameters
    ----------
    nvml : module
        ``pynvml``, initialised.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._units: list[tuple[Any, dict[str, Any]]] = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = self._ask("nvmlDeviceGetHandleByIndex", index)
            if handle is not None:
                self._units += self._cut(handle, index)
        self._baseline = {str(fact["uuid"]): self._used(unit) for unit, fact in self._units}
        self._begun = {str(fact["uuid"]): len(self._running(unit)) for unit, fact in self._units}
        self._translated = _namespace() in (None, _FIRST_NAMESPACE)

    def _cut(self, handle: Any, index: int) -> list[tuple[Any, dict[str, Any]]]:
        capability = self._ask("nvmlDeviceGetCudaComputeCapability", handle)
        whole: dict[str, Any] = {
            "index": index,
            "product": _text(self._ask("nvmlDeviceGetName", handle) or "NVIDIA GPU"),
            "uuid": _text(self._ask("nvmlDeviceGetUUID", handle) or f"GPU-{index}"),
            "memory": self._total(handle),
            "compute_capability": f"{capability[0]}.{capability[1]}" if capability else None,
            "mig": False,
            "parent": None,
        }
        mode = self._ask("nvmlDeviceGetMigMode", handle)
        if not mode or not mode[0]:
            return [(handle, whole)]
        slices = []
        for place in range(self._ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
            part = self._ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, place)
            if part is None:
                continue
            name = _text(self._ask("nvmlDeviceGetName", part) or "")
            attributes = self._ask("nvmlDeviceGetAttributes", part)
            if "MIG" not in name and attributes is not None:
                size = round(attributes.memorySizeMB / 1024)
                name = f"{whole['product']} MIG {attributes.gpuInstanceSliceCount}g.{size}gb"
            slices.append(
                (
                    part,
                    {
                        **whole,
                        "product": name or whole["product"],
                        "uuid": _text(self._ask("nvmlDeviceGetUUID", part) or f"MIG-{place}"),
                        # Asked for its memory, a slice may tell that of the whole card.
                        "memory": attributes.memorySizeMB * 2**20
                        if attributes is not None
                        else self._total(part),
                        "mig": True,
                        "parent": whole["uuid"],
                    },
                )
            )
        return slices or [(handle, {**whole, "mig": True})]

    def _ask(self, question: str, *arguments: Any) -> Any:
        """Return an answer; None where the card, the driver or the library does not have it."""
        try:
            return getattr(self._nvml, question)(*arguments)
        except Exception:  # noqa: BLE001 - the library raises its own kind
            return None

    def driver(self) -> str | None:
        """Return the driver's version."""
        said = self._ask("nvmlSystemGetDriverVersion")
        return _text(said) if said else None

    def facts(self) -> list[dict[str, Any]]:
        """Return what the GPUs are, and what was in use on each when this began."""
        return [
            {**fact, "baseline": self._baseline[str(fact["uuid"])] or 0,
             "processes": self._begun[str(fact["uuid"])]}
            for _, fact in self._units
        ]  # fmt: skip

    def read(self, root: int, pids: tuple[int, ...]) -> list[dict[str, Any]]:
        """Return what each GPU is used for, by a process, by its descendants, and by others.

        ``own`` and ``children`` are None where the driver numbers processes otherwise
        than we do, as it does in a container; then only what has ``grown`` is known.
        """
        found = []
        for unit, fact in self._units:
            running = self._running(unit)
            own = children = others = None
            if self._comparable(running):
                mine = {pid: used for pid, used in running if pid in pids}
                others = len(running) - len(mine)
                if None not in mine.values():
                    own = mine.get(root, 0)
                    children = sum(used or 0 for pid, used in mine.items() if pid != root)
            used, before = self._used(unit), self._baseline[str(fact["uuid"])]
            grown = max(0, used - before) if used is not None and before is not None else None
            # A slice's memory may be told as that of the whole card, with all its users.
            rates = None if fact["mig"] else self._ask("nvmlDeviceGetUtilizationRates", unit)
            found.append(
                {
                    "uuid": fact["uuid"],
                    "own": own,
                    "children": children,
                    "others": others,
                    "grown": None if fact["mig"] else grown,
                    "processes": len(running),
                    "busy": rates.gpu if rates is not None else None,
                }
            )
        return found

    def _comparable(self, running: list[tuple[int, int | None]]) -> bool:
        # A driver that translates process ids names only such as we can see.
        return self._translated or (
            bool(running) and all(os.path.exists(f"/proc/{pid}") for pid, _ in running)  # noqa: PTH110
        )

    def _running(self, unit: Any) -> list[tuple[int, int | None]]:
        listed = self._ask("nvmlDeviceGetComputeRunningProcesses", unit) or ()
        # In a container some drivers tell a memory of 0, which no context has.
        return [(process.pid, process.usedGpuMemory or None) for process in listed]

    def _used(self, unit: Any) -> int | None:
        memory = self._ask("nvmlDeviceGetMemoryInfo", unit)
        return int(memory.used) if memory is not None else None

    def _total(self, unit: Any) -> int:
        memory = self._ask("nvmlDeviceGetMemoryInfo", unit)
        return int(memory.total) if memory is not None else 0


def present() -> bool:
    """Return whether this machine may have an NVIDIA GPU: asking the library costs memory."""
    return not sys.platform.startswith("linux") or any(map(os.path.exists, _DEVICES))


def opened() -> tuple[Gpus | None, str | None]:
    """Return the GPUs; or None and why they are not seen, unless there are none."""
    if not present():
        return None, None
    try:
        import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
        gpus = Gpus(pynvml)
    except Exception as error:  # noqa: BLE001 - the library raises its own kind, or is another module
        if not sys.platform.startswith("linux"):
            return None, None
        return None, f"{type(error).__name__}: {error}"
    return (gpus, None) if gpus.facts() else (None, None)


def _namespace() -> int | None:
    try:
        return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    except OSError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
