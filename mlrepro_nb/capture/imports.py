"""Doing something to a module as soon as it has been imported."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Callback = Callable[[ModuleType], None]


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
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        for name in self._callbacks:
            module = sys.modules.get(name)
            # A module that is half imported has a spec that says so.
            if module is not None and not getattr(module.__spec__, "_initializing", False):
                self.imported(name, module)

    def stop(self) -> None:
        """Watch no more; what was done to modules stays."""
        if self in _finder.hooks:
            _finder.hooks.remove(self)
        if not _finder.hooks and _finder in sys.meta_path:
            sys.meta_path.remove(_finder)

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


class _Finder:
    """Stands first on ``sys.meta_path`` and finds what the others find."""

    def __init__(self) -> None:
        self.hooks: list[ImportHook] = []
        self.names: set[str] = set()
        """All that a hook ever waited for: of most modules this is the only question."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.names or not any(hook.wants(name) for hook in self.hooks):
            return None
        spec = None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    break
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return None
        loader = spec.loader
        original = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # The loader is given back as it was before the module sees it.
            loader.__dict__.pop("exec_module", None)
            original(module)
            for hook in list(self.hooks):
                hook.imported(name, module)

        try:
            loader.exec_module = exec_module  # type: ignore[method-assign]
        except (AttributeError, TypeError):
            return None
        return spec


_finder = _Finder()
