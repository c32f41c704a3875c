"""What has to be added to what is installed, so that some packages work. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import msgspec

from mlrepro_nb.connect.debian._control import Package, Relation, compare, dependencies


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """Packages to be added, by name."""

    packages: tuple[Package, ...]
    others: dict[str, str]
    """Version that was asked for, by name, of those of which the archives have only another."""
    absent: tuple[str, ...]
    """Names that the archives do not know."""
    unmet: tuple[str, ...]
    """What they need and cannot have beside what is installed."""


def resolve(
    wanted: Mapping[str, str | None],
    installed: Iterable[Package],
    available: Iterable[Package],
) -> Resolved:
    """Return what to add to what is installed for wanted packages, with what they depend on.

    What is installed stays as it is. A wanted version is taken where it is
    available, else the newest.
    """
    return _Resolver(installed, available).all(wanted)


class _Resolver:
    def __init__(self, installed: Iterable[Package], available: Iterable[Package]) -> None:
        self.there = {p.name: p for p in installed}
        self.known: dict[str, list[Package]] = {}
        self.provided: dict[str, list[tuple[Package, Relation]]] = {}
        for package in available:
            self.known.setdefault(package.name, []).append(package)
            self._note(package)
        self.given: dict[str, list[Relation]] = {}
        for package in self.there.values():
            for ways in dependencies(package.provides):
                self.given.setdefault(ways[0].name, []).append(ways[0])
        place = functools.cmp_to_key(compare)
        for found in self.known.values():
            found.sort(key=lambda p: place(p.version), reverse=True)
        self.chosen: dict[str, Package] = {}
        self.unmet: list[str] = []
        self.wanted: dict[str, str | None] = {}

    def _note(self, package: Package) -> None:
        for ways in dependencies(package.provides):
            self.provided.setdefault(ways[0].name, []).append((package, ways[0]))

    def all(self, wanted: Mapping[str, str | None]) -> Resolved:
        """Choose all that is wanted."""
        self.wanted = dict(wanted)
        absent, others = [], {}
        for name, version in sorted(wanted.items()):
            relation = Relation(name=name)
            if self._is_there(relation):
                continue
            found = self._find(relation)
            if found is None:
                absent.append(name)
                continue
            if version is not None and found.version != version:
                others[name] = version
            self._add(found)
        return Resolved(
            packages=tuple(self.chosen[name] for name in sorted(self.chosen)),
            others=others,
            absent=tuple(absent),
            unmet=tuple(dict.fromkeys(self.unmet)),
        )

    def _is_there(self, relation: Relation) -> bool:
        for place in (self.there, self.chosen):
            package = place.get(relation.name)
            if package is not None and relation.accepts(package.version):
                return True
        for package in self.chosen.values():
            for ways in dependencies(package.provides):
                if ways[0].name == relation.name and _gives(ways[0], relation):
                    return True
        return any(_gives(given, relation) for given in self.given.get(relation.name, ()))

    def _find(self, relation: Relation) -> Package | None:
        """Return the package that a relation means: in the wanted version, else the newest."""
        fitting = [p for p in self.known.get(relation.name, ()) if relation.accepts(p.version)]
        wanted = self.wanted.get(relation.name)
        exact = next((p for p in fitting if p.version == wanted), None)
        if exact is None and not fitting:
            giving = [
                p for p, given in self.provided.get(relation.name, ()) if _gives(given, relation)
            ]
            # Of several that provide it, one that is wanted anyway.
            giving.sort(key=lambda p: (p.name not in self.wanted, p.name))
            fitting = giving
        return exact or (fitting[0] if fitting else None)

    def _add(self, package: Package) -> None:
        waiting = [package]
        while waiting:
            one = waiting.pop()
            if one.name in self.chosen:
                continue
            self.chosen[one.name] = one
            for ways in dependencies(one.depends):
                if any(self._is_there(way) for way in ways):
                    continue
                # What is installed in another version cannot be had besides.
                found = next(
                    (p for way in ways if (p := self._find(way)) and p.name not in self.there), None
                )
                if found is None:
                    text = " | ".join(
                        f"{w.name} ({w.operator} {w.version})" if w.operator else w.name
                        for w in ways
                    )
                    self.unmet.append(f"{one.name} needs {text}")
                else:
                    waiting.append(found)


def _gives(given: Relation, wanted: Relation) -> bool:
    """Whether what a package provides is what is asked for; without a version it has none."""
    return not wanted.operator or (bool(given.version) and wanted.accepts(given.version))
