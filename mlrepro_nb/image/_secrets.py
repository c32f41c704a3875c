"""Which files of a project would be secrets in the hands of whoever can pull an image."""

from __future__ import annotations

from pathlib import Path

_MOST = 1 << 20
"""Bytes up to which a file is looked into: what holds a secret is short."""
_SETTINGS = frozenset(
    {".ini", ".cfg", ".conf", ".toml", ".yaml", ".yml", ".properties", ".env", ".list", ".sh"}
)
"""Files whose every line may give something a value, without quotes."""


def holds_secret(path: Path, *, tracked: bool) -> bool:
    """Return whether a file seems to hold a secret: by its name, or by what is in it.

    Parameters
    ----------
    tracked
        Whether git has it. If not, passwords by their names and in URLs count as well: what git
        has, its owner has shown already.
    """
    # Not above: a service imports this package, and has no need of what capture needs.
    from mlrepro_nb.capture.data.paths import is_secret
    from mlrepro_nb.capture.secrets import holds_secret as is_in

    if is_secret(path.name):
        return True
    try:
        if path.stat().st_size > _MOST:
            return False
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return is_in(text, named=not tracked, code=path.suffix.lower() not in _SETTINGS)
