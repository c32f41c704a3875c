"""The project inside a container: a copy that may be written to, its data, its store."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.image import fetch
from mlrepro_nb.image.data import Item, locate, read_items
from mlrepro_nb.model import Record, decode
from mlrepro_nb.store import Store

APP = Path("/app")
BIG = 64 << 20
"""Bytes from which a file is linked into the writable copy of the project, not copied."""


def lay_out(project: Path, scratch: Path, *, whole: bool = False) -> tuple[Record, str, Store]:
    """Make a project out of what is in the image; return the record, its digest and the store.

    Data that is not in the image is fetched first.

    Parameters
    ----------
    project
        The folder to make.
    scratch
        Where data goes if the folder for it cannot be written.
    whole
        Whether all data has to be there: else what is not is only told.

    Raises
    ------
    MlreproError
        Data cannot be fetched, or is not what the run read; or there is none.
    """
    record = decode(Record, (APP / "record" / "record.json").read_bytes())
    items = read_items(APP / "record" / "data.json")
    folder, complete = _fetched(items, scratch)
    if whole and not complete:
        raise _MISSING
    shutil.copytree(APP / "project", project, copy_function=_copy)
    placed = [_place(item, project, folder) for item in items]
    if whole and not all(placed):
        raise _MISSING
    # Marks the project's root, as it does where the notebook was recorded.
    (project / ".git").mkdir(exist_ok=True)
    store = Store(project / ".mlrepro")
    digest = store.put(record)
    store.blobs.put((APP / "record" / "reference.ipynb").read_bytes())
    blobs = APP / "record" / "blobs"
    for blob in sorted(blobs.iterdir()) if blobs.is_dir() else ():
        store.blobs.put(blob.read_bytes())
    return record, digest, store


_MISSING = MlreproError(
    "Data that the run read is not there, so it cannot be run again.",
    "Mount it where the lines above say: docker run --volume FOLDER:PLACE:ro.",
)


def _fetched(items: Sequence[Item], scratch: Path) -> tuple[Path, bool]:
    """Fetch what can be fetched and is not there.

    Returns the folder that it is in, and whether all is there.
    """
    folder = fetch.folder()
    missing = [i for i in items if locate(i, APP / "project", folder) is None]
    wanted = [i for i in missing if i.known or ("MLREPRO_DVC_REMOTE" in os.environ and i.md5)]
    for item in missing:
        if item not in wanted:
            say(f"{item.path} is not in the image: mount it at {folder / item.path.lstrip('/')}")
    complete = len(wanted) == len(missing)
    if not wanted:
        return folder, complete
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        if len(wanted) < len(items) and folder.is_dir() and any(folder.iterdir()):
            raise MlreproError(
                f"{wanted[0].path} is not in {folder}, which cannot be written.",
                "Mount all of the data, or a folder that may be written to.",
            )
        folder = scratch / "data"
    say(f"fetching {len(wanted)} files into {folder}")
    fetch.get(wanted, where=folder)
    return folder, complete


def _place(item: Item, project: Path, folder: Path) -> bool:
    """Put an item where the notebook looks for it; return whether that could be done."""
    source = folder / item.path.lstrip("/")
    target = project / item.path
    if target.exists() or not source.is_file():
        return True
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(str(source), str(target))
    except OSError as error:
        say(f"{item.path} cannot be put in its place ({error.strerror}): mount it there")
        return False
    return True


def _copy(source: str, target: str) -> None:
    if Path(source).stat().st_size >= BIG:
        Path(target).symlink_to(source)
    else:
        shutil.copyfile(source, target)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is gone afterwards."""
    return tempfile.TemporaryDirectory(
        prefix="mlrepro-", dir=temporary(), ignore_cleanup_errors=True
    )


def temporary() -> str:
    """Return the folder for temporary files.

    Raises
    ------
    MlreproError
        There is none that can be written: the container's root is read-only.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        raise MlreproError(
            f"User {os.getuid()} cannot write anywhere in this container, not even to /tmp.",
            "Mount memory there: docker run --tmpfs /tmp; in a pod, an emptyDir at /tmp.",
        ) from None


def say(message: str) -> None:
    """Tell whoever reads the container's log."""
    print(f"mlrepro: {message}", file=sys.stderr, flush=True)  # noqa: T201
