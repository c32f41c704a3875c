"""Which modules the user's code brought into the process, and through whom."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from mlrepro_nb.capture.environment.importers import Import, is_package

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


class UsedModules:
    """Top-level modules that are in the process, or in its workers, because of the user's code.

    The kernel's and the recorder's own are left out, unless they were not
    there before or a cell names them.

    Parameters
    ----------
    fresh : bool
        Whether no code of the user's has run in this process yet.
    """

    def __init__(self, *, fresh: bool) -> None:
        # What a kernel that ran nothing yet has imported, it imported for itself.
        self._before = top_levels() if fresh else top_levels() & _KERNEL
        self._importers: dict[str, set[str]] = {}
        self._in_workers: set[str] = set()
        """Those that a child process imported."""
        self._packages: set[str] = set()
        """Packages of which a child process imported a module."""
        self.stacks: dict[tuple[str, str], list[list[Any]]] = {}
        """The calls by which one library first imported another."""
        self.asked: set[tuple[str, str]] = set()
        """Of those the imports of which it is known whether they were only tried."""
        self.tried: set[tuple[str, str]] = set()
        """Of those the imports without which the importer would have gone on."""
        self.named: set[str] = set()
        """Those that import statements of cells, and of the project's modules, name."""
        self.by_programs: set[str] = set()
        """Those that Python programs which cells started import, as their sources say."""
        self.held: set[str] = set()
        """Those whose objects the user's variables hold."""

    def take(self, entries: Iterable[Import]) -> bool:
        """Learn from imports that have happened; return whether a top-level module came in."""
        before = len(self._importers)
        for entry in entries:
            if entry.module not in sys.modules:
                continue  # it was only tried
            top, by = entry.module.partition(".")[0], entry.importer.partition(".")[0]
            self._imported(top, by, entry.stack)
        return len(self._importers) > before

    def take_of_worker(self, edges: Iterable[Any], packages: Iterable[str]) -> None:
        """Learn from what a child process imported (`data.children`): it is not in this one."""
        for top, by, stack in edges:
            self._in_workers.add(top)
            self._imported(top, by, stack)
        self._packages.update(packages)

    def _imported(self, top: str, by: str, stack: Iterable[Iterable[Any]]) -> None:
        importers = self._importers.setdefault(top, set())
        if top != by:
            importers.add(by)
            if calls := [list(call) for call in stack]:
                self.stacks.setdefault((top, by), calls)

    def look(self, namespace: Mapping[str, Any]) -> None:
        """Learn from the user's variables which modules' objects they hold."""
        for name, value in list(namespace.items()):
            if name.startswith("_"):
                continue
            kind = type(value)
            with contextlib.suppress(Exception):  # a metaclass may answer with anything
                for module in (
                    value.__name__ if kind is _MODULE else None,
                    value.__module__ if kind is type else None,
                    kind.__module__,
                ):
                    if isinstance(module, str):
                        self.held.add(module.partition(".")[0])

    def names(self) -> list[str]:
        """Return the top-level modules, sorted."""
        tops = top_levels() | self._in_workers | self.by_programs
        found = tops - _KERNEL - self._before
        # rich by sklearn is as little the kernel's as any other.
        found |= {
            top for top in tops & _KERNEL - self._before if self._importers.get(top, set()) & found
        }
        found -= self._ours(found)
        found |= (self.named & tops) | self.by_programs
        return sorted(found - sys.stdlib_module_names - {"__main__"})

    def _ours(self, found: set[str]) -> set[str]:
        """Return the modules that only the recorder, or what it imported, asked for."""
        ours = {"mlrepro_nb"}
        while True:
            more = {
                top
                for top in found - ours - self.named - self.held
                if (by := self._importers.get(top)) and by <= ours
            }
            if not more:
                return ours
            ours |= more

    def packages(self, tops: Iterable[str]) -> list[str]:
        """Return the packages below top-level modules, and these, that have a module loaded."""
        wanted = set(tops)
        found = {name for name in self._packages if name.partition(".")[0] in wanted}
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in wanted:
                found.add(name if is_package(module) else name.rpartition(".")[0])
        return sorted(found - {""})

    def report(self) -> dict[str, Any]:
        """Return the modules, those that the user's own code uses, and who imported them."""
        names = self.names()
        return {
            "modules": names,
            "direct": sorted((self.named | self.by_programs | self.held) & set(names)),
            "by": {top: sorted(self._importers[top]) for top in names if top in self._importers},
            "tried": {
                top: by for top in names if (by := sorted(i for t, i in self.tried if t == top))
            },
            # For whoever makes the record, if this process ends before it is known.
            "unasked": [[top, by, stack] for (top, by), stack in self.open(names)],
        }

    def open(self, names: Iterable[str]) -> list[tuple[tuple[str, str], list[list[Any]]]]:
        """Return the imports of which it is not known whether they were only tried."""
        wanted = set(names)
        return [
            (edge, stack)
            for edge, stack in self.stacks.items()
            if edge[0] in wanted and edge not in self.asked
        ]


_MODULE = type(sys)


def top_levels() -> set[str]:
    """Return the top-level modules of the process."""
    return {name.partition(".")[0] for name in list(sys.modules)}
