"""The machine: its processor, and the memory that the process may use."""

from __future__ import annotations

import os
import platform
from typing import Any

# Flags that numerical libraries choose their kernels by.
_FLAG_NAMES = """
sse4_1 sse4_2 avx avx2 fma f16c avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni
avx512_bf16 avx512_fp16 amx_tile amx_bf16 amx_int8 avx_vnni asimd asimddp asimdhp sve sve2
bf16 i8mm
"""
_FLAGS = frozenset(_FLAG_NAMES.split())


def machine() -> dict[str, Any]:
    """Return the machine's description, JSON-able as `model.Hardware`, without GPUs."""
    name, flags = _cpu()
    return {
        "cpu": name,
        "cores": _cores(),
        "flags": sorted(flags & _FLAGS),
        "memory": min(_memory(), _memory_limit() or 1 << 62),
    }


def _memory() -> int:
    """Return the machine's bytes of memory."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line[:9] == "MemTotal:")
    except (OSError, ValueError, StopIteration):
        import psutil  # where there is no /proc; a kernel need not carry it elsewhere

        return int(psutil.virtual_memory().total)


def container_peak() -> int | None:
    """Return the most memory that the container's cgroup ever used, page cache included.

    None outside of a container, where a cgroup holds other programs too, and before
    Linux 5.19.
    """
    try:
        with open("/proc/self/cgroup", encoding="ascii") as file:
            if file.read().strip() != "0::/":
                return None
        with open("/sys/fs/cgroup/memory.peak", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


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
