"""A new interpreter that is a worker of the kernel's: what it tells, and from when on."""

from __future__ import annotations

import atexit
import sys

from mlrepro_nb.capture.data import children, sending
from mlrepro_nb.capture.environment import workers as imports
from mlrepro_nb.capture.randomness import workers as draws


def begin(channel: str, version: tuple[int, int]) -> None:
    """Report from now on what this process opens, draws and imports.

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
    reporter = children.begin(channel)
    draws.begin(reporter)
    imports.begin(reporter)
    atexit.register(sending.tell_all)
