"""Which of the project's folders a cell lists: what it finds there is an input, opened or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

LISTINGS = {
    "glob": ("import glob; glob.glob('d/p*.csv')", ("d",)),
    "listdir": ("import os; os.listdir('d'); os.listdir(b'd')", ("d",)),
    "here": ("import os; os.chdir('d'); os.listdir(); os.chdir('..')", ("d",)),
    "pathlib": ("from pathlib import Path; list(Path('d').iterdir())", ("d",)),
    "walk": ("import os; list(os.walk('d'))", ("d", "d/e")),
    "all": ("from pathlib import Path; list(Path('.').rglob('*.csv'))", (".", "d", "d/e")),
    "child": (
        "import multiprocessing as m, os\nwith m.get_context('fork').Pool(1) as p: "
        "p.map(os.listdir, ['d'])", ("d",)
    ),
    "outside": ("import os; os.listdir('/'); os.listdir('..')", ()),
    "machinery": ("import os; os.listdir('.git'); os.listdir('.mlrepro')", ()),
    "imports": (
        "import importlib, importlib.metadata, pkgutil, sys; sys.path.insert(0, 'd')\n"
        "importlib.invalidate_caches(); import own; importlib.metadata.version('pip')\n"
        "list(pkgutil.iter_modules()); sys.path.remove('d')", ()
    ),
    "none": ("open('d/p1.csv').read()", ()),
}  # fmt: skip


def test_the_folders_of_the_project_that_each_cell_lists(
    kernel: Callable, repository: Path
) -> None:
    (repository / "d" / "e").mkdir(parents=True)
    for name in ("d/p1.csv", "d/p2.csv", "d/e/q.csv", "d/own.py"):
        (repository / name).touch()
    live = kernel()
    live.run("%load_ext mlrepro_nb")
    for code, _ in LISTINGS.values():
        said = live.run(code)
        assert not said["errors"], (code, said)
    live.close()
    lists = {cell.order: cell.lists for cell in live.record().code.cells}
    found = {name: lists[number] for number, name in enumerate(LISTINGS, 1)}
    assert found == {name: folders for name, (_, folders) in LISTINGS.items()}
