"""The machine, and how much of it the run used."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from typing import Any

_INTERVAL = 1.0
_SHORT = 0.05
"""Seconds: a cell shorter than this tells nothing about cores used."""
_MOST_SAMPLES = 10_000

# Flags that numerical libraries choose their kernels by.
_FLAG_NAMES = """
sse4_1 sse4_2 avx avx2 fma f16c avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni
avx512_bf16 avx512_fp16 amx_tile amx_bf16 amx_int8 avx_vnni asimd asimddp asimdhp sve sve2
bf16 i8mm
"""
_FLAGS = frozenset(_FLAG_NAMES.split())


class Sampler:
    """Peak memory and CPU of this process and its children."""

    def __init__(self) -> None:
        self._cores: list[float] = []
        self._memory = 0
        self._samples = 0
        self._cpu_before = _cpu_seconds()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to take samples, one a second."""
        self._thread = threading.Thread(target=self._sample, name="mlrepro-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more."""
        self._stopped.set()

    def cell(self, duration: float, cpu: float) -> dict[str, Any]:
        """Take a reading at the end of a cell and return the peak so far."""
        if duration >= _SHORT:
            self._add(cpu / duration)
        else:
            self._samples += 1
        return self.peak()

    def peak(self) -> dict[str, Any]:
        """Return what was used so far."""
        import resource

        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
            1 if sys.platform == "darwin" else 1024
        )
        cores = sorted(self._cores)
        return {
            "memory": max(self._memory, own),
            "cpu": round(cores[int(0.95 * (len(cores) - 1))], 3) if cores else 0.0,
            "cpu_seconds": round(_cpu_seconds() - self._cpu_before, 3),
            "samples": self._samples,
        }

    def _add(self, cores: float) -> None:
        self._samples += 1
        if len(self._cores) < _MOST_SAMPLES:
            self._cores.append(max(0.0, cores))

    def _sample(self) -> None:
        import psutil

        from mlrepro_nb.capture.data.audit import unwatched

        with unwatched():
            process = psutil.Process()
            clock, cpu = time.monotonic(), _cpu_seconds()
            while not self._stopped.wait(_INTERVAL):
                try:
                    family = [process, *process.children(recursive=True)]
                    now, spent = time.monotonic(), _cpu_seconds()
                    memory = 0
                    for member in family:
                        try:
                            memory += member.memory_info().rss
                        except psutil.Error:  # noqa: PERF203 - one that ended meanwhile
                            continue
                    self._memory = max(self._memory, memory)
                    cores = (spent - cpu) / max(now - clock, 1e-3)
                    clock, cpu = now, spent
                    if cores > 0.02:  # a kernel that waits for its user is not the run
                        self._add(cores)
                except psutil.Error:
                    return


def describe(peak: dict[str, Any]) -> dict[str, Any]:
    """Return the machine's description and the peak, JSON-able as `model.Hardware`."""
    import psutil

    name, flags = _cpu()
    gpus, gpu_memory = _gpus()
    return {
        "cpu": name,
        "cores": _cores(),
        "flags": sorted(flags & _FLAGS),
        "memory": min(psutil.virtual_memory().total, _memory_limit() or 1 << 62),
        "gpus": gpus,
        "peak": {**peak, "gpu_memory": gpu_memory},
    }


def _cpu() -> tuple[str, frozenset[str]]:
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                if key in ("model name", "cpu model", "hardware"):
                    name = value.strip()
                elif key in ("flags", "features"):
                    flags = frozenset(value.split())
                    break
    except OSError:
        pass
    return name, flags


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _memory_limit() -> int | None:
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
            return None if text == "max" else int(text)
        except (OSError, ValueError):  # noqa: PERF203 - the other version of cgroups
            continue
    return None


def _gpus() -> tuple[list[dict[str, Any]], int]:
    """Ask the driver, which makes no CUDA context; without one there are no GPUs."""
    try:
        import pynvml  # type: ignore[import-not-found,unused-ignore]

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - the library raises its own kind, or is another module
        return [], 0
    gpus, used_memory = [], 0
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            mine = 0
            for process in _quietly(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ():
                if process.pid == os.getpid():
                    mine += process.usedGpuMemory or 0
            used_memory += mine
            capability = _quietly(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
            mig = _quietly(pynvml.nvmlDeviceGetMigMode, handle)
            gpus.append(
                {
                    "product": _text(pynvml.nvmlDeviceGetName(handle)),
                    "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
                    "memory": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                    "compute_capability": f"{capability[0]}.{capability[1]}"
                    if capability
                    else None,
                    "mig": bool(mig and mig[0]),
                    "used": mine > 0 or _torch_uses(index),
                }
            )
    except Exception:  # noqa: BLE001
        pass
    finally:
        _quietly(pynvml.nvmlShutdown)
    return gpus, max(used_memory, _torch_peak())


def _torch_cuda() -> Any:
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None


def _torch_uses(index: int) -> bool:
    cuda = _torch_cuda()
    return bool(cuda and _quietly(cuda.max_memory_allocated, index))


def _torch_peak() -> int:
    cuda = _torch_cuda()
    if cuda is None:
        return 0
    return sum(_quietly(cuda.max_memory_reserved, i) or 0 for i in range(cuda.device_count()))


def _quietly(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception:  # noqa: BLE001 - not every card answers every question
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
