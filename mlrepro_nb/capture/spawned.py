"""A new interpreter that is a worker of the kernel's: what it tells, and from when on."""

from __future__ import annotations

import sys

from mlrepro_nb.capture.data import children
from mlrepro_nb.capture.randomness import workers


def begin(channel: str, version: tuple[int, int]) -> None:
    """Report from now on what this process opens, and what it draws.

    Parameters
    ----------
    channel : str
        Path of the memory that the kernel reads.
    version : tuple of int
        The kernel's Python.

    Raises
    ------
    RuntimeError
        This is another Python.
    """
    if sys.version_info[:2] != version:
        raise RuntimeError("it runs another Python than the kernel")
    workers.begin(children.begin(channel))
