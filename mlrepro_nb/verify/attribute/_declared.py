"""What a project's own files ask to be installed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import Any

import msgspec

_FILES = ("requirements.txt", "requirements*.txt", "requirements/*.txt", "pyproject.toml",
          "environment.y*ml", "setup.cfg", "setup.py", "Pipfile")  # fmt: skip
_MOST = 1 << 20


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement of a project."""

    name: str
    """Normalised (PEP 503)."""
    text: str
    """As it is written, without markers: ``numpy>=1.20``."""
    file: str


def declared(*folders: Path) -> dict[str, Declared]:
    """Return what the files of some folders ask for, by normalised name; the first one counts."""
    found: dict[str, Declared] = {}
    for folder in dict.fromkeys(folders):
        paths = [path for pattern in _FILES for path in sorted(folder.glob(pattern))]
        for path in dict.fromkeys(paths):
            try:
                if path.stat().st_size > _MOST:
                    continue
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            for line in _lines(path, text):
                made = _requirement(line, path.relative_to(folder).as_posix())
                if made is not None:
                    found.setdefault(made.name, made)
    return found


def _lines(path: Path, text: str) -> Iterator[str]:
    if path.suffix == ".txt":
        yield from (line.partition(" #")[0] for line in text.splitlines())
    elif path.name == "pyproject.toml":
        yield from _pyproject(text)
    elif path.name == "Pipfile":
        told = _toml(text)
        for part in ("packages", "dev-packages"):
            yield from _tables(told.get(part))
    elif path.suffix in (".yml", ".yaml"):
        yield from _conda(text)
    elif path.name == "setup.cfg":
        yield from _configuration(text)
    else:
        # Nothing of it is run: its strings after `install_requires` are what it asks for.
        after = re.search(r"(?s)install_requires\s*=\s*\[(.*?)\]", text)
        yield from re.findall(r"['\"]([^'\"\n]+)['\"]", after[1] if after else "")


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _pyproject(text: str) -> Iterator[str]:
    told = _toml(text)
    project = told.get("project")
    if isinstance(project, dict):
        yield from _strings(project.get("dependencies"))
        extras = project.get("optional-dependencies")
        for listed in extras.values() if isinstance(extras, dict) else ():
            yield from _strings(listed)
    groups = told.get("dependency-groups")
    for listed in groups.values() if isinstance(groups, dict) else ():
        yield from _strings(listed)
    tool = told.get("tool")
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    if isinstance(poetry, dict):
        yield from _tables(poetry.get("dependencies"))


def _tables(table: Any) -> Iterator[str]:
    """Yield the requirements of a table whose keys are names, as Poetry's and Pipenv's are."""
    for name, value in table.items() if isinstance(table, dict) else ():
        version = value.get("version") if isinstance(value, dict) else value
        if name == "python" or not isinstance(version, str):
            continue
        # Poetry's own operators are not pip's.
        yield name if version[:1] in "*^~" and version[:2] != "~=" else (
            f"{name}{version if version[:1] in '<>=!~' else f'=={version}'}"
        )  # fmt: skip


def _conda(text: str) -> Iterator[str]:
    import yaml

    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError:
        return
    listed = told.get("dependencies") if isinstance(told, dict) else None
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict):
            yield from _strings(entry.get("pip"))
        elif isinstance(entry, str) and entry.partition("=")[0].strip() != "python":
            name, _, rest = entry.rpartition("::")[2].partition("=")
            version = rest.lstrip("=").partition("=")[0]
            yield f"{name.strip()}=={version}" if version and "<" not in name else name


def _configuration(text: str) -> Iterator[str]:
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except ConfigError:
        return
    yield from parser.get("options", "install_requires", fallback="").splitlines()


def _strings(listed: Any) -> Iterable[str]:
    return [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []


def _requirement(line: str, file: str) -> Declared | None:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    text = line.strip().rstrip("\\").strip().split(" --hash")[0]
    if not text or text.startswith(("#", "-", ".", "/")):
        return None
    try:
        made = Requirement(text)
    except InvalidRequirement:
        return None
    extras = f"[{','.join(sorted(made.extras))}]" if made.extras else ""
    plain = f"{made.name}{extras} @ {made.url}" if made.url else (
        f"{made.name}{extras}{made.specifier}"
    )  # fmt: skip
    return Declared(name=canonicalize_name(made.name), text=plain, file=file)
