"""The environment variables that matter, by allow-list."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from mlrepro_nb.capture.secrets import is_secret_name, mask

_ALLOWED = re.compile(
    # Python itself, the locale, the clock
    r"PYTHON(?:HASHSEED|OPTIMIZE|UTF8|PATH|HOME|SAFEPATH|NOUSERSITE|USERBASE|DEVMODE|WARNINGS"
    r"|IOENCODING|MALLOC|STARTUP|FAULTHANDLER|COERCECLOCALE|INTMAXSTRDIGITS|_GIL|_JIT)"
    r"|LANG|LANGUAGE|LC_[A-Z]+|TZ|SOURCE_DATE_EPOCH"
    # how sums are split and rounded
    r"|(?:OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|ATLAS|NUMEXPR|VECLIB|GOTO|TBB|ONEDNN|DNNL|RAYON"
    r"|ARROW|POLARS|NUMBA|NPY|NUMPY|SCIPY|SKLEARN|PANDAS|DASK|MODIN|DUCKDB|XGBOOST|LIGHTGBM)"
    r"_[A-Z0-9_]+"
    r"|LOKY_MAX_CPU_COUNT|JOBLIB_[A-Z0-9_]+|TOKENIZERS_PARALLELISM|MALLOC_[A-Z_]+"
    # accelerators
    r"|CUDA_(?:VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING|FORCE_PTX_JIT"
    r"|DEVICE_MAX_CONNECTIONS|DISABLE_PTX_JIT)"
    r"|(?:CUBLAS|CUBLASLT|CUDNN|NCCL|NVTE|MIOPEN|HIP|HSA|ROCR)_[A-Z0-9_]+"
    r"|NVIDIA_(?:VISIBLE_DEVICES|TF32_OVERRIDE|DRIVER_CAPABILITIES)"
    # frameworks
    r"|XLA_FLAGS|XLA_PYTHON_CLIENT_[A-Z_]+|LIBTPU_INIT_ARGS|JAX_[A-Z0-9_]+"
    r"|TF_[A-Z0-9_]+|TF2_BEHAVIOR|KERAS_BACKEND|KERAS_HOME"
    r"|(?:TORCH|TORCHINDUCTOR|TORCHDYNAMO|PYTORCH|PYTORCH_CUDA|ATEN|TRITON|ACCELERATE)_[A-Z0-9_]+"
    r"|(?:HF|TRANSFORMERS|DIFFUSERS)_(?:HOME|HUB_OFFLINE|OFFLINE|DATASETS_OFFLINE"
    r"|DATASETS_CACHE|HUB_CACHE|CACHE)"
    r"|WORLD_SIZE|RANK|LOCAL_RANK|MPLBACKEND|MATPLOTLIBRC"
    r"|MLFLOW_EXPERIMENT_(?:NAME|ID)"
    # the loader, and which environment this is
    r"|LD_PRELOAD|LD_LIBRARY_PATH|LD_BIND_NOW|DYLD_[A-Z_]+|CONDA_DEFAULT_ENV|PIXI_ENVIRONMENT_NAME"
)
"""No other variable's value is ever recorded."""


def is_allowed(name: str) -> bool:
    """Return whether a variable's value may be in a record."""
    return _ALLOWED.fullmatch(name) is not None and not is_secret_name(name)


def variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that matter, sorted, secrets in their values masked."""
    found = os.environ if environment is None else environment
    return {name: mask(value) for name, value in sorted(found.items()) if is_allowed(name)}
