"""Which kernel runs a notebook."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mlrepro_nb.errors import KernelError

if TYPE_CHECKING:
    from nbformat import NotebookNode

NATIVE = "python3"
"""The kernel that jupyter_client offers for the interpreter that it runs in."""


def kernel_name(nb: NotebookNode, kernel: str | None = None) -> str:
    """Return the installed kernelspec that runs a notebook.

    It is the one asked for, else the one that the notebook names; only a
    notebook that names none gets ``python3``.

    Raises
    ------
    KernelError
        That kernelspec is not installed.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    spec = nb.metadata.get("kernelspec") or {}
    language = (nb.metadata.get("language_info") or {}).get("name") or spec.get("language")
    named = spec.get("name")
    wanted = kernel or named or NATIVE
    installed = sorted(KernelSpecManager().find_kernel_specs())
    if not kernel and not named and language and str(language).lower() not in ("python", "ipython"):
        raise KernelError(
            f"The notebook is in {language} and names no kernel.",
            f"Choose one with --kernel. Installed are: {_listed(installed)}.",
        )
    if wanted in installed:
        return str(wanted)
    remedy = f"Installed are: {_listed(installed)}."
    if kernel:
        raise KernelError(f"There is no kernel {wanted!r} on this machine.", remedy)
    if wanted == "python2" or str(language).lower() == "python2":
        remedy += " It is a Python 2 notebook: port it (python -m lib2to3), then --kernel python3."
    elif str(language or "python").lower() == "python":
        remedy += (
            f" Install it from its environment: python -m ipykernel install --user --name {wanted}"
        )
        if NATIVE in installed:
            remedy += "; or run it in this one: --kernel python3"
    raise KernelError(f"The notebook's kernel {wanted!r} is not installed on this machine.", remedy)


def interpreter(name: str) -> str | None:
    """Return the program that an installed kernelspec starts, None where there is none."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        argv = KernelSpecManager().get_kernel_spec(name).argv
    except NoSuchKernel:
        return None
    return shutil.which(argv[0]) if argv else None


def kernel_language(name: str) -> str:
    """Return the language of an installed kernelspec."""
    from jupyter_client.kernelspec import KernelSpecManager

    return str(KernelSpecManager().get_kernel_spec(name).language or "python")


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none (pip install ipykernel)"
