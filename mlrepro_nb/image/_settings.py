"""What a project's ``pyproject.toml`` says about its images, and the command line besides."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.capture.secrets import mask
from mlrepro_nb.connect.command import redact
from mlrepro_nb.errors import UsageError

FILE = "[tool.mlrepro] in pyproject.toml"
PROJECT = "[project] in pyproject.toml"
_SET = "--set"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``[tool.mlrepro]`` (a dash where a name here has ``_``), and the project's version."""

    kind: str | None = None
    model: str | None = None
    """Name of the model to serve."""
    base: str | None = None
    repository: str | None = None
    version: str | None = None
    build_id: str | None = None
    platform: str | None = None
    """``linux/arm64``; by default that of the record."""
    user: int | None = None
    """Number of the user that a container runs as."""
    bake_data: bool = False
    bytecode: bool = True
    sign: str | None = None
    """Who signs what is attached to an image: ``keyless``, or a private key's file."""
    audit: str | None = None
    """What known vulnerabilities of the lock do: ``off``, ``warn``, ``fail``."""
    results: str | None = None
    """Where a job's results go: a folder of the container, or ``mlflow``."""
    apt_mirror: str | None = None
    """Where packages of the operating system are, instead of the host that the base image names."""
    include: tuple[str, ...] = ()
    """Distributions that go into the image besides those that the run used."""
    exclude: tuple[str, ...] = ()
    """Distributions, and packages of the operating system, that do not."""
    packages: tuple[str, ...] = ()
    """Packages of the operating system that go into the image: ``name`` or ``name=version``."""
    files: tuple[str, ...] = ()
    """Patterns of files of the project that go into the image besides those that the run read."""
    variables: dict[str, str] = {}
    """Environment variables of the image."""
    data: dict[str, str] = {}
    """Where data can be downloaded, by its path in the project: ``[tool.mlrepro.data]``."""
    gates: tuple[str, ...] = ()
    """Conditions on metrics: ``[tool.mlrepro.gates]``."""
    origins: dict[str, str] = {}
    """Where each of these was said."""


_TYPES = {
    field.encode_name: str(field.type)
    for field in msgspec.structs.fields(Settings)
    if field.name != "origins"
}


def read(root: Path, changes: Sequence[str] = ()) -> Settings:
    """Return the settings of the project in a folder.

    Parameters
    ----------
    changes
        What the command line says instead, ``KEY=VALUE``; ``variables.NAME=VALUE`` is
        one entry of a table, and a list's items have commas between them.

    Raises
    ------
    UsageError
        The file cannot be read as TOML, or a setting is unknown or of the wrong kind.
    """
    path = root / "pyproject.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Fix it.") from None
    content = _parse(text, path)
    table = _table(content, "tool", "mlrepro")
    _known(table, str(path))
    origins = {key.replace("-", "_"): FILE for key in table}
    if "version" not in table and (version := _table(content, "project").get("version")):
        table, origins["version"] = {**table, "version": version}, PROJECT
    values = {key: _checked(key, value, str(path)) for key, value in table.items()}
    for change in changes:  # checked after the file, each is to blame for what it says alone
        key, table = _changed(table, change)
        said = f"{_SET} {key}"
        values[key], origins[key.replace("-", "_")] = _checked(key, table[key], said), said
    return Settings(origins=origins, **{k.replace("-", "_"): v for k, v in values.items()})


def _known(table: dict[str, Any], where: str) -> None:
    names = [name.replace("_", "-") for name in _TYPES]
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
            meant = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"{where}: there is no setting {key!r} in [tool.mlrepro].",
                f"{meant}Settings are {', '.join(sorted(names))}.",
            )


def _checked(key: str, value: Any, where: str) -> Any:
    """Return the value of a setting; where it cannot be right, say who said so."""
    if key == "gates":
        return _conditions(value, where)
    return _urls(value, where) if key == "data" else _typed(key, value, where)


def _typed(key: str, value: Any, where: str) -> Any:
    given = where if where.startswith(_SET) else None
    kind = _TYPES[key.replace("-", "_")]
    if "tuple" in kind:
        fits = isinstance(value, list) and all(isinstance(v, str) for v in value)
        wanted, example = "list of texts", f'{key} = ["..."]'
    elif "dict" in kind:
        fits = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        wanted, example = "table of texts", f'[tool.mlrepro.{key}] and lines like NAME = "value"'
    elif "bool" in kind:
        fits, wanted = isinstance(value, bool), "truth value"
        example = f"{given}=true" if given else f"{key} = true"
    elif "int" in kind:
        fits = isinstance(value, int) and not isinstance(value, bool)
        wanted, example = "number", f"{given}=10001" if given else f"{key} = 10001"
    else:
        fits, wanted, example = isinstance(value, str), "text", "it in quotes"
    if not fits:
        raise UsageError(f"{where}: {key} is no {wanted}.", f"Write {example}.")
    return tuple(value) if isinstance(value, list) else value


def _changed(table: dict[str, Any], change: str) -> tuple[str, dict[str, Any]]:
    """Return the setting that ``KEY=VALUE`` names, and the table with it."""
    name, separator, text = change.partition("=")
    key, _, entry = name.strip().partition(".")
    key = key.replace("_", "-")
    if not separator:
        raise UsageError(f"--set {change} has no value.", "Write --set KEY=VALUE.")
    _known({key: None}, "--set")
    kind = _TYPES[key.replace("-", "_")]
    is_table = "dict" in kind or key == "gates"
    if is_table != bool(entry):
        form = f"{key}.NAME=VALUE" if is_table else f"{key}=VALUE"
        raise UsageError(f"--set {change} cannot be read.", f"Write --set {form}.")
    value: Any = text
    if is_table:
        value = {**(table.get(key) or {}), entry: text}
    elif "tuple" in kind:
        value = [item.strip() for item in text.split(",") if item.strip()]
    elif "bool" in kind:
        value = {"true": True, "false": False}.get(text.lower(), text)
    elif "int" in kind:
        value = int(text) if text.isdecimal() else text
    return key, {**table, key: value}


def _conditions(found: Any, where: str) -> tuple[str, ...]:
    """Return conditions on metrics, as ``accuracy >= 0.93``."""
    told: dict[str, list[Any]] = {}
    if isinstance(found, dict):
        told = {k: v if isinstance(v, list) else [v] for k, v in found.items()}
    if not isinstance(found, dict) or any(not isinstance(y, str) for x in told.values() for y in x):
        raise UsageError(
            f"{where}: [tool.mlrepro.gates] does not name a condition for each metric.",
            'Write lines like accuracy = ">= 0.93".',
        )
    return tuple(f"{metric} {limit}" for metric, limits in told.items() for limit in limits)


def _urls(found: Any, where: str) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(url, str) for url in found.values()):
        raise UsageError(
            f"{where}: [tool.mlrepro.data] does not name a URL for each path.",
            'Write lines like "data/big.csv" = "https://…".',
        )
    for name, url in found.items():
        if redact(url) != url or mask(url) != url:
            raise UsageError(
                f"{where}: the URL of {name} holds credentials or a signature, which would be in "
                "the image.",
                "Leave them out; a container gets them from its environment or a mounted file.",
            )
    return dict(found)


def _parse(text: str, path: Path) -> dict[str, Any]:
    tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        return dict(tomllib.loads(text))
    except ValueError as error:  # TOMLDecodeError, in either
        raise UsageError(f"{path} is not TOML: {error}.", "Fix it.") from None


def _table(content: Any, *names: str) -> dict[str, Any]:
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}
