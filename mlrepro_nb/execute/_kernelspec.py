"""Which kernel runs a notebook."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from mlrepro_nb.errors import KernelError

if TYPE_CHECKING:
    from nbformat import NotebookNode

NATIVE = "python3"
"""The kernel that jupyter_client offers for the interpreter that it runs in."""


class MissingKernel(msgspec.Struct, frozen=True, kw_only=True):
    """The kernelspec that a notebook names, which is not installed."""

    name: str
    language: str
    remedy: str
    substitute: str | None = None
    """An installed kernelspec of the same language."""


def missing_kernel(nb: NotebookNode) -> MissingKernel | None:
    """Return what a notebook names and is not installed; None where it can run or names none."""
    from jupyter_client.kernelspec import KernelSpecManager

    spec = nb.metadata.get("kernelspec") or {}
    named = spec.get("name")
    installed = sorted(KernelSpecManager().find_kernel_specs())
    if not named or named in installed:
        return None
    told = nb.metadata.get("language_info") or {}
    language = str(told.get("name") or spec.get("language") or "python").lower()
    version = str(told.get("version") or "")
    remedy = f"Installed are: {_listed(installed)}."
    if named == "python2" or language == "python2" or version.startswith("2."):
        remedy += " It is a Python 2 notebook: port it (python -m lib2to3), then --kernel python3."
        return MissingKernel(name=str(named), language="python2", remedy=remedy)
    substitute = NATIVE if language in ("python", "ipython") and NATIVE in installed else None
    if language in ("python", "ipython"):
        remedy += (
            f" Install it from its environment: python -m ipykernel install --user --name {named}"
        )
    if substitute:
        remedy += f"; or run it in this one: --kernel {substitute}"
    return MissingKernel(name=str(named), language=language, remedy=remedy, substitute=substitute)


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
    if kernel:
        raise KernelError(
            f"There is no kernel {wanted!r} on this machine.",
            f"Installed are: {_listed(installed)}.",
        )
    missing = missing_kernel(nb)
    raise KernelError(
        f"The notebook's kernel {wanted!r} is not installed on this machine.",
        missing.remedy if missing else f"Installed are: {_listed(installed)}.",
    )


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
