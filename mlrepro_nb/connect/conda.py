"""conda's and pixi's environments, read from what they keep on disk."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlrepro_nb.connect.command import redact
from mlrepro_nb.model import CondaPackage

_TOKEN = re.compile(r"/t/[^/]+(?=/)")


def packages(prefix: Path) -> tuple[CondaPackage, ...]:
    """Return the packages of the environment at a prefix, sorted; none if it is not conda's."""
    found = [package for told in _records(prefix) if (package := _read(told)) is not None]
    return tuple(sorted(found, key=lambda package: package.name))


def owners(prefix: Path, paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return (package, version) of those files that a package of the environment brought."""
    wanted = {}
    for path in paths:
        with contextlib.suppress(ValueError):
            wanted[Path(path).relative_to(prefix).as_posix()] = path
    if not wanted:
        return {}
    found = {}
    for told in _records(prefix):
        package = _read(told)
        if package is None:
            continue
        for file in told.get("files") or ():
            if file in wanted:
                found[wanted[file]] = (package.name, f"{package.version}-{package.build}")
    return found


def explicit(listed: Iterable[CondaPackage]) -> str:
    """Return the list that ``conda create --file`` installs the very same packages from.

    Raises
    ------
    ValueError
        One of them has no URL.
    """
    lines = ["@EXPLICIT"]
    for package in listed:
        if not package.url:
            raise ValueError(package.name)
        # micromamba reads sha256 too, conda only md5.
        lines.append(f"{package.url}#{package.md5}" if package.md5 else package.url)
    return "\n".join(lines) + "\n"


def lock_file(prefix: Path) -> Path | None:
    """Return the ``pixi.lock`` of the project that a pixi environment belongs to."""
    if prefix.parts[-3:-1] != (".pixi", "envs"):
        return None
    file = prefix.parents[2] / "pixi.lock"
    return file if file.is_file() else None


def _records(prefix: Path) -> Iterator[dict[str, Any]]:
    for file in sorted((prefix / "conda-meta").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(told, dict):
                yield told


def _read(told: dict[str, Any]) -> CondaPackage | None:
    name, version = told.get("name"), told.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        return None
    url = _clean(told.get("url"))
    return CondaPackage(
        name=name,
        version=version,
        build=str(told.get("build") or told.get("build_string") or ""),
        channel=_clean(told.get("channel")) or "",
        url=url,
        md5=_text(told.get("md5")),
        sha256=_text(told.get("sha256")),
    )


def _clean(value: Any) -> str | None:
    """Return a URL without its password and without the token that anaconda.org puts into it."""
    return _TOKEN.sub("", redact(value)) if isinstance(value, str) and value else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
