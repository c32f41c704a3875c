"""The software that a kernel runs on."""

# ruff: noqa: PTH117, PTH118, PTH119
from __future__ import annotations

import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from mlrepro_nb.capture.data.paths import is_source
from mlrepro_nb.capture.secrets import is_secret_name, mask

VARIABLES = re.compile(
    r"PYTHONHASHSEED|PYTHONOPTIMIZE|PYTHONUTF8|PYTHONPATH|LANG|LC_[A-Z]+|TZ"
    r"|(?:OMP|MKL|OPENBLAS|BLIS|NUMEXPR|VECLIB|KMP|GOTO|ARROW|POLARS|NUMBA|TBB)_[A-Z0-9_]+"
    r"|CUDA_(?:VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING)|CUBLAS_WORKSPACE_CONFIG"
    r"|NVIDIA_(?:VISIBLE_DEVICES|TF32_OVERRIDE)|NCCL_[A-Z0-9_]+|ROCR_VISIBLE_DEVICES"
    r"|XLA_FLAGS|XLA_PYTHON_CLIENT_[A-Z_]+|JAX_[A-Z0-9_]+|TF_(?:DETERMINISTIC_OPS|CUDNN_DETERMINISTIC|XLA_FLAGS|ENABLE_ONEDNN_OPTS|NUM_[A-Z_]+)|TORCH_[A-Z0-9_]+"
    r"|PYTORCH_[A-Z0-9_]+|NPY_[A-Z0-9_]+|MLFLOW_EXPERIMENT_(?:NAME|ID)|SOURCE_DATE_EPOCH"
    r"|LD_PRELOAD|LD_LIBRARY_PATH|MALLOC_[A-Z_]+"
)
"""Names of the environment variables that are recorded; no others are."""

_KERNEL_MODULES = """
IPython ipykernel ipykernel_launcher jupyter_client jupyter_core traitlets comm zmq tornado
jedi parso stack_data executing pure_eval asttokens prompt_toolkit pygments decorator
debugpy nest_asyncio nest_asyncio2 matplotlib_inline pexpect ptyprocess backcall psutil
platformdirs wcwidth dateutil six packaging exceptiongroup typing_extensions
ipython_pygments_lexers _pydevd_bundle _pydev_bundle pydevd sitecustomize usercustomize
orjson cloudpickle colorama pydevd_plugins mlrepro_nb msgspec blake3 rfc8785 yaml _yaml
threadpoolctl pynvml click rich nbformat fastjsonschema jsonschema jsonschema_specifications
referencing rpds attr attrs _distutils_hack pkg_resources setuptools pip
"""
_KERNEL = frozenset(_KERNEL_MODULES.split())
"""Modules that a kernel or the recorder imports for itself."""


class Startup:
    """What the process had when the recording began: modules, environment variables.

    From it follows which modules the user's code brought in.

    The kernel's and the recorder's own are left out, unless they were not
    there before or a cell names them.
    """

    def __init__(self, *, fresh: bool) -> None:
        # What a kernel that ran nothing yet has imported, it imported for itself.
        self._before = _top_level() if fresh else _top_level() & _KERNEL
        self.named: set[str] = set()
        """Top-level modules that import statements of cells name."""
        self.variables = _variables()

    def names(self) -> list[str]:
        """Return the top-level modules, sorted."""
        tops = _top_level()
        found = tops - _KERNEL - self._before
        return sorted((found | (self.named & tops)) - sys.stdlib_module_names - {"__main__"})


def _variables() -> dict[str, str]:
    # As of the start: libraries set variables of their own later.
    return {
        name: mask(value)
        for name, value in sorted(os.environ.items())
        if VARIABLES.fullmatch(name) and not is_secret_name(name)
    }


def _top_level() -> set[str]:
    return {name.partition(".")[0] for name in list(sys.modules)}


def tool() -> str:
    """Return our own name and version."""
    from mlrepro_nb import __version__

    return f"mlrepro-nb {__version__}"


def kernelspec() -> str:
    """Return the name of the kernelspec that this kernel was started from, as far as it knows."""
    return os.environ.get("MLREPRO_KERNEL") or os.environ.get("JPY_KERNEL_NAME") or "python3"


def describe(imports: Startup, *, libraries: bool = True) -> dict[str, Any]:
    """Return the environment of this process, JSON-able as `model.Environment`."""
    # First, because looking at the rest imports modules too.
    imported = imports.names()
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "kernelspec": kernelspec(),
        "distributions": distributions(imported),
        "imported": imported,
        "system": _system(),
        "threadpools": _threadpools() if libraries else [],
        "libraries": _mapped_libraries() if libraries else [],
        "cuda": _cuda(),
        "variables": imports.variables,
    }


def distributions(imported: list[str]) -> list[dict[str, Any]]:
    """Return every installed distribution; those that own imported modules say which."""
    from importlib import metadata

    owners: dict[str, list[Any]] = {}
    found: dict[str, dict[str, Any]] = {}
    files: dict[str, Any] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if not name:
            continue
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue  # shadowed by one earlier on sys.path
        found[key] = {"name": key, "version": distribution.version, **_origin(distribution)}
        files[key] = distribution
        for top in _top_levels(distribution):
            owners.setdefault(top, []).append(key)
    for top in imported:
        keys = owners.get(top, [])
        if len(keys) > 1:
            # A namespace package (google, nvidia): whose files are in the process?
            used = _loaded_files(top)
            keys = [key for key in keys if _owns_any(files[key], used)] or keys
        for key in keys:
            entry = found[key]
            entry["imported"] = True
            entry.setdefault("modules", []).append(top)
    return [found[key] for key in sorted(found)]


def _top_levels(distribution: Any) -> set[str]:
    if listed := distribution.read_text("top_level.txt"):
        return {line.strip().partition("/")[0] for line in listed.splitlines() if line.strip()}
    tops: set[str] = set()
    for line in (distribution.read_text("RECORD") or "").splitlines():
        first, slash, _ = line.partition("/")
        if not slash:
            first = first.partition(",")[0]
            if not first.endswith((".py", ".so")):
                continue
        if not first.endswith((".dist-info", ".data", "..")) and first != "__pycache__":
            tops.add(first.partition(".")[0].strip('"'))
    direct = distribution.read_text("direct_url.json")
    if direct and '"editable"' in direct:
        tops.add(re.sub(r"[-.]+", "_", distribution.metadata["Name"]))
    return tops


def _loaded_files(top: str) -> set[str]:
    return {
        os.path.realpath(file)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == top and (file := getattr(module, "__file__", None))
    }


def _owns_any(distribution: Any, used: set[str]) -> bool:
    root = os.path.realpath(str(distribution.locate_file("")))
    return any(
        os.path.join(root, line.partition(",")[0]) in used
        for line in (distribution.read_text("RECORD") or "").splitlines()
    )


def _origin(distribution: Any) -> dict[str, Any]:
    direct = distribution.read_text("direct_url.json")
    if direct:
        try:
            return _of_direct_url(json.loads(direct))
        except (ValueError, AttributeError, KeyError):
            pass
    installer = (distribution.read_text("INSTALLER") or "").strip()
    if installer == "conda" or _is_conda(distribution):
        return {"origin": "conda"}
    return {"origin": "index"}


def _of_direct_url(direct: dict[str, Any]) -> dict[str, Any]:
    url = str(direct.get("url", ""))
    local = url.startswith("file:")
    source = "path" if local else mask(url)
    if vcs := direct.get("vcs_info"):
        return {"origin": "git", "source": source, "commit": vcs.get("commit_id")}
    if (folder := direct.get("dir_info")) is not None:
        return {"origin": "editable" if folder.get("editable") else "local", "source": source}
    return {"origin": "wheel", "source": url.rpartition("/")[2] if local else source}


def _is_conda(distribution: Any) -> bool:
    folder = Path(sys.prefix) / "conda-meta"
    if not folder.is_dir():
        return False
    name = re.sub(r"[-_.]+", "[-_.]", str(distribution.metadata["Name"]).lower())
    return any(folder.glob(f"{name}-{distribution.version}-*.json"))


def _system() -> dict[str, str]:
    name, version = platform.system(), platform.release()
    try:
        release = platform.freedesktop_os_release()
        name, version = release.get("ID", name), release.get("VERSION_ID", "")
    except OSError:
        if platform.system() == "Darwin":
            name, version = "macos", platform.mac_ver()[0]
    return {
        "name": name, "version": version, "kernel": platform.release(),
        "machine": platform.machine(),
    }  # fmt: skip


def _threadpools() -> list[dict[str, Any]]:
    # Importing threadpoolctl sets a variable for Intel's OpenMP; the user's process keeps its own.
    before = os.environ.get("KMP_DUPLICATE_LIB_OK")
    import threadpoolctl

    if before is None:
        os.environ.pop("KMP_DUPLICATE_LIB_OK", None)
    return [
        {
            "api": str(pool.get("user_api")),
            "implementation": str(pool.get("internal_api")),
            "version": pool.get("version"),
            "threads": int(pool.get("num_threads") or 0),
        }
        for pool in threadpoolctl.threadpool_info()
    ]


def _mapped_libraries() -> list[str]:
    """Return the paths of shared libraries in the process from outside the Python environment."""
    prefixes = tuple(
        {f"{os.path.realpath(p)}/" for p in (sys.prefix, sys.base_prefix)}
        | {f"{p}/" for p in (sys.prefix, sys.base_prefix)}
    )
    if "/usr/" in prefixes:
        prefixes = (*(p for p in prefixes if p != "/usr/"), "/usr/lib/python")
    found = set()
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                path = line.rstrip().partition("/")[2]
                if path and (path.endswith(".so") or ".so." in path):
                    found.add(f"/{path}")
    except OSError:
        return []
    return sorted(path for path in found if not path.startswith(prefixes))


def _cuda() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    runtime = getattr(getattr(torch, "version", None), "cuda", None)
    if runtime is None:
        return None
    cudnn = driver = None
    try:
        number = torch.backends.cudnn.version()
        cudnn = str(number) if number else None
    except Exception:  # noqa: BLE001 - a build without it says so in its own way
        cudnn = None
    try:
        import pynvml  # type: ignore[import-not-found,unused-ignore]

        pynvml.nvmlInit()
        said = pynvml.nvmlSystemGetDriverVersion()
        driver = said.decode() if isinstance(said, bytes) else str(said)
    except Exception:  # noqa: BLE001
        driver = None
    return {"driver": driver, "runtime": str(runtime), "cudnn": cudnn}


def local_modules(sources: dict[str, int | None]) -> list[dict[str, Any]]:
    """Return the modules in the process whose source is no distribution's, and other sources read.

    `sources` are Python files that cells opened themselves (``%run``).
    """
    from mlrepro_nb.capture.data.hashing import hash_file

    names: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not os.path.isabs(file):
            continue
        if name != "__main__" and is_source(file):
            names.setdefault(file, name)
    for path in sources:
        names.setdefault(path, Path(path).stem)
    found = []
    for path, name in sorted(names.items()):
        digest = hash_file(path)
        if digest is not None:
            found.append({"name": name, "absolute": path, "digest": digest.digest})
    return found


def describe_os_packages(paths: list[str]) -> list[dict[str, Any]]:
    """Return the packages that own mapped libraries; those that none owns by their digest."""
    from mlrepro_nb.capture.data.hashing import hash_file
    from mlrepro_nb.connect import dpkg

    owners = dpkg.owners([*paths, *(os.path.realpath(path) for path in paths)])
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        owner = owners.get(path) or owners.get(os.path.realpath(path))
        entry: dict[str, Any] = {"name": os.path.basename(path)}
        if owner:
            entry |= {"package": owner[0], "version": owner[1] or None}
        elif digest := hash_file(path):
            entry["digest"] = digest.digest
        found.setdefault(entry["name"], entry)
    return [found[name] for name in sorted(found)]
