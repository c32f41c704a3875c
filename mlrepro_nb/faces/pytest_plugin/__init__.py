"""``pytest --mlrepro``: a notebook is a file of tests, each of its code cells one of them.

pytest loads this module in every session, so it only declares options; what runs
notebooks is imported once one is collected. The options are nbval's, and nbmake's, by
other names: a project moves over by changing one word.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

_FLAGS = {"--mlrepro", "--mlrepro-lax"}

_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--mlrepro-sanitize-with", "--nbval-sanitize-with", "--sanitize-with"), {
        "metavar": "FILE", "help": "Regular expressions to carry out on outputs first.",
    }),
    (("--mlrepro-current-env", "--nbval-current-env", "--current-env"), {
        "action": "store_true", "help": "Run each notebook in pytest's own environment.",
    }),
    (("--mlrepro-kernel-name", "--nbval-kernel-name", "--nbmake-kernel"), {
        "metavar": "NAME", "help": "Kernelspec to use instead of the notebooks'.",
    }),
    (("--mlrepro-cell-timeout", "--nbval-cell-timeout", "--nbmake-timeout"), {
        "type": float, "metavar": "SECONDS", "help": "Seconds that one cell may take.",
    }),
    (("--mlrepro-total-timeout",), {
        "type": float, "metavar": "SECONDS", "help": "Seconds that one run may take.",
    }),
    (("--mlrepro-find-import-errors", "--nbmake-find-import-errors"), {
        "action": "store_true",
        "help": "Run all cells, also after one that takes too long; only a missing module fails.",
    }),
    (("--mlrepro-reruns",), {
        "type": int, "metavar": "N",
        "help": "At most so many more runs of a notebook to tell the causes of what differs.",
    }),
    (("--mlrepro-rtol",), {
        "type": float, "default": 1e-9, "help": "Relative tolerance of floats.",
    }),
    (("--mlrepro-atol",), {
        "type": float, "default": 1e-12, "help": "Absolute tolerance of floats.",
    }),
    (("--mlrepro-offline",), {
        "action": "store_true", "help": "Run the notebooks without a network.",
    }),
    (("--nbval-kernel-startup-timeout",), {
        "type": float, "help": "Is taken, and has no effect: a kernel has two minutes to start.",
    }),
)  # fmt: skip

_OLD = {"--sanitize-with": "nbval", "--current-env": "nbval"}
"""Deprecated options, and whose they are."""

_REFUSED = {
    "--overwrite": (
        "--overwrite is nbmake's: mlrepro never writes into a notebook. Executed copies are "
        "in .mlrepro/executed; `mlrepro record --inplace NOTEBOOK` brings outputs up to date."
    ),
    "--nbdime": (
        "--nbdime is nbval's: mlrepro compares pictures without it. "
        "`mlrepro verify --report FOLDER` shows the outputs side by side."
    ),
}


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options; those of nbval and nbmake where these do not do it themselves."""
    group = parser.getgroup("mlrepro", "notebooks run again and held against what they gave")
    group.addoption("--mlrepro", action="store_true", help="Test notebooks: run and compare.")
    group.addoption(
        "--mlrepro-lax", action="store_true",
        help="Test notebooks: run, and compare the cells marked NBVAL_CHECK_OUTPUT only.",
    )  # fmt: skip
    for names, settings in _OPTIONS:
        free = [name for name in names if not _taken(name, pluginmanager)]
        if free:
            group.addoption(*free, **settings)


def _taken(name: str, pluginmanager: pytest.PytestPluginManager) -> bool:
    """Whether an option is another plugin's, which may be loaded after this one."""
    owner = _OLD.get(name, name.removeprefix("--").partition("-")[0])
    return owner != "mlrepro" and find_spec(owner) is not None and not (
        pluginmanager.is_blocked(owner)
    )  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(args: list[str]) -> Generator[None, None, None]:
    """Say why an option of nbval's or nbmake's is not there, instead of that it is unknown."""
    for option, reason in _REFUSED.items():
        if option in args and _FLAGS & set(args):
            raise pytest.UsageError(reason)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what would test each notebook twice."""
    others = [name for name in ("nbval", "nbval_lax", "nbmake") if config.getoption(name, None)]
    if others and _wanted(config):
        flag = "--" + others[0].replace("_", "-")
        raise pytest.UsageError(f"--mlrepro takes the place of {flag}: give one of them.")
    both = config.getoption("mlrepro_current_env") and config.getoption("mlrepro_kernel_name")
    if both and _wanted(config):
        raise pytest.UsageError("A kernel's name and the current environment exclude each other.")


def _wanted(config: pytest.Config) -> bool:
    return bool(config.getoption("mlrepro") or config.getoption("mlrepro_lax"))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take the notebooks; of those in folders not the executed copies."""
    if file_path.suffix != ".ipynb" or not _wanted(parent.config):
        return None
    from mlrepro_nb.faces.pytest_plugin._notebook import Notebook, is_meant

    if not parent.session.isinitpath(file_path) and not is_meant(file_path):
        return None
    found: pytest.Collector = Notebook.from_parent(parent, path=file_path)
    return found


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a notebook's cells on one worker, whatever becomes of the other tests."""
    if not _wanted(config) or config.getoption("dist", None) not in (
        "load", "worksteal", "loadgroup"
    ):  # fmt: skip
        return None
    from mlrepro_nb.faces.pytest_plugin._distribution import scheduling

    return scheduling(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process that kernels come from."""
    from sys import modules

    loaded = modules.get("mlrepro_nb.faces.pytest_plugin._notebook")
    if loaded is not None:
        loaded.close(config)
