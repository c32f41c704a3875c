"""nbval's and nbmake's own notebooks under `pytest --mlrepro`: as many pass, and the same ones.

``MLREPRO_PARITY_NBVAL`` and ``MLREPRO_PARITY_NBMAKE`` are checkouts of the two projects; what is
not given is left out. Where nbval fails and we pass, the difference is one that we know to be
noise (a date, an address, another rendering of the same picture); where it passes and we fail, it
is one that nbval does not look at (a picture of another size). nbmake knows none of nbval's marks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

_COMMON = ("-q", "-p", "no:cacheprovider", "-p", "no:python", "-p", "no:doctest")
_RULES = "tests/sanitize_defaults.cfg"
# The words of the peer, and ours; what their own documentation and test suites run.
_RUNS: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "nbval": (
        (("--nbval", "--nbval-current-env"), ("--mlrepro",)),
        (
            ("--nbval", "--nbval-current-env", "--nbval-sanitize-with", _RULES),
            ("--mlrepro", "--mlrepro-sanitize-with", _RULES),
        ),
        (("--nbval-lax", "--nbval-current-env"), ("--mlrepro-lax",)),
        (("--nbmake",), ("--mlrepro-lax",)),
    ),
    "nbmake": (
        (("--nbmake",), ("--mlrepro-lax",)),
        (("--nbmake", "--nbmake-timeout=20"), ("--mlrepro-lax", "--mlrepro-cell-timeout=20")),
        (
            ("--nbmake", "--nbmake-find-import-errors"),
            ("--mlrepro-lax", "--mlrepro-find-import-errors"),
        ),
    ),
}


def measure() -> list[dict[str, object]]:
    """Return a row for each way to run each project's notebooks."""
    rows = []
    for project, runs in _RUNS.items():
        given = os.environ.get(f"MLREPRO_PARITY_{project.upper()}")
        for theirs, ours in runs if given else ():
            assert given is not None
            rows.append(_row(project, Path(given), theirs, ours))
    return rows or [{"notebooks of": "none: set MLREPRO_PARITY_NBVAL, MLREPRO_PARITY_NBMAKE"}]


def _row(
    project: str, checkout: Path, theirs: tuple[str, ...], ours: tuple[str, ...]
) -> dict[str, object]:
    before, after = outcomes(checkout, theirs), outcomes(checkout, ours)
    if "--nbmake" in theirs:
        before, after = _by_notebook(before), _by_notebook(after)
    names = sorted(before.keys() | after.keys())
    other = [n for n in names if before.get(n) != after.get(n)]
    return {
        "notebooks of": project,
        "run with": " ".join(theirs),
        "and": " ".join(ours),
        "tests": len(names),
        "same": len(names) - len(other),
        "others": "; ".join(f"{n}: {before.get(n)}, ours {after.get(n)}" for n in other) or "-",
    }


def outcomes(checkout: Path, arguments: Sequence[str]) -> dict[str, str]:
    """Run pytest over a fresh copy of the notebooks; return what became of each test."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        # Not their packages, which are not what is installed, nor how they configure pytest.
        for path in sorted(p for kind in ("*.ipynb", "*.cfg") for p in checkout.rglob(kind)):
            if path.name != "setup.cfg":
                (copy / path.relative_to(checkout)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy / path.relative_to(checkout))
        (copy / "pytest.ini").write_text("[pytest]\n")
        notebooks = sorted(str(p.relative_to(copy)) for p in copy.rglob("*.ipynb"))
        subprocess.run(
            [sys.executable, "-m", "pytest", *_COMMON, "--junitxml=out.xml", *arguments,
             *notebooks],
            cwd=copy, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return read_junit(copy / "out.xml")


def read_junit(path: Path) -> dict[str, str]:
    """Return each test's outcome by its file and name."""
    found = {}
    for case in ET.parse(path).iter("testcase"):
        ended = [e.tag for e in case if e.tag in ("failure", "error", "skipped")]
        word = {"failure": "failed", "error": "failed"}.get(ended[0], ended[0]) if ended else ""
        found[f"{case.get('classname')}::{case.get('name')}"] = word or "passed"
    return found


def _by_notebook(found: dict[str, str]) -> dict[str, str]:
    """Return of each notebook whether one of its tests failed."""
    grouped: dict[str, list[str]] = {}
    for name, word in found.items():
        grouped.setdefault(_notebook(*name.split("::", 1)), []).append(word)
    return {name: _whole(words) for name, words in grouped.items()}


def _notebook(scope: str, test: str) -> str:
    """Return the notebook of a test: the scope is that, or its folder, with or without an end."""
    own, scope = test.removesuffix(".ipynb"), scope.removesuffix(".ipynb")
    if own == test or f".{scope}".endswith(f".{own}"):
        return f"{scope}.ipynb"
    return f"{scope}.{test}".lstrip(".")


def _whole(words: Iterable[str]) -> str:
    return "failed" if "failed" in words else "passed"
