"""BuildKit, whoever drives it: ``buildctl``, ``docker buildx``, or an engine's client.

One that is 0.13 or newer gives the same image, byte by byte, on every rebuild.
"""

from mlrepro_nb.connect.buildkit._build import build
from mlrepro_nb.connect.buildkit._find import OLDEST, BuildKit, find
from mlrepro_nb.connect.buildkit._meanings import meaning
from mlrepro_nb.connect.buildkit._progress import Progress, telling

__all__ = ["OLDEST", "BuildKit", "Progress", "build", "find", "meaning", "telling"]
