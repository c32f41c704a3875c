"""The store: a SQLite index over content-addressed blobs, in ``.mlrepro/`` beside ``.git``.

Everything is a blob named by its digest: documents (`mlrepro_nb.model`) as
canonical JSON, and whatever they point to (diffs, executed notebooks, locks,
Containerfiles). The index only says which blobs are documents and which keys
lead to them, so it can always be made anew from the blobs.

The journals hold what live kernels have reported so far, a file a session and an
event a line, so that a kernel that is killed leaves everything up to its last cell.
"""

from mlrepro_nb.store._atomic import write_atomically
from mlrepro_nb.store._blobs import Blobs
from mlrepro_nb.store._cache import user_cache
from mlrepro_nb.store._digests import FileDigests
from mlrepro_nb.store._journal import Journal, Session, read_events
from mlrepro_nb.store._keys import keys
from mlrepro_nb.store._store import Entry, Store, project_root

__all__ = [
    "Blobs",
    "Entry",
    "FileDigests",
    "Journal",
    "Session",
    "Store",
    "keys",
    "project_root",
    "read_events",
    "user_cache",
    "write_atomically",
]
