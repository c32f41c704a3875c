"""The data of an image: what is copied into it, and what is fetched when it starts.

`inputs` decides when the image is planned; `fetch` gets the rest where it runs, and
`at_hand` finds it here, for the test before.
In between is a list of `Item`, ``/app/record/data.json``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlrepro_nb.image.data._item import FOLDER, Item, few, read_items

if TYPE_CHECKING:
    from mlrepro_nb.image.data._fetch import fetch, locate, unreadable
    from mlrepro_nb.image.data._here import Here, at_hand
    from mlrepro_nb.image.data._inputs import SMALL, Inputs, Mount, inputs, read_by
    from mlrepro_nb.image.data._listed import listed

__all__ = [
    "FOLDER", "SMALL", "Here", "Inputs", "Item", "Mount", "at_hand", "fetch", "few", "inputs",
    "listed", "locate", "read_by", "read_items", "unreadable",
]  # fmt: skip

_HOMES = {
    "_fetch": ("fetch", "locate", "unreadable"),
    "_here": ("Here", "at_hand"),
    "_inputs": ("SMALL", "Inputs", "Mount", "inputs", "read_by"),
    "_listed": ("listed",),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a container that fetches has no need of what planning needs."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
