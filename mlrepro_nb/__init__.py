"""mlrepro-nb makes a notebook's result provable.

Five verbs, a room each: ``from mlrepro_nb.record import record``, and so on for
``verify.verify``, ``image.build``, ``rollout.rollout``, ``lineage.trace``. In a
notebook, ``%load_ext mlrepro_nb`` starts recording. Importing this package is
cheap (IPython and pytest load it in every session): it imports nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Start recording in a kernel (``%load_ext mlrepro_nb``)."""
    from mlrepro_nb.faces.magics import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Stop recording (``%unload_ext mlrepro_nb``)."""
    from mlrepro_nb.faces.magics import unload

    unload(ipython)
