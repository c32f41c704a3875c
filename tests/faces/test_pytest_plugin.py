"""`pytest --mlrepro`, as a project that comes from nbval or nbmake uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

BARE = ["-p", "no:nbval", "-p", "no:nbmake", "-p", "no:cacheprovider", "-rA"]


def run(folder: Path, *arguments: str) -> tuple[int, dict[str, str], str]:
    """Run pytest in a folder; return its status, each test's outcome, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *BARE, *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    words = ("PASSED", "FAILED", "SKIPPED", "XFAIL", "ERROR")
    found = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word in words and "::" in rest:
            found[rest.partition("::")[2].partition(" - ")[0]] = word
    return done.returncode, found, done.stdout + done.stderr


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


@pytest.fixture
def notebook(repository: Path) -> Path:
    """Each of nbval's markers, once with what passes and once with what does not."""
    path = repository / "marks.ipynb"
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
    return path


def test_markers_decide_as_nbval_has_them_and_a_failure_says_why(notebook: Path) -> None:
    text = notebook.read_bytes()
    status, found, printed = run(notebook.parent, "--mlrepro", "--junitxml=j.xml", "marks.ipynb")
    assert status == 1
    assert {name: word for name, word in found.items() if word != "PASSED"} == {
        "Cell 1": "FAILED", "Cell 3": "FAILED", "Cell 6": "FAILED", "Cell 7": "FAILED",
    }, printed  # fmt: skip
    assert "5 passed" not in printed
    assert "4 passed, 1 skipped" in printed
    assert "-then" in printed
    assert "+now" in printed
    assert "Fix:" in printed
    assert "Cell 7" in (notebook.parent / "j.xml").read_text()
    assert notebook.read_bytes() == text


def test_lax_compares_what_is_marked_and_takes_the_names_of_nbvals_and_nbmakes_options(
    notebook: Path,
) -> None:
    status, found, printed = run(
        notebook.parent, "--mlrepro-lax", "--nbval-current-env", "--nbmake-timeout=600",
        "--nbval-kernel-startup-timeout=9", "-n1", "marks.ipynb",
    )  # fmt: skip
    assert status == 1
    wrong = {name for name, word in found.items() if word == "FAILED"}
    assert wrong == {"Cell 3", "Cell 7"}, printed


def test_a_notebook_that_announces_errors_may_raise_as_nbmake_has_it(repository: Path) -> None:
    write(repository / "a.ipynb", ("1 / 0", []), execution={"allow_errors": True, "timeout": 300})
    status, found, printed = run(repository, "--mlrepro-lax", "a.ipynb")
    assert (status, found) == (0, {"Cell 0": "PASSED"}), printed


def test_collecting_selects_by_name_and_leaves_executed_copies(notebook: Path) -> None:
    (notebook.parent / "marks_executed.ipynb").write_bytes(notebook.read_bytes())
    (notebook.parent / "broken.ipynb").write_text("{", encoding="utf-8")
    status, _, printed = run(notebook.parent, "--mlrepro", "--co", "-q", "-k", "2", "--", ".")
    assert "marks.ipynb::Cell 2" in printed
    assert "Cell 3" not in printed
    assert "executed" not in printed
    assert "ERROR broken.ipynb" in printed
    assert status == 2


@pytest.mark.parametrize(
    "arguments", [["--mlrepro", "--overwrite"], ["--mlrepro-lax", "--overwrite"]]
)
def test_what_would_write_into_a_notebook_is_refused_with_the_reason(
    notebook: Path, arguments: list[str]
) -> None:
    status, _, printed = run(notebook.parent, *arguments)
    assert status == 4
    assert "mlrepro never writes into a notebook" in printed


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
