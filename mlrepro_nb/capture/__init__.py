"""What a live kernel can tell: code, data, environment, randomness, hardware, results.

`Recorder` listens inside the kernel and reports events; `assemble` turns
events into a `mlrepro_nb.model.Record`. In between lies a journal, so that
neither a kernel's death nor a process boundary loses what was seen.
"""

from mlrepro_nb.capture.assembly import assemble
from mlrepro_nb.capture.cells.outputs import output_digests
from mlrepro_nb.capture.recorder import Recorder
from mlrepro_nb.capture.secrets import MASK, mask, mask_notebook, mask_outputs

__all__ = [
    "MASK",
    "Recorder",
    "assemble",
    "mask",
    "mask_notebook",
    "mask_outputs",
    "output_digests",
]
