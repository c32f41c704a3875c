"""What recording costs real public machine-learning notebooks, beside the peers' kernels.

`recording_public.toml` names them by repository, commit and path; their text is taken from
copies of the repositories (``MLREPRO_PUBLIC_MIRRORS``, as in `benchmarks.public`) or cloned.
They are measured as `benchmarks.recording_notebooks` says, each where it lies in a checkout.

    python -m benchmarks.run recording_public
        [--rounds 3] [--only KERNEL,...] [--notebooks PATTERN] [--mirrors FOLDER]

A plain kernel is always measured. A round takes five kernels a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.kernels import MODULES, PLAIN, interpreter
from benchmarks.public._obtain import Checkouts
from benchmarks.recording_notebooks import Notebook, run, table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A public notebook that runs in the list's environment."""

    repository: str
    commit: str
    path: str
    left_out: tuple[int, ...] = ()
    """Cells that are not run, numbered among the code cells from 1."""
    why: str = ""
    """They are left out."""


def measure(only: Sequence[str] = ()) -> list[dict[str, object]]:
    """Return the rows of each notebook and kernel, and those of all; `only` names kernels."""
    options = _options()
    document = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    listed = msgspec.convert(document["notebook"], list[_Listed])
    chosen = [one for one in listed if re.search(options.notebooks, one.path)]
    kinds = [kind for kind in MODULES if not only or kind in (PLAIN, *only)]
    python = interpreter(document["environment"]["packages"])
    with tempfile.TemporaryDirectory(prefix="mlrepro-public-") as scratch:
        checkouts = Checkouts(Path(scratch), options.mirrors)
        notebooks = [_notebook(one, use, checkouts) for use, one in enumerate(chosen)]
        return table(run(notebooks, options.rounds, kinds, python), together="all")


def _options() -> argparse.Namespace:
    mirrors = os.environ.get("MLREPRO_PUBLIC_MIRRORS")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run recording_public")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--notebooks", default="", help="a pattern that their paths have")
    parser.add_argument("--mirrors", type=Path, default=Path(mirrors) if mirrors else None)
    return parser.parse_known_args(sys.argv[1:])[0]


def _notebook(one: _Listed, use: int, checkouts: Checkouts) -> Notebook:
    folder = Path(one.path).parent

    def prepare() -> Path:
        copy = checkouts.get(one.repository, one.commit, use, str(folder))
        if copy is None:
            raise SystemExit(f"{one.repository} at {one.commit} cannot be had.")
        return copy / folder

    document = json.loads((prepare() / Path(one.path).name).read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in document["cells"] if c["cell_type"] == "code"]
    kept = [cell for number, cell in enumerate(cells, 1) if number not in one.left_out]
    return Notebook(f"{Path(one.path).stem} ({one.repository})", kept, prepare)
