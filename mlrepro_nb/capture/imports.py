"""What is done when a module is imported: noting it, surrounding it, and following it up.

One finder does it for all who want it: each that stands on ``sys.meta_path`` is asked for
each of the two thousand modules of an import of scikit-learn.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Protocol

Callback = Callable[[ModuleType], None]
Note = Callable[[str], None]
"""Takes the name of a module."""


class Surrounding(Protocol):
    """What stands around the outermost import of a module, and so around all that it imports."""

    @property
    def inside(self) -> bool:
        """Whether this thread is within one."""

    def around(self, name: str, spec: ModuleSpec) -> AbstractContextManager[None] | None:
        """Return what to enter while a module's code runs, or None."""


class ImportHook:
    """Calls back once each of some modules has been imported, or at once if it is already.

    What a callback raises is dropped: the user's import goes on.
    """

    def __init__(self, callbacks: dict[str, Callback]) -> None:
        self._callbacks = callbacks
        self._done: set[str] = set()

    def start(self) -> None:
        """Watch imports from now on."""
        _finder.hooks.append(self)
        _finder.names.update(self._callbacks)
        _finder.stand()
        for name in self._callbacks:
            module = sys.modules.get(name)
            # A module that is half imported has a spec that says so.
            if module is not None and not getattr(module.__spec__, "_initializing", False):
                self.imported(name, module)

    def stop(self) -> None:
        """Watch no more; what was done to modules stays."""
        if self in _finder.hooks:
            _finder.hooks.remove(self)
        _finder.leave()

    def wants(self, name: str) -> bool:
        """Return whether a module is waited for."""
        return name in self._callbacks and name not in self._done

    def imported(self, name: str, module: ModuleType) -> None:
        """Call back for a module that was imported."""
        if not self.wants(name):
            return
        self._done.add(name)
        with contextlib.suppress(Exception):
            self._callbacks[name](module)


def attach(*, note: Note | None = None, surrounding: Surrounding | None = None) -> None:
    """Have each import noted before it happens, or surrounded: one does each in a process."""
    _finder.note = note or _finder.note
    _finder.surrounding = surrounding or _finder.surrounding
    _finder.stand()


def detach(*, note: Note | None = None, surrounding: Surrounding | None = None) -> None:
    """Note or surround no more, unless another does it by now."""
    if _finder.note == note:
        _finder.note = None
    if _finder.surrounding is surrounding:
        _finder.surrounding = None
    _finder.leave()


class _Finder:
    """Stands first on ``sys.meta_path`` and finds what the others find."""

    def __init__(self) -> None:
        self.note: Note | None = None
        self.surrounding: Surrounding | None = None
        self.hooks: list[ImportHook] = []
        self.names: set[str] = set()
        """All that a hook ever waited for: of most modules this is the only question."""
        self._finding = threading.local()

    def stand(self) -> None:
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def leave(self) -> None:
        wanted = self.hooks or self.note is not None or self.surrounding is not None
        if not wanted and self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        # Called for each module that is imported: nothing may be slow before the return.
        if self.note is not None:
            self.note(name)
        surrounding = self.surrounding
        if surrounding is not None and surrounding.inside:
            surrounding = None
        if surrounding is None and name not in self.names:
            return None
        spec = self._found(name, path, target)
        if spec is None or not hasattr(spec.loader, "exec_module"):
            return spec
        around: AbstractContextManager[None] | None = None
        if surrounding is not None:
            with contextlib.suppress(Exception):  # the user's import goes on
                around = surrounding.around(name, spec)
        if around is not None or any(hook.wants(name) for hook in self.hooks):
            self._follow(name, spec, around or contextlib.nullcontext())
        return spec

    def _found(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        # A finder that asks all finders for the module that it was asked for meets us again.
        names: set[str] = self._finding.__dict__.setdefault("names", set())
        if name in names:
            return None
        names.add(name)
        try:
            for finder in sys.meta_path:
                if finder is not self and hasattr(finder, "find_spec"):
                    spec: ModuleSpec | None = finder.find_spec(name, path, target)
                    if spec is not None:
                        return spec
        finally:
            names.discard(name)
        return None

    def _follow(self, name: str, spec: ModuleSpec, around: AbstractContextManager[None]) -> None:
        loader: Any = spec.loader
        original = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # The loader is given back as it was before the module sees it.
            loader.__dict__.pop("exec_module", None)
            with around:
                original(module)
                for hook in list(self.hooks):
                    hook.imported(name, module)

        with contextlib.suppress(AttributeError, TypeError):  # a loader that takes none
            loader.exec_module = exec_module


_finder = _Finder()
