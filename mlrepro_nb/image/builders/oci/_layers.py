"""The layers above the base image, those that change least first.

A layer is found in the cache by what it is made of, and made only if it is not
there. Big distributions have a layer each, which other images of other notebooks
share; the small ones are in one layer, joined from a piece for each.
"""

from __future__ import annotations

import os
import posixpath
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.connect import oci
from mlrepro_nb.errors import UsageError
from mlrepro_nb.image import _local
from mlrepro_nb.image._configuration import (
    LAB,
    LAYERS,
    LOCAL,
    NOT_COMPILED,
    WORKDIR,
    site_packages,
)
from mlrepro_nb.image._contents import ContextFile, identity
from mlrepro_nb.image._local import Wheel
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders.oci import _bytecode, _unpack
from mlrepro_nb.image.builders.oci._base import Facts
from mlrepro_nb.image.builders.oci._skeleton import (
    FORMAT,
    Made,
    folders,
    lab_skeleton,
    layer,
    skeleton,
)
from mlrepro_nb.model import Report, Step
from mlrepro_nb.store import Store

_BIG = 5 << 20
"""Bytes of a wheel from which it has a layer of its own."""
_MOST = 40
"""Layers of their own: overlayfs takes 128 in all."""
_WORKERS = max(2, min(8, os.cpu_count() or 1))
"""Threads that unpack, with a compiling child each: more than there are cores only get in each
other's way."""


class _Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel's entries, not yet ended as a layer."""

    digest: str
    size: int
    members: tuple[int, ...]
    paths: tuple[str, ...]
    folders: tuple[str, ...]


def dependencies(
    plan: Plan, facts: Facts, wheels: Sequence[Wheel], lab: Sequence[Wheel], downloads: oci.Cache,
    cache: oci.Cache, report: Report,
) -> tuple[Made, ...]:  # fmt: skip
    """Return the layers below the project's, all of them in `cache`; wheels are in `downloads`.

    Parameters
    ----------
    wheels, lab
        Of the recorded environment, and of JupyterLab's.
    """
    place = _unpack.venv(site_packages(plan), plan.python)
    # Only here: it imports what the plan imports of this package.
    from mlrepro_nb.image.system import packages

    with ThreadPoolExecutor(max_workers=1) as pool:
        own = pool.submit(_locals, plan, cache, report) if plan.local else None
        return (
            *([packages(plan, downloads, cache, report)] if plan.packages else []),
            skeleton(plan, facts, cache),
            *_lab(plan, facts, lab, downloads, cache, report),
            *_distributions(plan, place, wheels, plan.compile_only, downloads, cache, report),
            *([own.result()] if own else []),
        )


def _lab(
    plan: Plan, facts: Facts, wheels: Sequence[Wheel], downloads: oci.Cache, cache: oci.Cache,
    report: Report,
) -> list[Made]:  # fmt: skip
    """Return the layers of JupyterLab's environment."""
    if not wheels:
        return []
    place = _unpack.lab(site_packages(plan, LAB), plan.python)
    return [
        lab_skeleton(plan, facts, cache),
        *_distributions(plan, place, wheels, {}, downloads, cache, report),
    ]


# --- distributions


class _Compilers:
    """A compiling child for each thread, started when something has to be compiled.

    Parameters
    ----------
    only
        Of distributions that are compiled in part, the packages that are.
    """

    def __init__(self, plan: Plan, only: Mapping[str, Sequence[str]], report: Report) -> None:
        self._version = plan.python.rstrip("+") if plan.bytecode else None
        self._only = only
        self._report = report
        self._python = ""
        self._lock = threading.Lock()
        self._started: list[_bytecode.Compiler] = []
        self._mine = threading.local()

    def __enter__(self) -> _Compilers:
        return self

    def __exit__(self, *_: object) -> None:
        for compiler in self._started:
            compiler.close()

    def about(self, distribution: str) -> Any:
        """Return what of the compiler a distribution's entries depend on."""
        if self._stays_source(distribution):
            return None
        only = self._only.get(distribution)
        return [_bytecode.FORMAT, self._version, NOT_COMPILED, only]

    def of(self, distribution: str, site: str) -> _unpack.Compile | None:
        """Return what compiles a distribution's modules; None if they stay source."""
        if self._stays_source(distribution):
            return None
        only = self._only.get(distribution)
        folders = {site, *(f"{site}/{name.replace('.', '/')}" for name in only or ())}

        def of(path: str) -> Callable[[bytes], bytes | None] | None:
            if only is not None and posixpath.dirname(path) not in folders:
                return None
            return partial(self._compile, path)

        return of

    def _stays_source(self, distribution: str) -> bool:
        only = self._only.get(distribution)
        return self._version is None or (only is not None and not only)

    def _compile(self, path: str, source: bytes) -> bytes | None:
        """Compile in this thread's child."""
        mine: _bytecode.Compiler | None = getattr(self._mine, "compiler", None)
        if mine is None:
            with self._lock:
                self._python = self._python or _bytecode.interpreter(
                    self._version or "", self._report
                )
                mine = self._mine.compiler = _bytecode.Compiler(self._python)
                self._started.append(mine)
        return mine.compile(path, source)


def _distributions(
    plan: Plan, place: _unpack.Place, wheels: Sequence[Wheel],
    only: Mapping[str, Sequence[str]], downloads: oci.Cache, cache: oci.Cache, report: Report,
) -> list[Made]:  # fmt: skip
    if not wheels:
        return []
    big = sorted((w for w in wheels if w.size >= _BIG), key=lambda w: (-w.size, w.distribution))
    alone = {w.distribution for w in big[:_MOST]}
    done = 0
    counting = threading.Lock()

    def told(what: str) -> None:
        nonlocal done
        with counting:
            done += 1
            report(Step(message=f"unpacking {what}", done=float(done), total=float(len(wheels))))

    # A layer of its own is shared by images of which each imports something else of it.
    only = {name: packages for name, packages in only.items() if not packages or name not in alone}
    with _Compilers(plan, only, report) as compilers:

        def about(wheel: Wheel) -> Any:
            return {
                "place": place,
                "folders": folders(place.site, place.root),
                "bytecode": compilers.about(wheel.distribution),
                "wheel": [wheel.filename, wheel.digest],
            }

        def contents(wheel: Wheel, writer: oci.LayerWriter) -> tuple[str, ...]:
            told(wheel.distribution)
            writer.known(*folders(place.site, place.root))
            return _unpack.unpack(
                wheel.filename, downloads.blob(wheel.digest), place, writer,
                compilers.of(wheel.distribution, place.site),
            )  # fmt: skip

        def alone_in(wheel: Wheel) -> Made:
            return layer(
                wheel.distribution, about(wheel), cache, lambda writer: contents(wheel, writer)
            )

        def piece(wheel: Wheel) -> _Piece:
            return _piece(about(wheel), cache, lambda writer: contents(wheel, writer))

        # The biggest first: it takes the longest.
        ordered = sorted(wheels, key=lambda w: (-w.size, w.distribution))
        pool = ThreadPoolExecutor(max_workers=_WORKERS)
        try:
            # Pieces before layers: they are joined while those are made.
            parts = {w: pool.submit(piece, w) for w in ordered if w.distribution not in alone}
            layers = {w: pool.submit(alone_in, w) for w in ordered if w.distribution in alone}
            pieces: list[_Piece] = []
            later: list[Wheel] = []
            taken: set[str] = set()
            for wheel in (w for w in wheels if w in parts):
                part = parts[wheel].result()
                if taken.isdisjoint(part.paths):
                    pieces.append(part)
                    taken.update(part.paths)
                else:
                    # Two distributions with one file: as pip would have it, the later one's stays.
                    later.append(wheel)
            joined = [_joined(pieces, cache)] if pieces else []
            made = [layers[w].result() for w in wheels if w in layers]
        finally:
            pool.shutdown(cancel_futures=True)
        return [*made, *joined, *map(alone_in, later)]


def _piece(
    about: Any, cache: oci.Cache, write: Callable[[oci.LayerWriter], tuple[str, ...]]
) -> _Piece:
    key = {"piece": FORMAT, "compressor": oci.COMPRESSOR, "of": about}
    try:
        found = msgspec.convert(cache.note(key), _Piece)
        if cache.has(found.digest, found.size):
            return found
    except msgspec.ValidationError:
        pass
    with cache.writing() as file:
        writer = oci.LayerWriter(file, part=True)
        paths = write(writer)
        writer.flush()
        found = _Piece(
            digest=writer.digest, size=writer.size, members=tuple(writer.members), paths=paths,
            folders=tuple(writer.folders),
        )  # fmt: skip
        cache.keep(file, cache.blob(found.digest))
    cache.write_note(key, found)
    return found


def _joined(pieces: Sequence[_Piece], cache: oci.Cache) -> Made:
    def write(writer: oci.LayerWriter) -> None:
        for folder in sorted({folder for piece in pieces for folder in piece.folders}):
            writer.folder(folder)
        for piece in pieces:
            writer.join(cache.blob(piece.digest), piece.members)

    return layer("the other distributions", [p.digest for p in pieces], cache, write)


def _locals(plan: Plan, cache: oci.Cache, report: Report) -> Made:
    place = _unpack.local(plan.python)
    wheels = [_local.wheel(d, cache, report, plan.archived.get(d.name)) for d in plan.local]
    for wheel in wheels:
        if not wheel.filename.endswith("-any.whl"):
            report(
                Step(
                    message=f"{wheel.distribution} was compiled here: its digest depends on this "
                    "machine's compiler",
                    log=True,
                )
            )
    with _Compilers(plan, plan.compile_only, report) as compilers:

        def write(writer: oci.LayerWriter) -> None:
            writer.folder(LOCAL.lstrip("/"))
            for wheel in wheels:
                report(Step(message=f"unpacking {wheel.distribution}"))
                _unpack.unpack(
                    wheel.filename, cache.blob(wheel.digest), place, writer,
                    compilers.of(wheel.distribution, place.site),
                )  # fmt: skip

        about = {
            "place": place,
            "bytecode": [compilers.about(w.distribution) for w in wheels],
            "wheels": [[w.filename, w.digest] for w in wheels],
        }
        return layer("what comes from no index", about, cache, write)


# --- the project


def project(plan: Plan, cache: oci.Cache, store: Store, report: Report) -> tuple[Made, ...]:
    """Return the layers of the project's files."""
    return tuple(
        _files(name, where, files, cache, store, report)
        for name, where in LAYERS
        if (files := plan.layer(name))
    )


def _files(
    name: str, where: str, files: Iterable[ContextFile], cache: oci.Cache, store: Store,
    report: Report,
) -> Made:  # fmt: skip
    ordered = sorted(files, key=lambda f: f.path)
    about = {"where": where, "files": [[f.path, identity(f, store)] for f in ordered]}
    root = where.strip("/")
    work = WORKDIR.strip("/")

    def write(writer: oci.LayerWriter) -> None:
        report(Step(message=f"packing the {name}"))
        writer.folder(work)
        for file in ordered:
            path = f"{root}/{file.path}"
            writer.parents(path, work)
            if file.source is None:
                writer.file(path, file.content or b"")
            else:
                with Path(file.source).open("rb") as stream:
                    writer.file(path, stream)
        if {"where": where, "files": [[f.path, identity(f, store)] for f in ordered]} != about:
            raise UsageError(
                f"The {name} changed while it was packed.", "Wait until nothing writes to it."
            )

    return layer(f"the {name}", about, cache, write)
