"""A kernel that strace follows."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlrepro_nb.capture.data.markers import TRACED
from mlrepro_nb.capture.data.strace import SYSCALLS, Trace
from mlrepro_nb.connect import strace

_PATIENCE = 10.0
"""Seconds to wait, once the kernel is gone, until strace has said all."""


class Tracing:
    """Reads what strace says of a kernel while it runs, so that no disk fills.

    Parameters
    ----------
    folder : Path
        An empty place for the FIFO.

    Raises
    ------
    ToolError
        strace is missing, or may not follow programs here.
    """

    def __init__(self, folder: Path) -> None:
        strace.check()
        self._fifo = folder / "strace"
        os.mkfifo(self._fifo, 0o600)
        self._trace = Trace()
        self._whole = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def manager(self, variables: Mapping[str, str]) -> type:
        """Return the class of kernel manager that starts a kernel under strace.

        Parameters
        ----------
        variables : mapping
            Environment variables of the kernel that tell its leftovers from others: strace,
            which outlives it, must not have them.
        """
        from mlrepro_nb.execute._prompt import PromptManager

        before = strace.argv(self._fifo, SYSCALLS, {**variables, TRACED: "1"})

        class Traced(PromptManager):
            def format_kernel_cmd(self, extra_arguments: Any = None) -> list[str]:
                return [*before, *super().format_kernel_cmd(extra_arguments)]

        return Traced

    def ended(self) -> Trace | None:
        """Return the trace, once the kernel is gone; None if it was cut short."""
        # Ends the reader's wait where no kernel ever started.
        with contextlib.suppress(OSError):
            os.close(os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK))
        self._thread.join(_PATIENCE)
        return self._trace if self._whole else None

    def _read(self) -> None:
        with self._fifo.open("rb", buffering=1 << 20) as lines:
            for line in lines:
                self._trace.feed(line.rstrip(b"\n").decode("utf-8", "surrogateescape"))
        self._whole = True
