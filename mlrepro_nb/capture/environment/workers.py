"""What child processes import: told whenever they send something."""

from __future__ import annotations

import os
import sys

from mlrepro_nb.capture.data import sending
from mlrepro_nb.capture.data.children import Reporter, reporter
from mlrepro_nb.capture.environment.importers import Calls, ImportLog, is_package, source_of


def begin(reporter: Reporter) -> None:
    """In a new interpreter: tell from now on what is imported."""
    log = ImportLog()
    log.start()
    worker = WorkerImports(log)
    worker.start()
    worker.tell(reporter)


class WorkerImports:
    """In a child process: tells its kernel what was imported there, and not before it began.

    Parameters
    ----------
    log : ImportLog
        Notes the imports of this process.
    """

    def __init__(self, log: ImportLog) -> None:
        self._log = log
        self._reporter: Reporter | None = None
        self._told = 0

    def start(self) -> None:
        """Begin: in the kernel nothing is told, but in each process that is forked from it."""
        sending.attach(self.tell_imports)
        os.register_at_fork(after_in_child=lambda: self.tell(reporter()))

    def stop(self) -> None:
        """Tell no more."""
        sending.detach(self.tell_imports)

    def tell(self, reporter: Reporter | None) -> None:
        """Tell from now on, if there is who tells the kernel."""
        self._reporter, self._told = reporter, len(self._log.entries)

    def tell_imports(self) -> None:
        """In a child process: tell what was imported since the last time."""
        entries = self._log.entries
        if self._reporter is None or len(entries) == self._told:
            return
        new, self._told = entries[self._told :], len(entries)
        edges: dict[tuple[str, str], Calls] = {}
        sources, packages = [], set[str]()
        for entry in new:
            module = sys.modules.get(entry.module)
            if module is None:
                continue  # it was only tried
            top, by = entry.module.partition(".")[0], entry.importer.partition(".")[0]
            # Of a thousand modules of one library the first tells who asked for it.
            if top not in sys.stdlib_module_names:
                edges.setdefault((top, by), entry.stack)
            if (file := source_of(entry.module)) is not None:
                sources.append((entry.module, file, entry.moment))
            packages.add(entry.module if is_package(module) else entry.module.rpartition(".")[0])
        self._reporter.imported(
            edges=[[*edge, stack] for edge, stack in edges.items()],
            sources=sources,
            packages=sorted(packages),
        )
