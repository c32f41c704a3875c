"""What of the data that an image lacks is on this machine, for its test without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from mlrepro_nb.image.data._inputs import is_as_recorded
from mlrepro_nb.image.data._item import FOLDER, Item
from mlrepro_nb.store import Store


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """The items that a container can be given from here, and those that it cannot."""

    files: dict[str, Path] = {}
    """Where they are, by their path in the project; by their own where they lie outside."""
    gone: tuple[Item, ...] = ()
    changed: tuple[Item, ...] = ()
    """Those that hold something else than what the run read."""

    @property
    def places(self) -> dict[str, Path]:
        """The files by where a container looks for them.

        The project's are in the folder for data. What lies outside is where the notebook looks
        for it: nothing else can be put there.
        """
        return {str(PurePosixPath(FOLDER, name)): path for name, path in self.files.items()}


def at_hand(items: Sequence[Item], root: Path, store: Store) -> Here:
    """Return what of some items is in the project, or where it lies outside, as recorded.

    What is optional is given as it is: what it held is not known.
    """
    files: dict[str, Path] = {}
    gone, changed = [], []
    for item in items:
        path = root / item.path
        if not path.is_file():
            if not item.optional:
                gone.append(item)
        elif item.digest is not None and not is_as_recorded(path, item.digest, store):
            changed.append(item)
        else:
            files[item.path] = path
    return Here(files=files, gone=tuple(gone), changed=tuple(changed))
