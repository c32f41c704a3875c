"""A recorded project whose library was upgraded since: two small ones from the index."""

import subprocess
from pathlib import Path

import msgspec
import nbformat
import nbformat.v4 as v4

from mlrepro_nb import stamp
from mlrepro_nb.connect import uv
from mlrepro_nb.record import record
from mlrepro_nb.store import Store

CELLS = (
    "import humanize, toolz",
    "print(humanize.naturalsize(1e30))",  # 1000000.0 YB until 4.10, 1.0 QB from 4.11 on
    "print(toolz.take(2, [1, 2, 3]).__class__.__name__)",
)


def install(site: Path, *pins: str) -> None:
    """Put versions into a folder, in place of what is there."""
    subprocess.run(["rm", "-rf", str(site)], check=True)
    site.mkdir(parents=True)
    done = subprocess.run(
        [uv.program(), "pip", "install", "--quiet", "--no-deps", "--target", str(site), *pins],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def write(path: Path, *cells: str) -> Path:
    """Write a notebook that never ran."""
    nb = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": ""}})
    nb.cells = [v4.new_code_cell(source) for source in cells]
    nbformat.write(nb, path)
    return path


def recorded(folder: Path, *pins: str, cells: tuple[str, ...] = CELLS) -> Path:
    """Record a notebook; the record's lock has these pins only, so that it is quick to build."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    path = write(folder / "a.ipynb", *cells)
    record(path, inplace=True, lock=False)
    store = Store.find(folder)
    _, kept = store.find_record(str(path))
    text = uv.lock(list(pins), python=kept.environment.python)
    environment = msgspec.structs.replace(kept.environment, lock=store.blobs.put(text.encode()))
    digest = store.put(msgspec.structs.replace(kept, environment=environment))
    nb = nbformat.read(path, as_version=4)
    nb.metadata[stamp.KEY] = str(stamp.Stamp(record=digest))
    nbformat.write(nb, path)
    return path
