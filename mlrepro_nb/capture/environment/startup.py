"""What ran in the kernel before its first cell, and what started the kernel."""

# ruff: noqa: PTH111, PTH113, PTH118, PTH120
from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlrepro_nb.capture.data.hashing import hash_file
from mlrepro_nb.capture.environment.variables import is_allowed
from mlrepro_nb.capture.secrets import mask
from mlrepro_nb.model import digest_text

_LONGEST = 256 << 10


def startup(shell: Any) -> list[dict[str, Any]]:
    """Return what ran before the first cell, in the order in which it ran, as `model.Startup`."""
    found: list[dict[str, Any]] = []
    for part in (_of_python, _of_ipython, _of_store):
        with contextlib.suppress(Exception):  # a shell of another make, odd configuration
            found += part(shell)
    return found


def kernelspec_name() -> str:
    """Return the name of the kernelspec that this kernel was started from, as far as it knows."""
    return os.environ.get("MLREPRO_KERNEL") or os.environ.get("JPY_KERNEL_NAME") or "python3"


def kernelspec(name: str) -> dict[str, Any] | None:
    """Return an installed kernelspec, as `model.Kernelspec`; None where there is none."""
    from jupyter_client.kernelspec import KernelSpecManager

    try:
        spec = KernelSpecManager().get_kernel_spec(name)
    except Exception:  # noqa: BLE001 - a kernel may be started without any
        return None
    own = {sys.executable, os.path.realpath(sys.executable), "python", "python3"}
    digest = hash_file(os.path.join(spec.resource_dir or "", "kernel.json"))
    return {
        "name": name,
        "argv": ["{python}" if word in own else _shown(mask(str(word))) for word in spec.argv],
        "variables": {
            str(key): mask(str(value)) if is_allowed(str(key)) else ""
            for key, value in sorted((spec.env or {}).items())
        },
        "digest": digest.digest if digest else None,
    }


# --- Python's own


def _of_python(_shell: Any) -> Iterator[dict[str, Any]]:
    for folder in _site_folders():
        for file in sorted(folder.glob("*.pth")):
            lines = _text(file).splitlines()
            # Every other line of it names a folder to search.
            if any(line.startswith(("import ", "import\t")) for line in lines):
                yield {"kind": "pth", "name": file.name, "digest": _digest(file)}
    for kind in ("sitecustomize", "usercustomize"):
        source = getattr(sys.modules.get(kind), "__file__", None)
        if isinstance(source, str):
            yield _file(kind, Path(source))


def _site_folders() -> list[Path]:
    import site

    folders = [entry for entry in site.getsitepackages() if entry in sys.path]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [Path(folder) for folder in dict.fromkeys(folders)]


# --- IPython's


def _of_ipython(shell: Any) -> Iterator[dict[str, Any]]:
    app = _application(shell)
    for file in getattr(app, "loaded_config_files", None) or ():
        # A headless run's own configuration only loads the recorder.
        if os.path.isfile(file) and not _is_ours(file):
            yield _file("config", Path(file))
    for name in getattr(app, "extensions", None) or ():
        if name != "mlrepro_nb":
            yield {"kind": "extension", "name": str(name)}
    for line in getattr(app, "exec_lines", None) or ():
        text = str(line)
        yield {
            "kind": "exec-lines", "name": mask(text)[:200], "digest": digest_text(text),
            "defines": _defines(text),
        }  # fmt: skip
    if getattr(app, "exec_PYTHONSTARTUP", True):
        named = os.environ.get("PYTHONSTARTUP")
        if named and os.path.isfile(named):
            yield _file("PYTHONSTARTUP", Path(named))
    folder = getattr(getattr(shell, "profile_dir", None), "startup_dir", None)
    if folder and not _is_ours(folder):
        files = [*Path(folder).glob("*.py"), *Path(folder).glob("*.ipy")]
        for file in sorted(files):
            yield _file("ipython", file)
    for name in getattr(app, "exec_files", None) or ():
        if os.path.isfile(name):
            yield _file("exec-files", Path(name))


def _application(shell: Any) -> Any:
    """Return the application that started the shell; a kernel's shell belongs to the kernel."""
    owner = getattr(shell, "parent", None)
    while owner is not None and not hasattr(owner, "exec_lines"):
        owner = getattr(owner, "parent", None)
    return owner


def _is_ours(path: str) -> bool:
    journal = os.environ.get("MLREPRO_EVENTS")
    return bool(journal) and os.path.realpath(path).startswith(
        os.path.dirname(os.path.realpath(str(journal))) + "/"
    )


def _of_store(shell: Any) -> Iterator[dict[str, Any]]:
    """Yield the variables that ``%store`` brings back whenever a kernel starts."""
    magics = shell.magics_manager.registry.get("StoreMagics")
    if magics is None or not getattr(magics, "autorestore", False):
        return
    names = sorted(str(key).rpartition("/")[2] for key in shell.db.keys("autorestore/*"))
    if names:
        yield {"kind": "store", "name": "StoreMagics.autorestore", "defines": names}


# --- files


def _file(kind: str, path: Path) -> dict[str, Any]:
    names = _defines(_text(path)) if kind in ("ipython", "exec-files", "PYTHONSTARTUP") else []
    return {"kind": kind, "name": _shown(str(path)), "digest": _digest(path), "defines": names}


def _shown(path: str) -> str:
    for folder, sign in ((sys.prefix, "{prefix}"), (os.path.expanduser("~"), "~")):
        if folder != "/" and path.startswith(f"{folder}/"):
            return sign + path.removeprefix(folder)
    return path


def _defines(text: str) -> list[str]:
    from mlrepro_nb.dataflow import read_cell  # most have no startup files

    return sorted(name for name in read_cell(0, text).defines if not name.startswith("_"))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LONGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _digest(path: Path) -> str | None:
    found = hash_file(str(path))
    return found.digest if found else None
