"""Who imported what: the first importer of each module, noted as the import happens."""

# ruff: noqa: PTH117
from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterator
from importlib import _bootstrap
from types import FrameType
from typing import Any

import msgspec

from mlrepro_nb.capture import imports
from mlrepro_nb.capture.data.paths import is_source

# They import on behalf of whoever called them: importlib, pickle, pkgutil, runpy…
_MEDIATORS = frozenset(sys.stdlib_module_names) - {"__main__"}
_DEEPEST = 100
_FINDERS = 20
# Every import has several frames of these: they are passed by identity, not by name.
_BOOTSTRAP = vars(_bootstrap)
_LOADING = _bootstrap._find_and_load_unlocked.__code__  # type: ignore[attr-defined]  # noqa: SLF001


def file_of(module: Any) -> str | None:
    """Return the file of an entry of ``sys.modules``, without waking a module that loads lazily."""
    file = _names_of(module).get("__file__")
    return file if isinstance(file, str) else None


def source_of(name: str) -> str | None:
    """Return the file of a module that is in the process, if it is no distribution's."""
    if name == "__main__":
        return None
    file = file_of(sys.modules.get(name))
    if file is None or not os.path.isabs(file) or not is_source(file):
        return None
    return os.path.normpath(file)  # of `sys.path.append("..")` it says so


def is_package(module: Any) -> bool:
    """Return whether an entry of ``sys.modules`` can have modules in it."""
    return "__path__" in _names_of(module)


def _names_of(module: Any) -> dict[str, Any]:
    try:
        names = object.__getattribute__(module, "__dict__")
    except Exception:  # noqa: BLE001 - anything can be in there
        return {}
    return names if isinstance(names, dict) else {}


Calls = tuple[tuple[str, int], ...]
"""File and line of each."""


class Import(msgspec.Struct, frozen=True):
    """An import that was tried."""

    module: str
    importer: str
    """The module whose code asked for it; ``__main__`` is a cell."""
    moment: float
    """`time.time` before the module's code ran."""
    stack: Calls = ()
    """File and line of the calls that led here, innermost first, up to the cell; of the first
    import of a library by another one."""


class ImportLog:
    """Notes who asks for each module that comes into the process.

    Only the first import of a module and a reload pass by here: what is in
    ``sys.modules`` already is taken from there.
    """

    def __init__(self) -> None:
        self.entries: list[Import] = []
        """All imports, oldest first; only ever appended to."""
        self.again: set[str] = set()
        """Modules of which a second import is noted too."""
        self._seen: set[str] = set()
        self._edges: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Note imports from now on."""
        imports.attach(note=self.note)

    def stop(self) -> None:
        """Note no more."""
        imports.detach(note=self.note)

    def note(self, name: str) -> None:
        """Note who imports a module; the finders find it afterwards."""
        if name in self._seen and name not in self.again:
            return
        try:  # no context manager: this runs for each of the modules of an import
            frame: FrameType | None = sys._getframe(3)  # noqa: SLF001
            if _is_question(frame):
                return
            self._seen.add(name)
            while frame is not None and frame.f_globals is _BOOTSTRAP:
                frame = frame.f_back
            top = name.partition(".")[0]
            asking = frame.f_globals["__name__"] if frame is not None else "?"
            by = None if _mediates(asking) else asking.partition(".")[0]
            # Most are asked for by their own package: this is all that they cost.
            if by in (top, "__main__") or (top, by) in self._edges:
                self.entries.append(Import(name, asking, time.time()))
            else:
                self._note_calls(name, top, frame)
        except Exception:  # noqa: BLE001 - whatever a module's globals hold: it is imported
            return

    def _note_calls(self, name: str, top: str, frame: FrameType | None) -> None:
        by, importer, stack = top, "?", list[tuple[str, int]]()
        alone, walked = True, False
        for asking, caller in _callers(frame):
            if asking == "pkgutil":
                if importer == "?":
                    continue
                walked = alone
            elif importer == "?" or (walked and asking != "__main__"):
                # What a package imports only because a walk came by, the walker does.
                importer, by, walked = asking, asking.partition(".")[0], False
                if top == by or (top, by) in self._edges or asking == "__main__":
                    break
                self._edges.add((top, by))
            alone = alone and asking.partition(".")[0] in (by, "pkgutil")
            if asking == "__main__" or len(stack) == _DEEPEST:
                break
            # Which line it is costs more than all the rest.
            stack.append((caller.f_code.co_filename, caller.f_lineno))
        self.entries.append(Import(name, importer, time.time(), tuple(stack)))


def _callers(frame: FrameType | None) -> Iterator[tuple[str, FrameType]]:
    """Yield who calls, innermost first: the module, and its frame."""
    while frame is not None:
        names = frame.f_globals
        if names is not _BOOTSTRAP:
            asking = names.get("__name__")
            if isinstance(asking, str) and (asking == "pkgutil" or not _mediates(asking)):
                yield asking, frame
        frame = frame.f_back


@functools.cache
def _mediates(asking: str) -> bool:
    """Return whether a module imports for others."""
    # A walk over packages imports them all, and goes on without what fails.
    return asking == "mlrepro_nb.capture.imports" or asking.partition(".")[0] in _MEDIATORS


def _is_question(frame: FrameType | None) -> bool:
    """Return whether somebody only asks where a module is (`importlib.util.find_spec`).

    Between that and here may be other finders that ask the ones after them.
    """
    for _ in range(_FINDERS):
        if frame is None or frame.f_code is _LOADING:
            return False
        if frame.f_globals.get("__name__") == "importlib.util":
            return True
        frame = frame.f_back
    return False
