"""The one door to Debian's archives, and those made like them: what is there, and what is in it.

Nothing of apt or dpkg has to be here. What is trusted: a release's InRelease file
names the hash of its indexes, and these the hash of each package. The signature of
InRelease is checked where ``gpgv`` is here and the archive's keys are given.

https://www.debian.org/doc/debian-policy/ · https://wiki.debian.org/DebianRepository/Format
"""

from mlrepro_nb.connect.debian._archive import Archive, Source, located, sources
from mlrepro_nb.connect.debian._control import (
    Package,
    compare,
    dependencies,
    installed,
    paragraphs,
)
from mlrepro_nb.connect.debian._deb import Deb, opened
from mlrepro_nb.connect.debian._resolve import Resolved, resolve

__all__ = [
    "Archive",
    "Deb",
    "Package",
    "Resolved",
    "Source",
    "compare",
    "dependencies",
    "installed",
    "located",
    "opened",
    "paragraphs",
    "resolve",
    "sources",
]
