"""The rows of tables in a record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from mlrepro_nb.capture.data import tables
from mlrepro_nb.capture.data.audit import unwatched
from mlrepro_nb.capture.data.hashing import DigestCache, hash_file, regular, signature
from mlrepro_nb.model import DataAccess

_HASHED_AGAIN = 64 << 20
"""Bytes of a file up to which it is hashed to see whether it is still what it was."""

Place = tuple[str, "list[int] | None"]
"""Absolute path of a file, and its signature when it was hashed, if that is known."""


def with_rows(
    entries: Iterable[DataAccess],
    where: Callable[[DataAccess], Place | None],
    cache: DigestCache | None,
    seconds: float,
) -> list[DataAccess]:
    """Return the entries, those of tables with the digest of their rows.

    A table is read if it is known to hold still what the run read or left in it,
    and if there is time; what was read before is taken from the cache at once.
    """
    found = list(entries)
    if seconds <= 0:
        return found
    deadline = time.monotonic() + seconds
    wanted: dict[str, str] = {}
    known: dict[str, str] = {}
    for entry in found:
        place = where(entry)
        if entry.digest is None or entry.files is not None or place is None:
            continue
        if tables.form(place[0]) is None or entry.digest in known:
            continue
        kept = cache.get_rows(entry.digest) if cache is not None else None
        if kept is not None:
            known[entry.digest] = kept
        elif (entry.size or 0) <= tables.LARGEST and _is_still(place, entry, cache):
            wanted.setdefault(place[0], entry.digest)
    states = {path: regular(path) for path in wanted}
    with unwatched():
        read = tables.rows_of(list(wanted), timeout=deadline - time.monotonic())
    for path, rows in read.items():
        before, after = states[path], regular(path)
        if before is not None and after is not None and signature(before) == signature(after):
            known[wanted[path]] = rows
            if cache is not None:
                cache.put_rows(wanted[path], rows)
    return [
        msgspec.structs.replace(entry, rows=known[entry.digest])
        if entry.digest in known and entry.files is None and _is_table(entry, where)
        else entry
        for entry in found
    ]


def _is_table(entry: DataAccess, where: Callable[[DataAccess], Place | None]) -> bool:
    place = where(entry)
    return place is not None and tables.form(place[0]) is not None


def _is_still(place: Place, entry: DataAccess, cache: DigestCache | None) -> bool:
    path, then = place
    status = regular(path)
    if status is None or status.st_size != entry.size:
        return False
    if then and list(signature(status)) == list(then):
        return True
    if status.st_size > _HASHED_AGAIN:
        return False
    now = hash_file(path, cache=cache)
    return now is not None and now.digest == entry.digest
