"""Fetch what an image lacks: checked, whole or not at all, going on where it was cut off."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from mlrepro_nb.connect import download, dvc
from mlrepro_nb.connect.command import redact
from mlrepro_nb.errors import MlreproError, ToolError
from mlrepro_nb.image.data._item import Item
from mlrepro_nb.model import Report, Step, silent

WORKERS = 4
PAUSES = (0.5, 2.0, 5.0, 10.0)
"""Seconds before each further try of what was cut off."""
_PARTS = ".mlrepro-fetch"
_MOST_TOLD = 5
"""Files of which each is told why it cannot be had."""


def locate(item: Item, project: Path, folder: Path) -> Path | None:
    """Return where an item is: in its own place, or in the folder for data.

    Raises
    ------
    ToolError
        This user may not look.
    """
    for path in (project / item.path, folder / item.path.lstrip("/")):
        if _is_file(path):
            return path
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        raise unreadable(path) from None


def fetch(
    items: Sequence[Item], *, project: Path, folder: Path, remote: str | None = None,
    login: download.Login | None = None, replace: bool = False, workers: int = WORKERS,
    report: Report = silent,
) -> tuple[Path, ...]:  # fmt: skip
    """Return where each item is, checked; what is nowhere is fetched into a folder.

    Parameters
    ----------
    project
        Where data may be in its own place.
    folder
        Where data may be mounted, and is put.
    remote
        DVC's remote, in place of the recorded one.
    login
        For a remote over HTTP.
    replace
        Fetch anew what the folder has in another version.

    Raises
    ------
    MlreproError
        A file is not what the run read, wherever it is from.
    ToolError
        A file cannot be fetched. What arrived of it is kept for the next try.
    """
    # Of what may be missing, only what is there can be checked.
    items = [i for i in items if not i.optional or locate(i, project, folder) is not None]
    if not items:
        return ()
    fetching = _Fetching(project, folder, remote, login, replace=replace, report=report)
    pool = ThreadPoolExecutor(max_workers=max(1, min(workers, len(items))))
    futures = [pool.submit(fetching.item, item) for item in items]
    errors: list[MlreproError] = []
    found: list[Path] = []
    try:
        for number, future in enumerate(futures):
            try:
                found.append(future.result())
            except MlreproError as error:
                errors.append(error)
            report(
                Step(message=items[number].path, done=float(number + 1), total=float(len(items)))
            )
    except BaseException:
        fetching.stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    with contextlib.suppress(OSError):
        (folder / _PARTS).rmdir()
    if errors:
        raise _all_told(errors, report)
    return tuple(found)


def _all_told(errors: list[MlreproError], report: Report) -> MlreproError:
    """Return the last of some errors, once the first few were told."""
    for earlier in errors[:-1][:_MOST_TOLD]:
        report(Step(message=str(earlier), log=True))
    if (left := len(errors) - 1 - _MOST_TOLD) > 0:
        report(Step(message=f"So it is with {left} more, and with this one:", log=True))
    return errors[-1]


class _Fetching:
    def __init__(
        self, project: Path, folder: Path, remote: str | None, login: download.Login | None, *,
        replace: bool, report: Report,
    ) -> None:  # fmt: skip
        self.project, self.folder = project, folder
        self.remote, self.login = remote, login
        self.replace, self.report = replace, report
        self.stop = threading.Event()
        self._listings: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def item(self, item: Item) -> Path:
        there = locate(item, self.project, self.folder)
        if there is not None:
            try:
                with there.open("rb") as file:
                    found = _digest(file, item)
            except OSError:
                raise unreadable(there) from None
            if found == _expected(item):
                return there
            if not (self.replace and there.is_relative_to(self.folder)):
                raise _differs(item, str(there), found)
        target = self.folder / item.path.lstrip("/")
        with self._part(item, target, replace=there is not None) as part:
            if part is not None:
                self._get(item, part, target)
        return target

    @contextlib.contextmanager
    def _part(self, item: Item, target: Path, *, replace: bool) -> Iterator[IO[bytes] | None]:
        """Yield what is there of a file, locked; None where another process finished it."""
        key = hashlib.sha256(f"{item.path}\0{_expected(item)}".encode()).hexdigest()
        path = self.folder / _PARTS / key[:32]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            while True:
                file = path.open("a+b")
                with contextlib.suppress(OSError):  # some network file systems have no locks
                    fcntl.flock(file, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                        break
                file.close()  # whoever held the lock has put it in its place
                if target.is_file() and not replace:
                    yield None
                    return
        except OSError as error:
            raise self._unwritable(error) from error
        with file:
            if target.is_file() and not replace:
                path.unlink(missing_ok=True)
                yield None
                return
            yield file

    def _get(self, item: Item, part: IO[bytes], target: Path) -> None:
        places = list(self._places(item))
        problem: MlreproError | None = None
        for place, login in places:
            try:
                if not self._from(place, login, item, part):
                    continue
            except MlreproError as error:
                problem = error
                continue
            try:
                part.flush()
                os.fsync(part.fileno())
                os.chmod(part.name, 0o644)  # whoever else mounts the volume may read it
                os.replace(part.name, target)
            except OSError as error:
                raise self._unwritable(error) from error
            size = target.stat().st_size
            self.report(
                Step(message=f"fetched {item.path} ({size} bytes) from {redact(place)}", log=True)
            )
            return
        if part.tell() == 0:
            Path(part.name).unlink(missing_ok=True)
        if problem is not None and item.path in problem.message:
            raise problem
        if problem is not None:  # DVC's remote knows files by their md5 only
            raise ToolError(
                f"{item.path} was not fetched: {problem.message}", problem.remedy, tool="data"
            ) from problem
        raise ToolError(
            f"{item.path}, which the run read, is not mounted at {target}"
            + (f", and not at {' or '.join(redact(p) for p, _ in places)}." if places else
               ", and nothing says where else it is."),
            "Mount it, push it (dvc push), or name the remote with MLREPRO_DVC_REMOTE."
            if item.md5 or item.folder else
            "Mount it there; `mlrepro rollout` does with --data-claim NAME.",
            tool="data",
        )  # fmt: skip

    def _places(self, item: Item) -> Iterator[tuple[str, download.Login | None]]:
        remote = self.remote or item.remote
        if remote is not None:
            # A relative path starts in the project, as one in DVC's configuration does.
            base = remote if "://" in remote else str(self.project / ".dvc" / remote)
            md5 = item.md5
            if md5 is None and item.folder is not None:
                md5 = self._md5(item.folder, item.path, base)
            for place in dvc.objects(base, md5) if md5 is not None else ():
                yield place, self.login
        for url in item.urls:
            yield url, None  # the remote's credentials are for the remote alone

    def _md5(self, folder: str, path: str, base: str) -> str | None:
        """Return what DVC's listing of a folder says of a file in it."""
        with self._lock:
            if folder not in self._listings:
                self._listings[folder] = self._listing(folder, base)
        listed = self._listings[folder]
        names = [name for name in listed if path == name or path.endswith(f"/{name}")]
        return listed[max(names, key=len)] if names else None

    def _listing(self, folder: str, base: str) -> dict[str, str]:
        for place in dvc.objects(base, folder):
            with download.opened(place, 0, self.login) as transfer:
                if transfer is None:
                    continue
                data = b"".join(transfer.chunks)
            found = f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}.dir"
            if found != folder:
                raise MlreproError(
                    f"{redact(place)} is not the listing that DVC tracks: expected {folder}, "
                    f"found {found}.",
                    "Push the folder again (dvc push).",
                )
            try:
                return dvc.folder_objects(data)
            except ValueError as error:
                raise MlreproError(f"{redact(place)} is {error}.", "Push it again.") from None
        return {}

    def _from(
        self, place: str, login: download.Login | None, item: Item, part: IO[bytes]
    ) -> bool:  # fmt: skip
        """Fetch a file from one place; return whether it was there, and is what the run read."""
        fresh = False
        found: str | None = None
        for pause in (*PAUSES, None):
            resumed = part.seek(0, os.SEEK_END) > 0
            try:
                there = self._transfer(place, login, part)
            except download.CutOffError:
                if pause is None or self.stop.wait(pause):
                    raise
                continue
            if not there:
                return False
            part.flush()
            part.seek(0)
            found = _digest(part, item)
            if found == _expected(item):
                return True
            part.truncate(0)
            if fresh or not resumed:
                raise _differs(item, redact(place), found)
            fresh = True  # the part may have been of something else: once from the start
        raise _differs(item, redact(place), found)

    def _transfer(self, place: str, login: download.Login | None, part: IO[bytes]) -> bool:
        with download.opened(place, part.tell(), login) as transfer:
            if transfer is None:
                return False
            if transfer.start > part.tell():
                raise download.CutOffError(
                    f"{redact(place)} answers with another part than was asked for.",
                    "Fetch it again.", tool="data",
                )  # fmt: skip
            part.truncate(transfer.start)
            for chunk in transfer.chunks:
                if self.stop.is_set():
                    raise ToolError("The fetching was ended.", "Start it again: it goes on.")
                try:
                    part.write(chunk)
                except OSError as error:
                    raise self._unwritable(error) from error
        return True

    def _unwritable(self, error: OSError) -> ToolError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return ToolError(
            f"{self.folder} {'is full' if full else 'cannot be written'}: "
            f"{error.strerror or error}.",
            "Mount a bigger volume there; what arrived is kept." if full else
            f"Mount a volume that user {os.getuid()} may write to at {self.folder}, or name "
            "another folder with MLREPRO_DATA.",
            tool="data",
        )  # fmt: skip


def _expected(item: Item) -> str | None:
    if item.digest is not None:
        return item.digest
    return f"md5:{item.md5}" if item.md5 else None


def _digest(file: IO[bytes], item: Item) -> str | None:
    """Return a file's digest, of the kind that is known of the item."""
    expected = _expected(item)
    if expected is None:
        return None  # the record could not tell what it held
    from blake3 import blake3

    found = (
        hashlib.md5(usedforsecurity=False) if expected.startswith("md5:") else blake3()
    )  # fmt: skip
    while piece := file.read(1 << 20):
        found.update(piece)
    return f"{expected.partition(':')[0]}:{found.hexdigest()}"


def unreadable(path: Path) -> ToolError:
    """Return the error that this user may not read a file."""
    return ToolError(
        f"{path} may not be read by user {os.getuid()}, as whom this container runs.",
        "Give others, or the group that the pod's fsGroup names, the right to read it, or run as "
        "its owner: docker run --user $(id -u).",
        tool="data",
    )


def _differs(item: Item, where: str, found: str | None) -> MlreproError:
    return MlreproError(
        f"{item.path} is not what the run read: expected {_expected(item)}, found {found} "
        f"at {where}.",
        "Take it away, mount the right version, or record again with this one.",
    )
