"""CUDA as the process has it, told without making a context."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

_FRAMEWORKS = ("torch", "jax", "jaxlib", "tensorflow", "cupy", "numba.cuda", "cudf", "onnxruntime")
_VERSION = re.compile(r"Module.*?\s(\d+\.\d+(?:\.\d+)?)\s")
_NOT_CUDA = frozenset({"nvidia-ml-py", "nvidia-ml-py3", "nvidia-pyindex", "nvidia-smi"})


def cuda() -> dict[str, Any] | None:
    """Return driver, runtime, cuDNN and NVIDIA's packages, JSON-able as `model.Cuda`.

    Returns
    -------
    dict or None
        None where the machine has no driver and no library in the process was built
        for CUDA. What is installed but was not imported does not count.
    """
    driver = _driver()
    packages: dict[str, str] = {}
    if any(name in sys.modules for name in _FRAMEWORKS):
        packages = _packages()
    runtime, built = _runtime(packages)
    if driver is None and not built:
        return None
    return {
        "driver": driver,
        "runtime": runtime,
        "cudnn": _cudnn(packages) if built else None,
        "packages": packages if built else {},
    }


def _driver() -> str | None:
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8", errors="replace") as file:
            found = _VERSION.search(file.read())
            if found is not None:
                return found.group(1)
    except OSError:
        pass
    from mlrepro_nb.capture.hardware.sampling import gpus

    opened, _ = gpus.opened()
    return opened.driver() if opened is not None else None


def _runtime(packages: dict[str, str]) -> tuple[str | None, bool]:
    """Return the version of CUDA, and whether anything in the process was built for it."""
    version = getattr(getattr(sys.modules.get("torch"), "version", None), "cuda", None)
    if version:
        return str(version), True
    cupy = sys.modules.get("cupy")
    try:
        if cupy is not None:
            number = int(cupy.cuda.runtime.runtimeGetVersion())
            return f"{number // 1000}.{number % 1000 // 10}", True
    except Exception:  # noqa: BLE001 - half imported, or no driver
        pass
    for name, known in packages.items():
        if re.fullmatch(r"nvidia-cuda-runtime(-cu\d+)?", name):
            # Of a torch without CUDA, a neighbour's packages are no concern.
            return known, any(f in sys.modules for f in _FRAMEWORKS[1:])
    return None, False


def _cudnn(packages: dict[str, str]) -> str | None:
    torch = sys.modules.get("torch")
    try:
        # Asked before anything used a GPU, torch would load the library.
        if torch is not None and torch.cuda.is_initialized():
            number = int(torch.backends.cudnn.version() or 0)
            if number:
                unit = 10000 if number >= 90000 else 1000
                return f"{number // unit}.{number % unit // 100}.{number % 100}"
    except Exception:  # noqa: BLE001 - a build without it says so in its own way
        pass
    for name, version in packages.items():
        if name.startswith("nvidia-cudnn-cu"):
            return version
    return None


def _packages() -> dict[str, str]:
    # By the names of their folders: to read the metadata of all would take a while.
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            with os.scandir(folder or ".") as entries:
                names = [e.name for e in entries if e.name.startswith("nvidia")]
        except OSError:
            continue
        for entry in names:
            name, _, version = entry.removesuffix(".dist-info").partition("-")
            name = re.sub(r"[-_.]+", "-", name).lower()
            if entry.endswith(".dist-info") and version and name not in _NOT_CUDA:
                found.setdefault(name, version)
    return dict(sorted(found.items()))
