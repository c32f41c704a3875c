"""A layer found in the cache or written, and environments that have no distribution yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mlrepro_nb.connect import oci
from mlrepro_nb.image._configuration import (
    LAB,
    LOCAL,
    PTH,
    VENV,
    configuration,
    site_packages,
)
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders.oci._base import Facts

FORMAT = 4
"""Of how layers are laid out. Another one is another digest for the same plan."""

Write = Callable[[oci.LayerWriter], object]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A layer of the image, and what it is for."""

    title: str
    layer: oci.Layer
    system: bool = False
    """Whether there are files of the operating system in it."""


def layer(title: str, about: Any, cache: oci.Cache, write: Write) -> Made:
    """Return a layer by what it is made of, written if the cache does not have it."""
    key = {"layer": FORMAT, "compressor": oci.COMPRESSOR, "of": about}
    try:
        found = msgspec.convert(cache.note(key), oci.Layer)
        if cache.has(found.digest, found.size):
            return Made(title=title, layer=found)
    except msgspec.ValidationError:
        pass
    with cache.writing() as file:
        writer = oci.LayerWriter(file)
        write(writer)
        found = writer.end()
        cache.keep(file, cache.blob(found.digest))
    cache.write_note(key, found)
    return Made(title=title, layer=found)


def skeleton(plan: Plan, facts: Facts, cache: oci.Cache) -> Made:
    """Return an empty environment, as `python -m venv --without-pip` makes it on the base image."""
    texts, links = _empty(VENV, facts)
    site = site_packages(plan)
    texts[f"{site}/{PTH}"] = f"{LOCAL}\n"
    writable = configuration(plan).writable

    def write(writer: oci.LayerWriter) -> None:
        _write(writer, folders(site, VENV), links, texts)
        for path in writable:
            writer.folder(path.lstrip("/"), mode=0o1777)

    return layer("the environment", [texts, links, writable], cache, write)


def lab_skeleton(plan: Plan, facts: Facts, cache: oci.Cache) -> Made:
    """Return the empty environment of JupyterLab."""
    texts, links = _empty(LAB, facts)
    below = folders(site_packages(plan, LAB), LAB)

    def write(writer: oci.LayerWriter) -> None:
        _write(writer, below, links, texts)

    return layer("JupyterLab's environment", [texts, links], cache, write)


def _write(
    writer: oci.LayerWriter, below: list[str], links: dict[str, str], texts: dict[str, str]
) -> None:
    for folder in below:
        writer.folder(folder)
    for path, target in sorted(links.items()):
        writer.link(path.lstrip("/"), target)
    for path, text in sorted(texts.items()):
        writer.file(path.lstrip("/"), text.encode())


def _empty(root: str, facts: Facts) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files and the links of an environment that has no distribution yet."""
    home, _, name = facts.python.rpartition("/")
    texts = {
        f"{root}/pyvenv.cfg": (
            f"home = {home}\ninclude-system-site-packages = false\n"
            f"version = {name.removeprefix('python')}\n"
        ),
    }
    links = {
        f"{root}/bin/python": facts.python,
        f"{root}/bin/python3": "python",
        f"{root}/bin/{name}": "python",
        f"{root}/lib64": "lib",
    }
    return texts, links


def folders(site: str, environment: str) -> list[str]:
    """Return the folders that every part of an environment is in."""
    root = environment.lstrip("/")
    found = [root, f"{root}/bin"]
    at = root
    for part in site[len(environment) :].strip("/").split("/"):
        at = f"{at}/{part}"
        found.append(at)
    return found
