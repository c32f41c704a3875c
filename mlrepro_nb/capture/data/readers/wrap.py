"""Wrapping functions and classes of other people's modules, and letting go of them again."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from mlrepro_nb.capture.stand_ins import let_pickle_find

Note = Callable[[tuple[Any, ...], dict[str, Any]], None]
"""Is told a call's arguments before the function sees them. It never raises."""

_ABSENT = object()
_HERE = str(Path(__file__).parents[1]) + "/"


class Wrappers:
    """What stands in for functions and classes, until `restore`.

    A stand-in cannot be told from what it stands for by its name, signature,
    documentation, pickle or by `isinstance`; its own line does not show in the
    traceback that a notebook prints.
    """

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, module: ModuleType, attribute: str, note: Note) -> None:
        """Have `note` told of the calls of a function, a class, or ``Class.method`` of a module."""
        owner: Any = module
        *parents, name = attribute.split(".")
        for parent in parents:
            owner = getattr(owner, parent, None)
        if owner is None or getattr(owner, name, None) is None:
            return
        if isinstance(owner, type):
            self._replace(owner, name, _method(owner, name, note))
            return
        original = getattr(owner, name)
        if isinstance(original, type):
            stand_in = class_stand_in(original, note, module.__name__)
            self._everywhere(module, name, original, stand_in, native=False)
        elif callable(original):
            self._everywhere(module, name, original, _function(original, note), native=True)

    def replace(self, module: ModuleType, name: str, stand_in: Any) -> None:
        """Put something in the place of what a module's package knows by a name."""
        self._everywhere(module, name, getattr(module, name), stand_in, native=False)

    def restore(self) -> None:
        """Put everything back, except where something else has been put in its place since."""
        for owner, name, original, stand_in in reversed(self._replaced):
            if vars(owner).get(name) is not stand_in:
                continue
            with contextlib.suppress(AttributeError, TypeError):
                if original is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)
        self._replaced.clear()

    def replace_method(self, owner: type, name: str, stand_in: Any) -> None:
        """Put something in the place of a class's method."""
        self._replace(owner, name, stand_in)

    def leave_tracebacks(self, shell: Any) -> None:
        """Keep the wrappers' own lines out of the tracebacks that a shell prints."""
        original = getattr(shell, "_get_exc_info", None)
        if original is None:
            return

        @functools.wraps(original)
        def exc_info(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            with contextlib.suppress(Exception):
                etype, value, trace = found
                return etype, value, without_wrappers(value, trace)
            return found

        self._replace(shell, "_get_exc_info", exc_info)

    def _everywhere(
        self, module: ModuleType, name: str, original: Any, stand_in: Any, *, native: bool
    ) -> None:
        """Replace what other modules of the package took by name too, or pickling would fail."""
        self._replace(module, name, stand_in)
        top = module.__name__.partition(".")[0]
        for other_name, other in list(sys.modules.items()):
            if other is module or other_name.partition(".")[0] != top:
                continue
            file = getattr(other, "__file__", None) or ""
            if not native and not file.endswith(".py"):
                continue
            if getattr(other, "__dict__", {}).get(name) is original:
                self._replace(other, name, stand_in)
        let_pickle_find(stand_in, module, name)

    def _replace(self, owner: Any, name: str, stand_in: Any) -> None:
        original = vars(owner).get(name, _ABSENT)
        try:
            setattr(owner, name, stand_in)
        except (AttributeError, TypeError):
            return  # an immutable type: what it opens is left to the other layers
        self._replaced.append((owner, name, original, stand_in))


def _function(original: Any, note: Note) -> Any:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        note(args, kwargs)
        return original(*args, **kwargs)

    return wrapper


def _method(owner: type, name: str, note: Note) -> Any:
    raw = inspect.getattr_static(owner, name)
    if isinstance(raw, classmethod | types.ClassMethodDescriptorType):

        @functools.wraps(getattr(owner, name))
        def of_class(cls: Any, /, *args: Any, **kwargs: Any) -> Any:
            note((cls, *args), kwargs)
            return raw.__get__(None, cls)(*args, **kwargs)

        return classmethod(of_class)
    if isinstance(raw, staticmethod):
        return staticmethod(_function(raw.__func__, lambda a, k: note((None, *a), k)))
    return _function(getattr(owner, name), note)


def class_stand_in(
    original: type, note: Note | None, module: str, made: type | None = None
) -> type:
    """Return a class that makes another's instances, and notes the arguments first.

    The methods of a class of an extension module cannot be set, and some have no
    subclasses.

    Parameters
    ----------
    original : type
        The class.
    note : callable or None
        Is told the arguments.
    module : str
        Where the stand-in can be found under the class's name, for pickling.
    made : type, optional
        A subclass whose instances are to be made instead.
    """
    maker = made or original

    class Meta(type):
        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **k: Any) -> Any:
            if not any(type(base) is cls for base in bases):
                return super().__new__(cls, name, bases, body)
            # A subclass of the stand-in is one of the class itself.
            real = tuple(maker if type(base) is cls else base for base in bases)
            return types.new_class(name, real, k, lambda namespace: namespace.update(body))

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            if note is not None:
                note(args, kwargs)
            return maker(*args, **kwargs)

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, original)

        def __subclasscheck__(cls, subclass: Any) -> bool:
            return issubclass(subclass, (original, cls.__mro__[0])) if subclass is not cls else True

        def __eq__(cls, other: object) -> bool:
            return other is cls or other is original or other is made

        def __hash__(cls) -> int:
            return hash(original)

        def __getattribute__(cls, name: str) -> Any:
            # What describes the class and what it offers is the original's.
            if name in ("__class__", "__module__", "__mro__", "__dict__", "__wrapped__"):
                return type.__getattribute__(cls, name)
            return getattr(original, name)

        def __dir__(cls) -> list[str]:
            return dir(original)

        def __repr__(cls) -> str:
            return repr(original)

    body = {
        "__module__": module,
        "__doc__": original.__doc__,
        "__qualname__": original.__qualname__,
    }
    try:
        stand_in: type = Meta(original.__name__, (original,), dict(body))
    except TypeError:  # it has no subclasses
        stand_in = Meta(original.__name__, (), body)
    return stand_in


def without_wrappers(
    value: BaseException | None, trace: TracebackType | None
) -> TracebackType | None:
    """Return a traceback without the wrappers' lines, nor in those of the exceptions behind it."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        error.__traceback__ = _cleaned(error.__traceback__)
        waiting += [error.__cause__, error.__context__]
    return _cleaned(trace)


def _cleaned(trace: TracebackType | None) -> TracebackType | None:
    kept = [one for one in _links(trace) if not _is_ours(one)]
    for one, following in zip(kept, [*kept[1:], None], strict=True):
        if one.tb_next is not following:
            one.tb_next = following
    return kept[0] if kept else trace


def _is_ours(one: TracebackType) -> bool:
    return one.tb_frame.f_code.co_filename.startswith(_HERE)


def _links(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next
