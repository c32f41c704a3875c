"""What libraries draw for themselves: while they are imported, and for ids and names.

Such a draw moves the stream that the user's code shares, but it is no draw of
the cell's: no result comes from it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Any

from mlrepro_nb.capture import imports
from mlrepro_nb.capture.randomness.callers import is_users_file

DRAWING = {
    # Its banner, for every front end that asks what kernel this is.
    "IPython.core.interactiveshell": ("pick_tip",),
    "mlflow.utils.name_utils": ("_generate_unique_integer_id", "_generate_random_name"),
    "opentelemetry.sdk.trace.id_generator": (
        "RandomIdGenerator.generate_span_id",
        "RandomIdGenerator.generate_trace_id",
    ),
}
"""Functions that draw an id or a name from the global `random`, by module."""


class LibraryDraws:
    """Tells apart, for the global generators, what only libraries drew since a cell began.

    Parameters
    ----------
    read : callable
        Return tokens of the states of the global generators, by name.
    """

    def __init__(self, read: Callable[[], dict[str, Any]]) -> None:
        self._read = read
        self._only: dict[str, Any] = {}
        self._by: dict[str, str] = {}
        self._thread = _Thread()
        self._on = False

    def start(self) -> None:
        """Begin to look at imports."""
        self._on = True
        imports.attach(surrounding=self)

    def stop(self) -> None:
        """Look no more."""
        self._on = False
        imports.detach(surrounding=self)

    def reset(self, states: dict[str, Any]) -> None:
        """Begin anew: a cell starts with these states."""
        self._only, self._by = dict(states), {}

    def by(self, name: str, state: Any) -> str | None:
        """Return the library that alone has moved a generator to a state."""
        return self._by.get(name) if self._only.get(name) == state else None

    @property
    def inside(self) -> bool:
        """Whether this thread is in the middle of a library's import."""
        return self._thread.depth > 0

    def around(self, name: str, spec: ModuleSpec) -> AbstractContextManager[None] | None:
        """Return what counts as the library's what its import draws, unless it is the user's."""
        if type(spec.loader) is not SourceFileLoader or is_users_file(spec.origin):
            return None
        return self.drawing(name.partition(".")[0], importing=True)

    @contextlib.contextmanager
    def drawing(self, library: str, *, importing: bool = False) -> Iterator[None]:
        """Count what is drawn inside as the library's."""
        if not self._on:
            yield
            return
        before = self._quietly()
        if importing:
            self._thread.depth += 1
        try:
            yield
        finally:
            if importing:
                self._thread.depth -= 1
            for name, state in self._quietly().items():
                # A generator that this import brought has nothing before.
                if name not in before:
                    self._only[name] = state
                elif state != before[name] and self._only.get(name) == before[name]:
                    self._only[name] = state
                    self._by[name] = library

    def _quietly(self) -> dict[str, Any]:
        try:
            return self._read()
        except Exception:  # noqa: BLE001 - an import must go on
            return {}

    def bracket(self, original: Callable[..., Any], library: str) -> Callable[..., Any]:
        """Return a function of a library's that draws for itself, watched."""

        @functools.wraps(original)
        def draws(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            with self.drawing(library):
                return original(*args, **kwargs)

        return draws


class _Thread(threading.local):
    depth = 0
    """Of imports of libraries within one another."""
