"""The project's own modules: what they held when they were loaded, and loaded again."""

# Paths stay strings here: this runs for every module that is imported.
# ruff: noqa: PTH119
from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.capture.cells.source import imported_names
from mlrepro_nb.capture.data.hashing import hash_file, regular, signature
from mlrepro_nb.capture.environment.importers import Import, file_of, source_of

_LONGEST = 1 << 20


class _Loaded(msgspec.Struct):
    """A source file that is in the process."""

    name: str
    signature: tuple[int, ...]
    versions: list[dict[str, Any]]


class LocalModules:
    """The modules whose source is no distribution's.

    Parameters
    ----------
    gap : callable
        Is told what could not be seen.
    """

    def __init__(self, gap: Callable[[str], None]) -> None:
        self._gap = gap
        self._lock = threading.RLock()
        self._found: dict[str, _Loaded] = {}
        self._ran: dict[str, int | None] = {}
        self.imports: set[str] = set()
        """Top-level modules that their import statements name."""

    def take(self, entries: Iterable[Import], order: int | None) -> set[str]:
        """Read the sources of modules that an execution imported; return the modules' names."""
        found = set()
        for entry in entries:
            file = source_of(entry.module)
            if file is not None:
                found.add(entry.module)
                self._read(file, entry.module, order, entry.moment)
        return found

    def take_of_worker(self, sources: Iterable[tuple[str, str, float]], order: int | None) -> None:
        """Read the sources of modules that a child process of an execution's imported."""
        for name, file, moment in sources:
            self._read(file, name, order, moment)

    def take_process(self) -> set[str]:
        """Read the sources of all modules that are in the process and were not read yet."""
        found = set()
        for name in list(sys.modules):
            file = source_of(name)
            if file is not None and file not in self._found:
                found.add(name)
                self._read(file, name, None)
        return found

    def take_opened(self, sources: dict[str, int | None]) -> None:
        """Read the sources that cells opened themselves (``%run``), by the execution that did."""
        for path, order in list(sources.items()):
            known = self._found.get(path)
            # An import opens it as well, and so does a traceback.
            if known is not None and path not in self._ran:
                continue
            if path not in self._ran or self._ran[path] != order:
                module = _module_at(path) if known is None else None
                if module is None:
                    self._ran[path] = order
                self._read(path, module or Path(path).stem, order)

    def take_edited(self, order: int, began: float) -> None:
        """Read again what autoreload has brought in: files changed before an execution `began`."""
        for path, known in list(self._found.items()):
            status = regular(path)
            if status is None or signature(status) == known.signature:
                continue
            if status.st_mtime <= began:
                self._read(path, known.name, order)

    def report(self) -> list[dict[str, Any]]:
        """Return each module with the digest of what ran last, and of what ran before that."""
        found = []
        for path, known in sorted(self._found.copy().items()):
            last = known.versions[-1]
            entry = {"name": known.name, "absolute": path, "digest": last["digest"]}
            if len(known.versions) > 1:
                entry["versions"] = list(known.versions)
            found.append(entry)
        return found

    def _read(self, path: str, name: str, order: int | None, moment: float | None = None) -> None:
        with self._lock:
            self._read_now(path, name, order, moment)

    def _read_now(self, path: str, name: str, order: int | None, moment: float | None) -> None:
        digest = hash_file(path)
        if digest is None:
            return
        modified = digest.stat[3] / 1e9
        if moment is not None and moment < modified <= time.time():
            self._gap(
                f"{Path(path).name} was edited after it was imported and before the cell "
                "ended: what ran may be older than the recorded digest."
            )
        known = self._found.get(path)
        version = {"digest": digest.digest, "execution": order}
        if known is None:
            self._found[path] = _Loaded(name, digest.stat, [version])
        else:
            known.signature = digest.stat
            if known.versions[-1]["digest"] == digest.digest:
                return
            known.versions.append(version)
        if digest.size <= _LONGEST:
            try:
                text = Path(path).read_text(encoding="utf-8", errors="replace")
            except OSError:
                return
            self.imports |= imported_names(text)


def _module_at(path: str) -> str | None:
    """Return the module in the process that was made from a file."""
    end = os.path.basename(path)
    for name, module in list(sys.modules.items()):
        file = file_of(module) if name != "__main__" else None
        if file is not None and file.endswith(end) and os.path.normpath(file) == path:
            return name
    return None
