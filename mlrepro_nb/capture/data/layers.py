"""The layers that see a file being opened, together."""

from __future__ import annotations

from mlrepro_nb.capture.data.children import ChildrenWatch
from mlrepro_nb.capture.data.files import FileWatch
from mlrepro_nb.capture.data.markers import MarkerWatch
from mlrepro_nb.capture.data.readers import ReaderWatch
from mlrepro_nb.capture.data.roots import RootsWatch
from mlrepro_nb.capture.watch import Recording, Watch


def layers(recording: Recording, files: FileWatch, children: ChildrenWatch) -> tuple[Watch, ...]:
    """Return the watches that tell a `FileWatch`, and itself, in the order in which they start."""
    return (
        files,
        children,
        ReaderWatch(recording),
        RootsWatch(recording, files),
        MarkerWatch(recording, files),
    )
