"""`pytest --mlrepro`, as a project that comes from nbval or nbmake uses it.

Kernels are few: one run over several notebooks, of which several tests read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

BARE = ["-p", "no:nbval", "-p", "no:nbmake", "-rA"]


@dataclass
class Ran:
    """What a run of pytest gave."""

    status: int
    found: dict[str, str]
    """The outcome of each test, by what follows the folder in its id."""
    printed: str
    folder: Path

    def of(self, notebook: str) -> dict[str, str]:
        """Return the outcomes of a notebook's cells."""
        parts = {name: name.partition("::") for name in self.found}
        return {p[2]: self.found[name] for name, p in parts.items() if p[0] == notebook}


def run(folder: Path, *arguments: str) -> Ran:
    """Run pytest in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *BARE, *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env={n: v for n, v in os.environ.items() if n != "PYTEST_ADDOPTS"},
    )  # fmt: skip
    words = ("PASSED", "FAILED", "SKIPPED", "XFAIL", "ERROR")
    found = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word in words and (match := re.search(r"(\S+\.ipynb)(::Cell \d+)?", rest)):
            found[match[0]] = word
    return Ran(done.returncode, found, done.stdout + done.stderr, folder)


def write(path: Path, *cells: tuple[str, list[dict[str, Any]]], **metadata: Any) -> None:
    """Write a notebook that was executed."""
    nb = nbformat.v4.new_notebook(metadata=metadata)
    for count, (source, outputs) in enumerate(cells, 1):
        made = [nbformat.from_dict(output) for output in outputs]
        nb.cells.append(nbformat.v4.new_code_cell(source, execution_count=count, outputs=made))
    nbformat.write(nb, path)


def said(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def raised(name: str, value: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": []}


def marks(path: Path) -> None:
    """Write a notebook with each of nbval's markers, with what passes and with what does not."""
    write(
        path,
        ("print(1)", [said("1\n")]),
        ("print('now')", [said("then\n")]),
        ("# NBVAL_IGNORE_OUTPUT\nprint(3)", [said("0\n")]),
        ("# NBVAL_CHECK_OUTPUT\nprint(4)", [said("0\n")]),
        ("# NBVAL_SKIP\nraise SystemExit", []),
        ("# NBVAL_RAISES_EXCEPTION\n1 / 0", [raised("ZeroDivisionError", "division by zero")]),
        ("# NBVAL_RAISES_EXCEPTION\n1 / 0", [raised("KeyError", "1")]),
        ("undefined", []),
        ("print('on')", [said("on\n")]),
    )  # fmt: skip


def project(folder: Path) -> Path:
    """Write notebooks of all kinds, good and bad, with tests beside them."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    marks(folder / "marks.ipynb")
    (folder / "marks_executed.ipynb").write_bytes((folder / "marks.ipynb").read_bytes())
    unknown = {"kernelspec": {"name": "elsewhere", "display_name": "It", "language": "python"}}
    write(folder / "unknown.ipynb", ("1", []), ("2", []), **unknown)
    write(folder / "empty.ipynb")
    (folder / "broken.ipynb").write_text("{", encoding="utf-8")
    (folder / "blank.ipynb").write_text("", encoding="utf-8")
    (folder / "list.ipynb").write_text("[1]", encoding="utf-8")
    (folder / "test_it.py").write_text("def test_it():\n    pass\n")
    return folder


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run over all of it, that may draw on nothing that is not pytest's own."""
    return run(
        project(tmp_path_factory.mktemp("strict")), "--mlrepro", "--mlrepro-reruns=1",
        "--junitxml=j.xml", "--strict-markers", "--continue-on-collection-errors", "-p", "no:xdist",
    )  # fmt: skip


@pytest.fixture
def notebook(repository: Path) -> Path:
    """The notebook with the markers."""
    marks(repository / "marks.ipynb")
    return repository / "marks.ipynb"


def test_markers_decide_as_nbval_has_them_and_a_failure_says_why(strict: Ran) -> None:
    assert strict.status == 1
    assert {name: word for name, word in strict.of("marks.ipynb").items() if word != "PASSED"} == {
        "Cell 1": "FAILED", "Cell 3": "FAILED", "Cell 6": "FAILED", "Cell 7": "FAILED",
    }, strict.printed  # fmt: skip
    assert re.search(r"\d+ failed, 5 passed, 1 skipped", strict.printed)  # test_it among them
    assert "marks.ipynb Cell 1" in strict.printed
    assert "-then" in strict.printed
    assert "+now" in strict.printed
    assert "Fix:" in strict.printed
    assert "Cell 7" in (strict.folder / "j.xml").read_text()


def test_no_notebook_is_changed(strict: Ran) -> None:
    copy = (strict.folder / "marks_executed.ipynb").read_bytes()
    assert (strict.folder / "marks.ipynb").read_bytes() == copy
    assert not any("executed" in name for name in strict.found)


def test_a_kernel_that_is_not_there_is_named_with_what_to_do(strict: Ran) -> None:
    assert strict.of("unknown.ipynb") == {"Cell 0": "FAILED", "Cell 1": "FAILED"}
    assert re.search(r"kernel 'elsewhere'.* is not installed", strict.printed)
    assert "--name elsewhere" in strict.printed


def test_what_is_no_notebook_is_an_error_of_collection_without_our_frames(strict: Ran) -> None:
    errors = {name for name, word in strict.found.items() if word == "ERROR"}
    assert errors == {"broken.ipynb", "blank.ipynb", "list.ipynb"}, strict.printed
    assert "pytest_plugin" not in strict.printed.partition("short test summary")[0].partition(
        "= ERRORS")[2]  # fmt: skip


def test_lax_compares_what_is_marked_and_takes_the_names_of_nbvals_and_nbmakes_options(
    notebook: Path,
) -> None:
    write(notebook.parent / "a.ipynb", ("1 / 0", []),
          execution={"allow_errors": True, "timeout": 300})  # fmt: skip
    ran = run(
        notebook.parent, "--mlrepro-lax", "--mlrepro-reruns=0", "--current-env",
        "--nbmake-timeout=600", "--nbval-kernel-startup-timeout=9", "-n1", ".",
    )  # fmt: skip
    assert ran.status == 1
    wrong = {name for name, word in ran.found.items() if word == "FAILED"}
    assert wrong == {"marks.ipynb::Cell 3", "marks.ipynb::Cell 7"}, ran.printed
    assert ran.of("a.ipynb") == {"Cell 0": "PASSED"}  # it announces errors, as nbmake has it


def test_collecting_selects_by_name_and_leaves_executed_copies(notebook: Path) -> None:
    project(notebook.parent)
    ran = run(notebook.parent, "--mlrepro", "--co", "-q", "-k", "2", "--", ".")
    assert "marks.ipynb::Cell 2" in ran.printed
    assert "Cell 3" not in ran.printed
    assert "executed" not in ran.printed
    assert "ERROR broken.ipynb" in ran.printed
    assert ran.status == 2


def test_the_first_failure_ends_the_run_and_what_failed_last_is_taken_up(repository: Path) -> None:
    project(repository)
    first = run(repository, "--mlrepro", "-x", "unknown.ipynb", "test_it.py")
    assert first.of("unknown.ipynb") == {"Cell 0": "FAILED"}
    again = run(repository, "--mlrepro", "--lf", "--co", "-q", "unknown.ipynb", "test_it.py")
    assert "unknown.ipynb::Cell 0" in again.printed
    assert "Cell 1" not in again.printed


@pytest.mark.parametrize("dist", ["load", "loadfile", "loadgroup"])
def test_the_cells_of_a_notebook_stay_on_one_worker(repository: Path, dist: str) -> None:
    skipped = [("# NBVAL_SKIP", [])] * 6  # no kernel is started for it
    for name in ("one.ipynb", "two.ipynb"):
        write(repository / name, *skipped)
    ran = run(repository, "--mlrepro", "-v", "-n2", f"--dist={dist}", ".")
    pairs = set(re.findall(r"\[(gw\d)\].*SKIPPED (\S+\.ipynb)", ran.printed))
    assert {notebook for _, notebook in pairs} == {"one.ipynb", "two.ipynb"}, ran.printed
    assert len(pairs) == 2, ran.printed


def test_what_cannot_be_had_is_refused_with_the_reason(repository: Path) -> None:
    asked = {
        "mlrepro never writes into a notebook": [
            ["--mlrepro", "--overwrite"], ["--mlrepro-lax", "--overwrite"],
        ],
        "mlrepro compares pictures without it": [["--mlrepro", "--nbdime"]],
        "exclude each other": [["--mlrepro", "--current-env", "--nbval-kernel-name=python3"]],
    }  # fmt: skip
    for reason, several in asked.items():
        for arguments in several:
            ran = run(repository, *arguments)
            assert ran.status == 4, ran.printed
            assert reason in ran.printed


def test_without_the_flag_pytest_loads_nothing_of_it(tmp_path: Path) -> None:
    program = (
        "import sys, pytest; pytest.main(['--co', '-q', '-p', 'no:nbval', '-p', 'no:nbmake', "
        "sys.argv[1]]); print('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.partition("LOADED ")[2].split())
    assert "mlrepro_nb.faces.pytest_plugin" in loaded
    assert not {m for m in loaded if m.startswith("mlrepro_nb.") and "faces" not in m}
    assert loaded.isdisjoint({"nbformat", "nbclient", "papermill", "msgspec"})
