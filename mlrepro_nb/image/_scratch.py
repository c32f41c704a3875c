"""The project inside a container: a copy that may be written to, its data, its store."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.image import fetch
from mlrepro_nb.image.data import Item, few, locate, read_items, unreadable
from mlrepro_nb.model import Record, decode
from mlrepro_nb.store import Store

APP = Path("/app")
BIG = 64 << 20
"""Bytes from which a file is linked into the writable copy of the project, not copied."""
_MOST_NAMED = 4
"""Files that are mounted one by one; of more, the whole project is."""


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
    folder = fetch.folder()
    absent = [item for item in items if locate(item, APP / "project", folder) is None]
    wanted = [item for item in absent if _has_source(item)]
    missing = [item for item in absent if item not in wanted and not item.optional]
    if whole and missing:
        raise _missing(missing, folder)
    # A secret's file too, of which the notebook alone knows what it does without.
    for told in (missing, [item for item in absent if item.optional]):
        if told:
            say(f"{_names(told)} not in the image; to mount {_it(told)}: {_mounting(told, folder)}")
    if wanted:
        folder = _fetched(wanted, items, folder, scratch)
    shutil.copytree(APP / "project", project, copy_function=_copy)
    hidden = [p for p in (folder / i.path.lstrip("/") for i in items) if _is_hidden(p)]
    if whole and hidden:
        raise unreadable(hidden[0])
    homeless = [item for item in items if not _place(item, project, folder)]
    if whole and homeless:
        raise _missing(homeless, folder)
    # Marks the project's root, as it does where the notebook was recorded.
    (project / ".git").mkdir(exist_ok=True)
    store = Store(project / ".mlrepro")
    digest = store.put(record)
    store.blobs.put((APP / "record" / "reference.ipynb").read_bytes())
    blobs = APP / "record" / "blobs"
    for blob in sorted(blobs.iterdir()) if blobs.is_dir() else ():
        store.blobs.put(blob.read_bytes())
    return record, digest, store


def _missing(items: Sequence[Item], folder: Path) -> MlreproError:
    return MlreproError(
        f"{_names(items)} not in the image and not mounted, so that the notebook cannot be run "
        "again.",
        f"Mount {_it(items)}: {_mounting(items, folder)}",
    )


def _mounting(items: Sequence[Item], folder: Path) -> str:
    """Return what to type, where the project is, so that a container has some data."""
    inside = [item.path for item in items if not item.path.startswith("/")]
    # Of what is outside of the project a notebook knows only that place.
    outside = [item.path for item in items if item.path.startswith("/")]
    if len(outside) > _MOST_NAMED:
        outside = sorted({str(Path(path).parent) for path in outside})[:_MOST_NAMED]
    if len(inside) > _MOST_NAMED:
        volumes = [f'"$PWD":{quote(str(folder))}:ro']
    else:
        volumes = [f'"$PWD"/{quote(path)}:{quote(str(folder / path))}:ro' for path in inside]
    volumes += [f"{quote(path)}:{quote(path)}:ro" for path in outside]
    options = " ".join(f"--volume {volume}" for volume in volumes)
    return f"{'in the folder of the project, ' if inside else ''}docker run --rm {options} IMAGE"


def _names(items: Sequence[Item]) -> str:
    return f"{few([item.path for item in items])} {'is' if len(items) == 1 else 'are'}"


def _it(items: Sequence[Item]) -> str:
    return "it" if len(items) == 1 else "them"


def _has_source(item: Item) -> bool:
    moved = "MLREPRO_DVC_REMOTE" in os.environ
    return item.known or (moved and bool(item.md5 or item.folder))


def _fetched(wanted: Sequence[Item], items: Sequence[Item], folder: Path, scratch: Path) -> Path:
    """Fetch some of the items and return the folder that they are in."""
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
    return folder


def _is_hidden(path: Path) -> bool:
    return path.is_file() and not os.access(path, os.R_OK)


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
        say(f"{item.path} cannot be put in its place: {error.strerror}")
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
