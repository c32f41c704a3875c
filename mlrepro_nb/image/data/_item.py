"""A file that the run read and the image does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.errors import MlreproError

FOLDER = "/data"
"""Where a container looks for data, and puts what it fetches; MLREPRO_DATA names another."""

_SHOWN = 3


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file, what it must hold, and where it may come from."""

    path: str
    """In the project; absolute where it lies outside."""
    digest: str | None = None
    """``blake3:…``, as recorded."""
    size: int | None = None
    md5: str | None = None
    """Hexadecimal; the name of its object in DVC's remote."""
    folder: str | None = None
    """``….dir``, DVC's object that lists a folder's files and their MD5s; of a file in one."""
    remote: str | None = None
    """DVC's remote: a URL or a path, without credentials."""
    urls: tuple[str, ...] = ()
    """Where it can be downloaded besides."""
    optional: bool = False
    """Whether a run begins without it: what it held, a secret perhaps, is not recorded."""

    @property
    def known(self) -> bool:
        """Whether there is a place to fetch it from."""
        return bool(self.urls or ((self.md5 or self.folder) and self.remote))


def few(names: Sequence[str], joint: str = ", ") -> str:
    """Return some names in words: all if they are few, else the first and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return joint.join(names[:_SHOWN]) + more


def read_items(path: Path) -> tuple[Item, ...]:
    """Return the items that an image was built with; none where it was built before there were.

    Raises
    ------
    MlreproError
        The file is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Item, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as error:
        raise MlreproError(f"{path} cannot be read: {error}.", "Build the image again.") from None
