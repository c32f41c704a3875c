"""What a project's ``pyproject.toml`` says about its images."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.errors import UsageError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``[tool.mlrepro]``, and the project's version."""

    base: str | None = None
    repository: str | None = None
    version: str | None = None


def read(root: Path) -> Settings:
    """Return the settings of the project in a folder.

    Raises
    ------
    UsageError
        The file cannot be read as TOML, or a setting is no text.
    """
    path = root / "pyproject.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Fix it.") from None
    content = _parse(text, path)
    table = _table(content, "tool", "mlrepro")
    values = {
        "base": table.get("base"),
        "repository": table.get("repository"),
        "version": table.get("version") or _table(content, "project").get("version"),
    }
    for key, value in values.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{path}: {key} is no text.", "Write it in quotes.")
    return Settings(**values)


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
