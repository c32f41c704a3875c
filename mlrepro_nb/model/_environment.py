"""What it ran on, in software."""

from __future__ import annotations

from typing import Literal

import msgspec


class EditedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a distribution that is not what was installed."""

    path: str
    """Beside its distribution, ``/`` between the parts."""
    digest: str
    """``sha256:…``, as in a RECORD."""


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """An installed distribution."""

    name: str
    """Normalised (PEP 503)."""
    version: str
    origin: Literal["index", "wheel", "git", "editable", "local", "conda", "system"] = "index"
    source: str | None = None
    """Of what does not come from an index: the URL without credentials, or ``path``; of the
    operating system's, its package."""
    commit: str | None = None
    diff: str | None = None
    """Digest of the blob that holds how an editable install differed from `commit`, secrets
    masked."""
    imported: bool = False
    """Whether the notebook's code imported it, or what that imported requires it."""
    modules: tuple[str, ...] = ()
    """Top-level modules of it that were in the process."""
    loaded_by: tuple[str, ...] = ()
    """Of what was in the process without being `imported`: the distributions that loaded it
    though they do not require it (pandas loads pyarrow where there is one). What they do may
    depend on its presence."""
    edited: tuple[EditedFile, ...] | None = None
    """Files of it that are not what was installed, by size and sha256 in its RECORD. None where
    nobody looked: it was not in the process, the kernel ended too soon, or nothing was written
    down."""
    wheel: str | None = None
    """Digest of the blob that holds its wheel, where no index has one."""
    requires: tuple[str, ...] | None = None
    """Its Requires-Dist lines that name another distribution of the environment; None in records
    of before."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """The operating system."""

    name: str
    version: str
    kernel: str
    machine: str


class ThreadPool(msgspec.Struct, frozen=True, kw_only=True):
    """A BLAS or OpenMP build in the process (threadpoolctl)."""

    api: str
    implementation: str
    version: str | None = None
    threads: int


class SharedLibrary(msgspec.Struct, frozen=True, kw_only=True):
    """A shared library mapped into the process from outside the Python environment."""

    name: str
    package: str | None = None
    version: str | None = None
    digest: str | None = None


class Cuda(msgspec.Struct, frozen=True, kw_only=True):
    """CUDA as the process sees it."""

    driver: str | None = None
    runtime: str | None = None
    """Version of CUDA that the framework in use was built for, else of the installed runtime."""
    cudnn: str | None = None
    packages: dict[str, str] = {}
    """Versions of NVIDIA's own distributions, by name."""


class CondaPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package of the conda or pixi environment that the kernel ran in."""

    name: str
    version: str
    build: str
    channel: str
    """Without credentials."""
    url: str | None = None
    md5: str | None = None
    sha256: str | None = None


class Startup(msgspec.Struct, frozen=True, kw_only=True):
    """Something that ran in the kernel before its first cell."""

    kind: Literal[
        "ipython", "exec-lines", "exec-files", "extension", "config", "sitecustomize",
        "usercustomize", "pth", "PYTHONSTARTUP", "store",
    ]  # fmt: skip
    """``ipython`` is a file of the profile's startup folder, ``store`` are the variables that
    ``%store`` restored."""
    name: str
    """The file, ``~`` for the home folder, or what was run."""
    digest: str | None = None
    defines: tuple[str, ...] = ()
    """Names that it defined for the cells."""


class Kernelspec(msgspec.Struct, frozen=True, kw_only=True):
    """The kernelspec that the kernel was started from."""

    name: str
    argv: tuple[str, ...] = ()
    """``{python}`` stands for the kernel's own interpreter."""
    variables: dict[str, str] = {}
    """What it sets, by the allow-list; of others only the name, with an empty value."""
    digest: str | None = None
    """Of its ``kernel.json``."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the code ran on, in software."""

    python: str
    implementation: str
    kernelspec: str
    distributions: tuple[Distribution, ...] = ()
    packages: tuple[str, ...] = ()
    """Import packages, dotted, that had a module in the process at the end because of the user's
    code; none where nobody looked, as when the kernel was killed."""
    system: System
    threadpools: tuple[ThreadPool, ...] = ()
    libraries: tuple[SharedLibrary, ...] = ()
    cuda: Cuda | None = None
    variables: dict[str, str] = {}
    """By allow-list; never a secret."""
    manager: Literal["venv", "uv", "conda", "pixi", "system", "python"] | None = None
    """What made the environment: ``system`` is the operating system's own Python, ``python`` a
    bare installation."""
    conda: tuple[CondaPackage, ...] = ()
    manager_lock: str | None = None
    """Digest of the blob that holds the ``pixi.lock`` of the environment, or the explicit list
    (URL and md5) from which ``conda create --file`` makes it again."""
    startup: tuple[Startup, ...] = ()
    kernel: Kernelspec | None = None
    lock: str | None = None
    """Digest of the blob that holds the hash-pinned requirements, once they were resolved."""
