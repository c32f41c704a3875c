"""What a live kernel can tell: code, data, environment, randomness, hardware, results.

`Recorder` listens inside the kernel and reports events; `assemble` turns
events into a `mlrepro_nb.model.Record`. In between lies a journal, so that
neither a kernel's death nor a process boundary loses what was seen.

Importing this package imports none of it: a worker process that reports what it
opens (`mlrepro_nb.capture.data.children`) must start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrepro_nb.lazily import exports

if TYPE_CHECKING:
    from mlrepro_nb.capture.assembly import assemble
    from mlrepro_nb.capture.cells.outputs import output_digests
    from mlrepro_nb.capture.recorder import Recorder
    from mlrepro_nb.capture.secrets import (
        MASK,
        cells_with_secrets,
        mask,
        mask_notebook,
        mask_outputs,
        redact_outputs,
    )

__all__ = [
    "MASK",
    "Recorder",
    "assemble",
    "cells_with_secrets",
    "mask",
    "mask_notebook",
    "mask_outputs",
    "output_digests",
    "redact_outputs",
]


__getattr__ = exports(
    __name__,
    {
        **dict.fromkeys(__all__, "secrets"),
        "Recorder": "recorder",
        "assemble": "assembly",
        "output_digests": "cells.outputs",
    },
)
