"""The generators that a namespace holds: by name, and one level inside what it holds."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import compress, islice
from operator import itemgetter
from types import FunctionType, ModuleType
from typing import Any

from mlrepro_nb.capture.randomness.callers import is_users_file

_MOST_INSIDE = 64
"""Items of a container, or attributes of an object, that are looked at."""
_MOST_INSIDE_OF = 2_000
"""Containers and objects that are looked into."""
_MOST_GENERATORS = 64

_VALUE = itemgetter(1)
_SKIP, _GENERATOR, _DICT, _SEQUENCE, _OBJECT, _MODULE = range(6)
_PLAIN: dict[type, int] = {
    **dict.fromkeys((int, float, str, bytes, bool, complex, type(None), type, FunctionType), _SKIP),
    dict: _DICT,
    list: _SEQUENCE,
    tuple: _SEQUENCE,
    ModuleType: _MODULE,
    random.Random: _GENERATOR,
}


class Generators:
    """Finds the generators in a namespace, again and again.

    Looked at are the names, one level of dicts, lists, tuples and objects'
    attributes, and the names of the user's own modules.
    """

    def __init__(self) -> None:
        self._kinds: dict[type, int] = dict(_PLAIN)
        self._classes: set[type] = {random.Random}
        self._known = 0
        self.cut = False
        """Whether there was more than is looked at."""

    def find(self, namespace: Mapping[str, Any], hidden: Iterable[str] = ()) -> dict[str, Any]:
        """Return the generators by where they are: ``rng``, ``model.rng``, ``parts[0]``."""
        self._learn()
        found, seen = dict[str, Any](), set[int]()
        deeper: list[tuple[str, Any, int]] = []
        # Most names are of no interest: they are passed over without a loop of Python's.
        items = list(namespace.items())
        types = list(map(type, map(_VALUE, items)))
        for new in set(types).difference(self._kinds):
            self._learn_class(new)
        kinds = list(map(self._kinds.__getitem__, types))
        for (name, value), kind in zip(compress(items, kinds), filter(None, kinds), strict=True):
            if name[:1] == "_" or name in hidden:
                continue
            if kind != _GENERATOR:
                deeper.append((name, value, kind))
            elif id(value) not in seen:
                seen.add(id(value))
                found[name] = value
        for place, item in self._deeper(deeper[:_MOST_INSIDE_OF]):
            if type(item) in self._classes and id(item) not in seen:
                seen.add(id(item))
                found[place] = item
        self.cut = len(deeper) > _MOST_INSIDE_OF or len(found) > _MOST_GENERATORS
        return dict(list(found.items())[:_MOST_GENERATORS])

    def _deeper(self, holders: Iterable[tuple[str, Any, int]]) -> Iterator[tuple[str, Any]]:
        """Yield what stands in those holders in which there is a generator."""
        classes = self._classes
        for name, value, kind in holders:
            if kind == _SEQUENCE:
                if not classes.isdisjoint(map(type, value[:_MOST_INSIDE])):
                    for index, item in islice(enumerate(value), _MOST_INSIDE):
                        yield f"{name}[{index}]", item
            elif kind == _DICT:
                if len(value) <= _MOST_INSIDE and not classes.isdisjoint(
                    map(type, list(value.values()))
                ):
                    for key, item in list(value.items()):
                        yield f"{name}[{key!r}]"[:80], item
            else:
                own = _attributes(value, kind)
                if not classes.isdisjoint(map(type, list(own.values()))):
                    for key, item in list(own.items()):
                        yield f"{name}.{key}", item

    def _learn(self) -> None:
        """Take in the classes of libraries that have been imported meanwhile."""
        numpy, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
        state = (numpy is not None) + 2 * (torch is not None)
        if state == self._known:
            return
        self._known = state
        for module, names in ((numpy, ("Generator", "RandomState")), (torch, ("Generator",))):
            for name in names:
                cls = getattr(module, name, None)
                if isinstance(cls, type):
                    self._kinds[cls] = _GENERATOR
                    self._classes.add(cls)
                elif module is not None:
                    self._known = -1  # half imported

    def _learn_class(self, cls: type) -> None:
        kind = _SKIP
        if issubclass(cls, random.Random) and not issubclass(cls, random.SystemRandom):
            kind = _GENERATOR
            self._classes.add(cls)
        elif issubclass(cls, ModuleType):
            kind = _MODULE
        elif getattr(cls, "__dictoffset__", 0) and not issubclass(cls, type):
            kind = _OBJECT
        self._kinds[cls] = kind


def kind_of(generator: Any) -> str:
    """Return its library and class: ``numpy.Generator``, ``random.Random``."""
    if isinstance(generator, random.Random):
        return "random.Random"
    module = type(generator).__module__.partition(".")[0]
    return f"{module}.{type(generator).__name__}"


def _attributes(value: Any, kind: int) -> dict[str, Any]:
    """Return the attributes of an object, or of a module of the user's."""
    if kind == _MODULE and not is_users_file(getattr(value, "__file__", None)):
        return {}
    # Not through the object's own __getattr__: a lazy one would begin to work.
    try:
        own = object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001 - the user's class
        return {}
    most = _MOST_INSIDE * (16 if kind == _MODULE else 1)
    return own if type(own) is dict and len(own) <= most else {}
