"""Which files are a notebook's data, and which only make Python run."""

# Paths stay strings here: this runs for every file that a cell opens.
# ruff: noqa: PTH111, PTH119, PTH120
from __future__ import annotations

import functools
import os
import re
import site
import sys
import sysconfig
from pathlib import Path

# Any file under these only makes programs run.
_SYSTEM = (
    "/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/lib/", "/lib32/", "/lib64/", "/bin/",
    "/sbin/", "/run/user/", "/run/lock/", "/run/systemd/", "/run/secrets/", "/run/udev/",
    "/var/lib/", "/var/cache/", "/var/run/", "/var/log/",
)  # fmt: skip

# A folder of one of these names, wherever it is.
_FOLDERS = frozenset(
    {
        "site-packages", "dist-packages", "__pycache__", ".git", ".hg", ".svn", ".mlrepro",
        ".ipynb_checkpoints", ".ipython", ".jupyter", ".dvc", "mlruns", "mlartifacts",
        ".pytest_cache", ".mypy_cache", ".ruff_cache", ".numba_cache", ".matplotlib",
        ".fonts", ".conda", ".mamba", ".virtualenvs", ".aws",
        ".config", ".kaggle", ".ssh", ".docker", ".kube", ".skops",
    }
)  # fmt: skip

_METADATA = (".egg-info/", ".dist-info/")
"""Folders that tell of an installed distribution, which may be anywhere."""
_CODE = (".py", ".pyc", ".pyi", ".pyx", ".so", ".pth", ".egg-link", ".ttf", ".otf", ".afm")
_GENERATED = ("/torchinductor_", "/__autograph_generated_file")
"""Sources that compilers write and import, in temporary folders."""
_SECRET = re.compile(
    r"""(?ix) \.netrc | \.pgpass | \.pypirc | \.npmrc | \.my\.cnf | \.htpasswd | \.git-credentials
    | .*\.(?:pem|key|p12|pfx|jks|kdbx) | id_(?:rsa|dsa|ecdsa|ed25519)
    | (?:\.?secrets?|credentials?|passwords?|token|api[_-]?keys?|kaggle
        |client[_-]secrets?|service[_-]account(?:[_-]key)?)(?:\.(?:json|ya?ml|toml|ini|cfg|txt))?
    """
)
_SIDE_FILES = ("-journal", "-wal", "-shm", ".wal")
_VERSION_CONTROL = (".gitignore", ".gitattributes", ".gitmodules", ".dvcignore", ".DS_Store")


@functools.lru_cache(maxsize=1)
def ignored_prefixes() -> tuple[str, ...]:
    """Return the folders below which nothing is data: the interpreter's, Jupyter's, our own."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(__file__).parents[2])}
    folders |= set(sysconfig.get_paths().values())
    folders |= {site.getuserbase() + "/lib", *site.getsitepackages()}
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR",
                 "MPLCONFIGDIR", "MLREPRO_STORE", "CONDA_PREFIX", "NUMBA_CACHE_DIR",
                 "HF_DATASETS_CACHE"):  # fmt: skip
        if value := os.environ.get(name):
            folders.add(value)
    home = os.path.expanduser("~")
    folders |= {f"{home}/.local/share/jupyter", f"{home}/.local/lib"}
    folders |= {
        f"{cache}/{name}"
        for cache in (f"{home}/.cache", os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache")
        for name in ("pip", "uv", "mlrepro", "mesa_shader_cache", "matplotlib", "fontconfig",
                     "numba", "torch_extensions", "torch/kernels", "jedi", "black", "nvidia",
                     "huggingface/datasets")
    }  # fmt: skip
    folders |= {os.path.realpath(folder) for folder in folders}
    found = {folder.rstrip("/") + "/" for folder in folders if folder and folder != "/"}
    # A venv may lie in the project, but a prefix of /usr or the home is no reason to
    # leave out what is below it.
    found.discard(home.rstrip("/") + "/")
    return (*_SYSTEM, *sorted(found))


def is_ignored(path: str, access: str = "read") -> bool:
    """Return whether an absolute path is nothing that a notebook read or wrote as data.

    A source that is read is code, which `is_source` tells; one that is written is a result.
    """
    if access != "read" and is_source(path):
        return False
    if path.startswith(ignored_prefixes()):
        return True
    folder, name = os.path.split(path)
    if not _FOLDERS.isdisjoint(folder.split("/")):
        return True
    if _METADATA[0] in path or _METADATA[1] in path:
        return True
    if name.startswith(".") and folder == os.path.expanduser("~"):
        return True
    if name in _VERSION_CONTROL or name.startswith(".~"):
        return True
    return name.endswith(_CODE) or name.endswith(_SIDE_FILES) or name == "fontlist.json"


def is_secret(path: str) -> bool:
    """Return whether a file holds secrets by its name (``.env.local``, ``kaggle.json``).

    Of such a file no digest is taken: it is short, its form is known, and who has the digest can
    try what it may hold.
    """
    name = os.path.basename(path)
    return name.startswith(".env") or _SECRET.fullmatch(name) is not None


def printable(path: str) -> str:
    r"""Return a path as text that JSON can hold: bytes that are not UTF-8 become ``\xff``."""
    if path.isascii():
        return path
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_source(path: str) -> bool:
    """Return whether an absolute path is a Python source that is not a distribution's."""
    if not path.endswith(".py") or path.startswith(ignored_prefixes()):
        return False
    if any(mark in path for mark in _GENERATED):
        return False
    return _FOLDERS.isdisjoint(os.path.dirname(path).split("/"))


def relative(path: str, root: Path | None) -> str | None:
    """Return a path inside the project, ``/`` between parts, or None outside."""
    if root is None:
        return None
    for candidate, base in (
        (path, str(root)),
        (os.path.realpath(path), os.path.realpath(root)),
    ):
        if candidate.startswith(base.rstrip("/") + "/"):
            return Path(candidate).relative_to(base).as_posix()
    return None
