"""The other files of folders that a cell listed: how many there are is an input, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mlrepro_nb.connect import git
from mlrepro_nb.image._contents import ContextFile, in_project, inside
from mlrepro_nb.image._secrets import holds_secret
from mlrepro_nb.image.data._inputs import SMALL
from mlrepro_nb.model import Record


def listed(
    record: Record, root: Path, known: Iterable[str], *, bake_data: bool
) -> tuple[tuple[ContextFile, ...], list[str]]:
    """Return the files beside those that the run opened, and notes on those that stay out.

    What git does not track is not copied: nobody opened it, so nobody knows that it is data.

    Parameters
    ----------
    known
        Paths in the project, of folders too, that the image has, or a container gets.
    bake_data
        Copy what is big, too.
    """
    have = {*known}
    # Of a folder of which many files were read, the others are not among them.
    have |= {a.repo_path for a in record.data if a.repo_path and (not a.tree or a.access != "read")}
    folders: dict[str, int | None] = {}
    for cell in record.code.cells:
        for folder in cell.lists:
            folders.setdefault(folder, cell.index)
    found = {folder: list(_members(root, folder, have)) for folder in folders}
    tracked: set[str] = set()
    if git.root(root) is not None:
        tracked = git.tracked(root, [name for names in found.values() for name in names])
    files, notes = [], []
    for folder, names in found.items():
        out = []
        for name in names:
            path = root / name
            small = bake_data or path.stat().st_size <= SMALL
            own = name in tracked and not path.is_symlink()
            if own and small and not holds_secret(path, tracked=True):
                files.append(ContextFile(layer="data", path=inside(name), source=str(path)))
            else:
                out.append(name)
        if out:
            notes.append(_note(folder, folders[folder], out))
    return tuple(files), notes


def _members(root: Path, folder: str, have: set[str]) -> Iterator[str]:
    # Not above: a service imports this package, and has no need of what capture needs.
    from mlrepro_nb.capture.data.folders import is_others
    from mlrepro_nb.capture.data.paths import is_ignored

    place = root / folder
    above = {folder, *(str(path) for path in Path(folder).parents)} - {"."}
    if not in_project(folder) or not place.is_dir() or above & have:
        return
    for path in sorted(place.iterdir()):
        name = path.relative_to(root).as_posix()
        skipped = is_others(name) or is_ignored(str(path))
        if name not in have and not skipped and path.is_file():
            yield name


def _note(folder: str, cell: int | None, names: list[str]) -> str:
    what = "1 file is" if len(names) == 1 else f"{len(names)} files are"
    shown = ", ".join(names[:3]) + ("…" if len(names) > 3 else "")
    return (
        f"{'A cell' if cell is None else f'Cell {cell}'} lists {folder}, of which {what} not in "
        f"the image ({shown}): no cell opened them, and git does not track them, or they have "
        f"more than {SMALL // 2**20} MiB, or seem to hold a secret. If the result depends on them, "
        "name them in `files`."
    )
