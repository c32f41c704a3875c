"""A scratch copy of a project, so that a rerun never touches the user's files.

The copy lies at the project's own absolute path below a temporary folder:
``..`` leads where it led before, and a path that the notebook prints differs
from the original only by that folder's name, which `Workspace.original` takes
off again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mlrepro_nb.connect import git
from mlrepro_nb.model import Report, Step, silent

LARGEST = 4 << 30
"""Bytes of a project beyond which big files are linked instead of copied."""

BIG = 64 << 20
MANY = 20_000
"""Files of a project beyond which its folders are linked: a home folder, a scratch disk."""

_NOT_COPIED = frozenset(
    {
        ".git", ".mlrepro", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints",
        ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".nox", ".hypothesis",
    }
)  # fmt: skip
_LINKED = frozenset({".dvc/cache"})
_FICLONE = 0x40049409


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of a project."""

    root: Path
    """The copy's root."""
    source: Path
    """The project that it is a copy of."""
    base: Path
    """The temporary folder below which `source` is mirrored."""
    size: int = 0
    """Bytes of the project, as far as they were counted."""
    notes: tuple[str, ...] = ()
    """What is not as in the original, one sentence each."""

    def path(self, original: Path) -> Path:
        """Return where a path of the project is in the copy."""
        return self.base / original.resolve().relative_to(original.anchor or "/")

    def original(self, text: str) -> str:
        """Return a text with the copy's paths as they are in the project."""
        return text.replace(str(self.base), "")


@contextlib.contextmanager
def workspace(
    root: Path,
    *,
    keep: Path | None = None,
    outside: Iterable[Path] = (),
    report: Report = silent,
    largest: int = LARGEST,
    commit: str | None = None,
) -> Iterator[Workspace]:
    """Yield a copy of a project, which is deleted at the end.

    Parameters
    ----------
    root : Path
        The git root, or the notebook's folder.
    keep : Path, optional
        The notebook's folder, copied even where others are only linked.
    outside : iterable of Path
        Files and folders outside the root that the copy shall see at the same
        relative place: they are linked.
    largest : int
        Bytes beyond which big files are linked, not copied.
    commit : str, optional
        Fill the copy with what git has of this commit, and nothing else of the project.

    Raises
    ------
    ToolError
        git does not have the commit.

    Notes
    -----
    Packages that are installed in editable mode from the project are still
    imported from the original, as long as ``sys.path`` says so.
    """
    root = root.resolve()
    report(Step(message="copying the project to a scratch folder"))
    base = Path(tempfile.mkdtemp(prefix="mlrepro-ws-")).resolve()
    try:
        copy = base / root.relative_to("/")
        size, files = _size(root, base)
        link = size > largest or size > shutil.disk_usage(base).free * 0.8
        copier = _Copier(root, copy, base, link_big=link, link_folders=files > MANY)
        copier.keep = (keep or root).resolve()
        if commit is not None:
            git.checkout(str(root), commit, copy)
            (base / (keep or root).resolve().relative_to("/")).mkdir(parents=True, exist_ok=True)
        else:
            copier.folder(root, copy)
            with contextlib.suppress(OSError):
                _git(root, copy)
        for path in outside:
            copier.link(path)
        yield Workspace(root=copy, source=root, base=base, size=size, notes=tuple(copier.notes))
    finally:
        _remove(base)


def _size(root: Path, avoid: Path) -> tuple[int, int]:
    """Return bytes and number of the files below a folder; the counting stops where it is much."""
    total = count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = [
            f for f in folders if not _skipped(Path(folder, f)) and Path(folder, f) != avoid
        ]
        count += len(files)
        if count > MANY:
            break
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
    return total, count


def _skipped(folder: Path) -> bool:
    return folder.name in _NOT_COPIED or (folder / "pyvenv.cfg").exists()


class _Copier:
    def __init__(
        self, root: Path, copy: Path, base: Path, *, link_big: bool, link_folders: bool
    ) -> None:
        self.root, self.copy, self.base = root, copy, base
        self.link_big, self.link_folders = link_big, link_folders
        self.keep = root
        self.notes: list[str] = []

    def folder(self, source: Path, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        try:
            entries = sorted(os.scandir(source), key=lambda entry: entry.name)
        except OSError as error:
            self.notes.append(f"{source} could not be read: {error.strerror}.")
            return
        for entry in entries:
            path, copy = Path(entry.path), target / entry.name
            try:
                if entry.is_symlink():
                    self.symlink(path, copy)
                elif entry.is_dir(follow_symlinks=False):
                    if path.relative_to(self.root).as_posix() in _LINKED:
                        copy.symlink_to(path)
                    elif path == self.base:
                        continue
                    elif self.link_folders and not self.keep.is_relative_to(path):
                        copy.symlink_to(path)
                        self.notes.append(
                            f"{path} is linked, not copied: there are too many files."
                        )
                    elif not _skipped(path):
                        self.folder(path, copy)
                elif entry.is_file(follow_symlinks=False):
                    self.file(path, copy, entry.stat(follow_symlinks=False))
            except OSError as error:
                self.notes.append(f"{path} could not be copied: {error.strerror}.")
        with contextlib.suppress(OSError):
            shutil.copystat(source, target)
            target.chmod(target.stat().st_mode | stat.S_IRWXU)

    def file(self, source: Path, target: Path, status: os.stat_result) -> None:
        if self.link_big and status.st_size > BIG:
            target.symlink_to(source)
            self.notes.append(f"{source} is linked, not copied, because of its size.")
            return
        with source.open("rb") as reading, target.open("xb") as writing:
            if not _clone(reading.fileno(), writing.fileno()):
                shutil.copyfileobj(reading, writing, 1 << 20)
        shutil.copystat(source, target)

    def symlink(self, source: Path, target: Path) -> None:
        destination = Path(os.readlink(source))  # noqa: PTH115
        absolute = Path(os.path.normpath(source.parent / destination))
        if absolute.is_relative_to(self.root) and not destination.is_absolute():
            target.symlink_to(destination)
        elif absolute.is_relative_to(self.root):
            target.symlink_to(self.copy / absolute.relative_to(self.root))
        else:
            target.symlink_to(absolute)

    def link(self, path: Path) -> None:
        path = Path(os.path.normpath(path))
        if not path.exists() or path.is_relative_to(self.root) or self.root.is_relative_to(path):
            return
        target = self.base / path.relative_to(path.anchor)
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)


def _clone(source: int, target: int) -> bool:
    """Share the blocks of a file where the file system can."""
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _git(root: Path, copy: Path) -> None:
    """Give the copy a repository of its own that borrows the original's objects.

    So code that asks git for the commit or the state gets the right answer, and
    code that commits does so in the copy.
    """
    original = root / ".git"
    if not original.exists():
        return
    own = original
    if original.is_file():
        found = re.match(r"gitdir:\s*(.+)", original.read_text(encoding="utf-8"))
        if not found:
            return
        own = (root / found[1].strip()).resolve()
    common = own
    if (own / "commondir").is_file():
        common = (own / (own / "commondir").read_text(encoding="utf-8").strip()).resolve()
    target = copy / ".git"
    (target / "objects" / "info").mkdir(parents=True)
    objects = f"{common / 'objects'}\n"
    (target / "objects" / "info" / "alternates").write_text(objects, encoding="utf-8")
    if (common / "refs").is_dir():
        shutil.copytree(common / "refs", target / "refs")
    for folder, names in ((common, ("config", "packed-refs", "shallow")), (own, ("HEAD", "index"))):
        for name in names:
            if (folder / name).is_file():
                shutil.copy2(folder / name, target / name)


def _remove(folder: Path) -> None:
    def retry(function: object, path: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(path), stat.S_IRWXU)  # noqa: PTH120
            if callable(function):
                function(path)

    shutil.rmtree(folder, onerror=retry)
