"""Seeding every generator there is, and those that are imported later.

What a process reads only when it starts is not pretended to be set: `Seeding`
names it, and the kernel that `mlrepro kernel install` makes sets it in time.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from mlrepro_nb.capture.imports import ImportHook

CUBLAS = ":4096:8"
"""Workspaces with which cuBLAS gives the same bits each time (NVIDIA, cuBLAS: reproducibility)."""

XLA = "--xla_gpu_deterministic_ops=true"
"""What makes XLA's GPU operations deterministic; only a jaxlib for GPUs is given it."""

GPU_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm60_plugin", "jax_rocm7_plugin")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POOLS = ("numpy", "torch", "sklearn", "tensorflow")

_OWN = {
    "jax": "jax has no generator of its own: pass jax.random.key({value}).",
    "xgboost": "XGBoost takes its own: seed={value} (without, it always starts from the same).",
    "lightgbm": "LightGBM takes its own: seed={value}, deterministic=True, force_row_wise=True.",
}

_hook: ImportHook | None = None


class Seeding(msgspec.Struct, frozen=True, kw_only=True):
    """What was seeded and set, and what cannot be any more."""

    value: int
    done: tuple[str, ...]
    later: tuple[str, ...]
    """Libraries that will be seeded when they are imported."""
    settings: tuple[str, ...] = ()
    """What was set, so that operations are deterministic."""
    too_late: tuple[str, ...] = ()
    """What this process has read already, one phrase each."""
    own: tuple[str, ...] = ()
    """What takes its seed from the code, one sentence each."""

    def sentences(self) -> list[str]:
        """Return it for people."""
        said = [f"Seeded {_listed(self.done)} with {self.value}."]
        if self.later:
            said.append(f"When imported, {_listed(self.later)} will be seeded, too.")
        if self.settings:
            said.append(f"Set {_listed(self.settings)}.")
        said += self.own
        said.append(
            "A generator made without a number (np.random.default_rng(), random.Random()) "
            f"stays unseeded: give it {self.value}."
        )
        if self.too_late:
            said.append(
                f"Too late for this process: {'; '.join(self.too_late)}. "
                "A kernel that sets them in time: mlrepro kernel install"
            )
        return said


def seed_everything(value: int) -> Seeding:
    """Seed all global generators that are loaded, and those that will be.

    Parameters
    ----------
    value : int
        From 0 to 2**32 - 1, which all of them take.
    """
    global _hook
    random.seed(value)
    done, settings = ["random"], list[str]()
    callbacks = {
        module: _calling(seed, value, name, done, settings)
        for module, (name, seed) in _LIBRARIES.items()
    }
    if _hook is not None:
        _hook.stop()
    _hook = ImportHook(callbacks)
    settings += _cublas()
    _hook.start()  # seeds at once what is there
    # What comes later is seeded without a word.
    seeded, set_ = tuple(done), tuple(dict.fromkeys(settings))
    return Seeding(
        value=value,
        done=seeded,
        later=tuple(
            name for name, _ in _LIBRARIES.values() if name not in seeded and _installed(name)
        ),
        settings=set_,
        too_late=tuple(_too_late()),
        own=tuple(text.format(value=value) for name, text in _OWN.items() if name in sys.modules),
    )


def _calling(
    seed: Callable[[Any, int], list[str]], value: int, name: str, done: list[str],
    settings: list[str],
) -> Callable[[Any], None]:  # fmt: skip
    def callback(module: Any) -> None:
        set_ = seed(module, value)
        done.append(name)
        settings.extend(set_)

    return callback


def _seed_numpy(module: Any, value: int) -> list[str]:
    module.seed(value)
    return []


def _seed_torch(module: Any, value: int) -> list[str]:
    module.manual_seed(value)  # and CUDA, at once or when it is initialised
    # An operation that has no deterministic form warns; to refuse it would stop the notebook.
    module.use_deterministic_algorithms(True, warn_only=True)  # noqa: FBT003
    said = ["torch.use_deterministic_algorithms(True, warn_only=True)"]
    with contextlib.suppress(AttributeError):
        module.backends.cudnn.deterministic = True
        module.backends.cudnn.benchmark = False
        said.append("cudnn.deterministic")
    return said


def _seed_tensorflow(module: Any, value: int) -> list[str]:
    module.random.set_seed(value)
    with contextlib.suppress(AttributeError):
        module.config.experimental.enable_op_determinism()
        return ["tf.config.experimental.enable_op_determinism()"]
    return []


def _seed_cupy(module: Any, value: int) -> list[str]:
    module.seed(value)
    return []


def _seed_polars(module: Any, value: int) -> list[str]:
    module.set_random_seed(value)
    return []


_LIBRARIES: dict[str, tuple[str, Callable[[Any, int], list[str]]]] = {
    "numpy.random": ("numpy", _seed_numpy),
    "torch": ("torch", _seed_torch),
    "tensorflow": ("tensorflow", _seed_tensorflow),
    "cupy.random": ("cupy", _seed_cupy),
    "polars": ("polars", _seed_polars),
}
"""By the module whose import is awaited: what it is called, and how it is seeded."""


def _cublas() -> list[str]:
    if os.environ.get("CUBLAS_WORKSPACE_CONFIG") or _cuda_runs():
        return []
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = CUBLAS  # read when CUDA makes its first handle
    return [f"CUBLAS_WORKSPACE_CONFIG={CUBLAS}"]


def _too_late() -> list[str]:
    said = []
    if os.environ.get("PYTHONHASHSEED", "random") in ("random", ""):
        said.append("PYTHONHASHSEED (the order of sets of strings)")
    if _cuda_runs() and not os.environ.get("CUBLAS_WORKSPACE_CONFIG"):
        said.append("CUBLAS_WORKSPACE_CONFIG, since CUDA is running")
    if _xla_runs() and XLA not in os.environ.get("XLA_FLAGS", "") and has_gpu_plugin():
        said.append("XLA_FLAGS, since jax has a backend")
    pools = [name for name in _POOLS if name in sys.modules]
    if pools and not any(os.environ.get(name) for name in _THREADS):
        said.append(f"thread counts, since {pools[0]} has its threads (sums depend on how many)")
    return said


def _cuda_runs() -> bool:
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    try:
        return bool(cuda is not None and cuda.is_initialized()) or "cupy" in sys.modules
    except Exception:  # noqa: BLE001 - a torch of somebody's own making
        return False


def _xla_runs() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bool(getattr(bridge, "_backends", None))


def has_gpu_plugin() -> bool:
    """Return whether jax is installed for a GPU: another one ends at a flag it does not know."""
    return any(_installed(name) for name in GPU_PLUGINS)


def _installed(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
