"""The kernel that we offer: what must be set before Python starts, set; the recorder loaded.

It is ipykernel's own kernelspec with variables and one argument more. A
kernelspec that we did not make is never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb import __version__
from mlrepro_nb.capture.randomness.seeding import CUBLAS, XLA, has_gpu_plugin
from mlrepro_nb.errors import KernelError, NotFoundError, UsageError

NAME = "mlrepro"
_MARK = "mlrepro"
_NAMES = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")


class Kernelspec(msgspec.Struct, frozen=True, kw_only=True):
    """An installed kernelspec of ours."""

    name: str
    display_name: str
    path: str
    python: str
    """The interpreter that it starts."""
    variables: dict[str, str]
    notes: tuple[str, ...] = ()
    """What to know of this one, one sentence each."""


def variables(*, threads: int, hash_seed: int, xla: bool) -> dict[str, str]:
    """Return what a process must find in its environment when it starts.

    Parameters
    ----------
    threads : int
        Threads of OpenMP and of the BLAS libraries. Sums are rounded in another
        order, and differ in the last bits, where there are more or fewer.
    hash_seed : int
        Of the hashes of strings, on which the order of sets depends.
    xla : bool
        Whether to ask XLA for deterministic operations on GPUs.
    """
    count = str(threads)
    found = {
        "PYTHONHASHSEED": str(hash_seed),
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "CUBLAS_WORKSPACE_CONFIG": CUBLAS,
    }
    return {**found, "XLA_FLAGS": XLA} if xla else found


def spec(display_name: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the ``kernel.json`` of a kernel of this interpreter that records."""
    from ipykernel.kernelspec import get_kernel_dict

    made = get_kernel_dict(extra_arguments=["--ext=mlrepro_nb"])
    return {
        **made,
        "display_name": display_name,
        "env": dict(env),
        "metadata": {**made.get("metadata", {}), _MARK: {"version": __version__}},
    }


def install(
    name: str = NAME,
    *,
    display_name: str | None = None,
    threads: int | None = None,
    hash_seed: int = 0,
    user: bool = False,
    prefix: Path | None = None,
    replace: bool = False,
) -> Kernelspec:
    """Install a kernelspec for this interpreter.

    Parameters
    ----------
    name : str
        What notebooks call it.
    display_name : str, optional
        What people see.
    threads : int, optional
        By default the cores that this process may use.
    hash_seed : int
        From 0 to 4294967295.
    user : bool
        For all environments of the user; by default for this environment.
    prefix : Path, optional
        For the environment at this place.
    replace : bool
        Replace one of ours that starts another interpreter.

    Raises
    ------
    UsageError
        The name is none, or taken by a kernelspec that is not ours to replace.
    KernelError
        The folder cannot be written.
    """
    if not _NAMES.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a kernel.",
            "Use small letters, digits, and . _ - between them.",
        )
    if user and prefix is not None:
        raise UsageError("--user and --prefix exclude each other.", "Drop one.")
    folder = _folder(user=user, prefix=prefix) / name
    _check_free(folder, replace=replace)
    xla, notes = _xla()
    env = variables(threads=threads or _cores(), hash_seed=hash_seed, xla=xla)
    title = display_name or f"Python {sys.version_info[0]} (mlrepro)"
    try:
        _write(folder, spec(title, env))
    except OSError as error:
        raise KernelError(
            f"{folder} cannot be written: {error.strerror or error}.",
            "Install it for yourself: mlrepro kernel install --user",
        ) from error
    found = _read(folder)
    assert found is not None
    return msgspec.structs.replace(found, notes=(*notes, *_shadowed(name, folder)))


def installed() -> list[Kernelspec]:
    """Return our kernelspecs that Jupyter finds from here."""
    from jupyter_client.kernelspec import KernelSpecManager

    found = [_read(Path(path)) for path in KernelSpecManager().find_kernel_specs().values()]
    return sorted((one for one in found if one is not None), key=lambda one: one.name)


def uninstall(name: str = NAME, *, user: bool = False, prefix: Path | None = None) -> Path:
    """Remove one of our kernelspecs; return the folder that it was in.

    Raises
    ------
    NotFoundError
        There is none of that name, or it is not ours.
    """
    if user or prefix is not None:
        folders = [_folder(user=user, prefix=prefix) / name]
    else:
        folders = [Path(one.path) for one in installed() if one.name == name]
    for folder in folders:
        if _read(folder) is not None:
            # Out of sight first, so that no half of it is ever found.
            gone = folder.with_name(f".{folder.name}-{os.getpid()}.removed")
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            return folder
    ours = ", ".join(one.name for one in installed()) or "none"
    raise NotFoundError(
        f"There is no kernelspec {name!r} that mlrepro installed.",
        f"Ours are: {ours}. Others are removed with: jupyter kernelspec uninstall NAME",
    )


def _folder(*, user: bool, prefix: Path | None) -> Path:
    from jupyter_core.paths import jupyter_data_dir

    if user:
        return Path(jupyter_data_dir(), "kernels")
    return Path(prefix or sys.prefix).expanduser().absolute() / "share" / "jupyter" / "kernels"


def _read(folder: Path) -> Kernelspec | None:
    """Return the kernelspec in a folder, if it is one of ours."""
    try:
        told = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
        if _MARK not in told["metadata"]:
            return None
        return Kernelspec(
            name=folder.name,
            display_name=str(told["display_name"]),
            path=str(folder),
            python=str(told["argv"][0]),
            variables={str(key): str(value) for key, value in told.get("env", {}).items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _check_free(folder: Path, *, replace: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    there = _read(folder)
    if there is None:
        raise UsageError(
            f"There is a kernelspec {folder.name!r} that mlrepro did not make, in {folder}.",
            "Choose another name: mlrepro kernel install --name NAME",
        )
    if there.python != sys.executable and not replace:
        raise UsageError(
            f"The kernelspec {folder.name!r} starts another Python: {there.python}.",
            "Choose another --name, or put this Python in its place: --replace",
        )


def _write(folder: Path, made: dict[str, Any]) -> None:
    """Put a kernelspec in its place, whole or not at all."""
    from ipykernel.kernelspec import RESOURCES

    folder.parent.mkdir(parents=True, exist_ok=True)
    # A name with a dot in front is no kernel's: Jupyter passes over what is half done.
    with _scratch(folder.parent) as scratch:
        new, old = scratch / "new", scratch / "old"
        shutil.copytree(RESOURCES, new)
        new.chmod(0o755)
        text = json.dumps(made, indent=1, sort_keys=True) + "\n"
        (new / "kernel.json").write_text(text, encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    scratch = Path(tempfile.mkdtemp(prefix=".mlrepro-", dir=parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _xla() -> tuple[bool, tuple[str, ...]]:
    """Return whether this environment's jax takes our flag: one that does not ends at once."""
    if not has_gpu_plugin():
        return False, ()
    environment = {**os.environ, "XLA_FLAGS": XLA, "JAX_PLATFORMS": "cpu"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"], env=environment, timeout=120,
            capture_output=True, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False, ("jax did not start, so XLA_FLAGS were left alone.",)
    if done.returncode:
        return False, (f"This jax does not take {XLA}, so XLA_FLAGS were left alone.",)
    return True, ()


def _shadowed(name: str, folder: Path) -> Iterator[str]:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        seen = Path(KernelSpecManager().get_kernel_spec(name).resource_dir)
    except NoSuchKernel:
        yield (
            f"Jupyter does not look into {folder.parent} from here; "
            "a Jupyter of that environment does."
        )
        return
    if seen.resolve() != folder.resolve():
        yield f"Jupyter finds another {name!r} first: {seen}."
