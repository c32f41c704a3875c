"""Our plugin beside nbval and nbmake on the same notebooks: as many tests, the same outcomes.

The notebooks have every marker, tag, metadata key and option that the two document.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytest.importorskip("nbval")
pytest.importorskip("nbmake")

RULES = """\
[times]
regex: \\d{2}:\\d{2}
replace: TIME

[things]
regex: (<\\w+ no )\\d+(>)
replace: \\1N\\2
"""
CONFTEST = """\
def pytest_collectstart(collector):
    if collector.path.suffix == ".ipynb":
        collector.skip_compare += ("stderr", "text/html")
"""
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
)
RAISE = "raise ValueError('of old')"


def said(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def raised(name: str, value: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": []}


def shown(**data: str) -> dict[str, Any]:
    named = {key.replace("__", "/"): value for key, value in data.items()}
    return {"output_type": "display_data", "metadata": {}, "data": named}


def show(**data: str) -> str:
    return f"from IPython.display import display\ndisplay({shown(**data)['data']!r}, raw=True)"


def cell(source: str, *outputs: Any, tags: Any = (), ran: bool = True, **metadata: Any) -> Any:
    made = nbformat.v4.new_code_cell(source, outputs=[nbformat.from_dict(o) for o in outputs])
    made.execution_count = 1 if ran else None
    made.metadata.update(metadata)
    if tags:
        made.metadata.tags = list(tags)
    return made


def write(path: Path, *cells: Any, **metadata: Any) -> None:
    nb = nbformat.v4.new_notebook(metadata=metadata, cells=[nbformat.v4.new_markdown_cell("It.")])
    nb.cells += cells
    nbformat.write(nb, path)


# What a cell is, and what becomes of it under --nbval and under --nbval-lax.
MARKS: list[tuple[Any, str, str]] = [
    (cell("import sys"), "passed", "passed"),
    (cell("print(1)", said("1\n")), "passed", "passed"),
    (cell("print('now')", said("then\n")), "failed", "passed"),
    (cell("# NBVAL_IGNORE_OUTPUT\nprint('now')", said("then\n")), "passed", "passed"),
    (cell("# PYTEST_VALIDATE_IGNORE_OUTPUT\nprint('now')", said("then\n")), "passed", "passed"),
    (cell("# NBVAL_CHECK_OUTPUT\nprint('now')", said("then\n")), "failed", "failed"),
    (cell("print('now')", said("then\n"), tags=["nbval-ignore-output"]), "passed", "passed"),
    (cell("print('now')", said("then\n"), tags=["nbval-check-output"]), "failed", "failed"),
    (
        cell(
            "# NBVAL_IGNORE_OUTPUT\nprint('now')", said("then\n"), tags=["nbval-check-output"]
        ), "passed", "passed",
    ),
    (
        cell("# NBVAL_CHECK_OUTPUT\n# NBVAL_IGNORE_OUTPUT\nprint('now')", said("then\n")),
        "passed", "passed",
    ),
    (cell("# NBVAL_SKIP\nraise SystemExit"), "skipped", "skipped"),
    (cell("raise SystemExit", tags=["nbval-skip"]), "skipped", "skipped"),
    (cell("print('NBVAL_SKIP')", said("NBVAL_SKIP\n")), "passed", "passed"),
    (
        cell(f"# NBVAL_RAISES_EXCEPTION\n{RAISE}", raised("ValueError", "of old")),
        "passed", "passed",
    ),
    (
        cell(f"# NBVAL_RAISES_EXCEPTION\n{RAISE}", raised("KeyError", "of old")),
        "failed", "passed",
    ),
    (
        cell(f"# NBVAL_RAISES_EXCEPTION\n{RAISE}", raised("ValueError", "anew")),
        "failed", "passed",
    ),
    (
        cell(
            f"# NBVAL_IGNORE_OUTPUT\n# NBVAL_RAISES_EXCEPTION\n{RAISE}", raised("KeyError", "1")
        ), "passed", "passed",
    ),
    (cell(RAISE, raised("ValueError", "of old"), tags=["raises-exception"]), "passed", "passed"),
    (cell(RAISE, raised("ValueError", "of old"), tags=["nbval-raises-exception"]),
     "passed", "passed"),
    (cell("print('at 12:34')", said("at 09:10\n")), "passed", "passed"),
    (cell("print('<cat no 1>')", said("<cat no 2>\n")), "passed", "passed"),
    (cell("print('<cat no 1>')", said("<dog no 1>\n")), "failed", "passed"),
    (cell("print('never ran')", ran=False), "passed", "passed"),
    (cell("print('has none')"), "failed", "passed"),
    (cell("7", said("7\n")), "failed", "passed"),
    (cell("print('new', file=sys.stderr)", said("old\n", "stderr")), "passed", "passed"),
    (cell("print(1)\nprint('new', file=sys.stderr)\nprint(2)", said("1\n2\n")),
     "passed", "passed"),
    (cell("print(1, flush=True)\nprint(2)", said("1\n"), said("2\n")), "passed", "passed"),
    (cell("print('10 %\\r20 %\\rdone')", said("done\n")), "passed", "passed"),
    (
        cell(show(text__html="<b>1</b>", text__plain="1"),
             shown(text__html="<b>2</b>", text__plain="1")), "passed", "passed",
    ),
    (
        cell(show(text__latex="$x$", image__png=PIXEL),
             shown(text__latex="$x$", image__png=PIXEL.replace("mNk", "mNg"))), "passed", "passed",
    ),
    (
        cell(show(text__latex="$x$", image__png=PIXEL), shown(text__latex="$y$", image__png=PIXEL)),
        "failed", "passed",
    ),
    (cell("undefined"), "failed", "failed"),
    (cell("print('on')", said("on\n")), "passed", "passed"),
]  # fmt: skip
# What nbval calls a difference without a rule for it, and we know for noise.
NOISE = (
    cell("print(object())", said("<object object at 0x7f0000000000>\n")),
    cell("print(0.1 + 0.2)", said("0.3\n")),
)
UNKNOWN = {"kernelspec": {"name": "of-another-machine", "display_name": "It", "language": "python"}}


def nbmake_notebooks(folder: Path) -> None:
    """Write what nbmake documents, a notebook each."""
    mocked = {"mock": {"x": 2, "y": "fish", "z": {"deep": [1, None, True]}}}
    write(
        folder / "mocks.ipynb",
        cell("x = 5\ny = 'bird'", nbmake=mocked),
        cell("assert (x, y, z) == (2, 'fish', {'deep': [1, None, True]})"),
        cell("n = 1", nbmake={"post_cell_execute": ["n = 3", "m = n + 1"]}),
        cell("assert (n, m) == (3, 4)"),
        cell("raise RuntimeError", tags=["raises-exception"]),
        cell("raise RuntimeError", tags=["skip-execution"]),
        cell("print('new')", said("old\n")),
        cell(""),
        **UNKNOWN,
        execution={"timeout": 60},
    )
    write(folder / "check.ipynb", cell("1", nbmake={"post_cell_execute": ["assert False, 'no'"]}))
    write(
        folder / "masked.ipynb",
        cell("raise OSError('own')", nbmake={"post_cell_execute": ["raise ValueError"]}),
    )
    write(folder / "allowed.ipynb", cell("1 / 0"), cell("2 / 0"), execution={"allow_errors": True})
    write(folder / "late.ipynb", cell("import time"), cell("time.sleep(60)"),
          execution={"timeout": 1})  # fmt: skip
    write(folder / "magic.ipynb", cell("%load_ext no_such_extension"))


def import_notebooks(folder: Path) -> None:
    write(
        folder / "there.ipynb", cell("import json"), cell("1 / 0"),
        cell("import time; time.sleep(60)"), cell("from json import no_such_name"),
    )  # fmt: skip
    write(folder / "missing.ipynb", cell("1 / 0"), cell("import no_such_module"), cell("2"))
    write(folder / "check.ipynb", cell("1", nbmake={"post_cell_execute": ["x = 1", "1 / 0"]}))


def start(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-p",
         "no:randomly", f"--junitxml={name}.xml", *arguments],
        cwd=folder, stdout=(folder / f"{name}.txt").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip


def outcomes(folder: Path, name: str) -> dict[str, str]:
    """Return what became of each test, by its notebook and name."""
    found = {}
    for case in ET.parse(folder / f"{name}.xml").iter("testcase"):
        ended = [element.tag for element in case if element.tag in ("failure", "error", "skipped")]
        notebook = str(case.get("classname")).removesuffix(".ipynb")
        word = {"failure": "failed", "error": "failed"}.get(ended[0], ended[0]) if ended else ""
        if case.find("skipped") is not None and "xfail" in str(case.find("skipped").get("type")):
            word = ""  # of a cell that was never reached nbval says now this, now that
        found[f"{notebook}::{case.get('name')}"] = word or "passed"
    assert found, (folder / f"{name}.txt").read_text()
    return found


def both(folder: Path, theirs: list[str], ours: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Run both over the same notebooks, each in a folder of its own."""
    running = []
    for name, arguments in (("theirs", theirs), ("ours", ["--mlrepro-reruns=0", *ours])):
        own = folder / name
        own.mkdir()
        for path in [p for p in folder.iterdir() if p.is_file()]:
            (own / path.name).write_bytes(path.read_bytes())
        (own / "pytest.ini").write_text("[pytest]\n")
        running.append(start(own, name, *arguments))
    for process in running:
        process.wait()
    return outcomes(folder / "theirs", "theirs"), outcomes(folder / "ours", "ours")


def by_notebook(found: dict[str, str]) -> dict[str, str]:
    """Return of each notebook whether a test of it failed: nbmake has one for each."""
    whole: dict[str, str] = {}
    for name, word in found.items():
        notebook = name.partition("::")[0]
        whole[notebook] = "failed" if "failed" in (word, whole.get(notebook)) else "passed"
    return whole


@pytest.mark.parametrize("mode", ["strict", "lax"])
def test_each_of_nbvals_markers_rules_and_hooks_decides_alike(tmp_path: Path, mode: str) -> None:
    (tmp_path / "rules.cfg").write_text(RULES)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    write(tmp_path / "marks.ipynb", *(one for one, _, _ in MARKS), *(
        NOISE if mode == "strict" else ()))  # fmt: skip
    suffix = "" if mode == "strict" else "-lax"
    theirs, ours = both(
        tmp_path,
        [f"--nbval{suffix}", "--nbval-current-env", "--nbval-sanitize-with", "rules.cfg"],
        [f"--mlrepro{suffix}", "--mlrepro-current-env", "--mlrepro-sanitize-with", "rules.cfg"],
    )
    documented = {
        f"marks::Cell {number}": strict if mode == "strict" else lax
        for number, (_, strict, lax) in enumerate(MARKS)
    }
    noise = {f"marks::Cell {len(MARKS) + number}" for number in range(len(NOISE))}
    assert {name: word for name, word in theirs.items() if name not in noise} == documented
    assert {name: word for name, word in ours.items() if name not in noise} == documented
    if mode == "strict":
        assert {theirs[name] for name in noise} == {"failed"}
        assert {ours[name] for name in noise} == {"passed"}


def test_a_kernels_name_and_a_time_are_given_as_to_nbval(tmp_path: Path) -> None:
    write(
        tmp_path / "late.ipynb", cell("import time"), cell("time.sleep(60)"),
        cell("a = 5"), **UNKNOWN,
    )  # fmt: skip
    write(tmp_path / "other.ipynb", cell("print(2)", said("2\n")), **UNKNOWN)
    options = ["--nbval-kernel-name=python3", "--nbval-cell-timeout=3"]
    theirs, ours = both(tmp_path, ["--nbval", *options], ["--mlrepro", *options])
    assert ours == theirs
    assert [name for name, word in ours.items() if word == "failed"] == ["late::Cell 1"]


def test_what_nbmake_reads_in_notebooks_decides_alike(tmp_path: Path) -> None:
    nbmake_notebooks(tmp_path)
    options = ["--nbmake-timeout=45", "--nbmake-kernel=python3"]
    theirs, ours = both(tmp_path, ["--nbmake", *options], ["--mlrepro-lax", *options])
    assert by_notebook(ours) == {
        "mocks": "passed", "check": "failed", "masked": "failed", "allowed": "passed",
        "late": "failed", "magic": "failed",
    }  # fmt: skip
    assert by_notebook(theirs) == by_notebook(ours)
    masked = (tmp_path / "ours" / "ours.txt").read_text()
    assert "OSError: own" in masked
    assert "AssertionError: no" in masked


def test_only_missing_modules_fail_where_that_is_asked_for(tmp_path: Path) -> None:
    import_notebooks(tmp_path)
    options = ["--nbmake-find-import-errors", "--nbmake-timeout=2"]
    theirs, ours = both(tmp_path, ["--nbmake", *options], ["--mlrepro", *options])
    assert by_notebook(ours) == {"there": "passed", "missing": "failed", "check": "failed"}
    assert by_notebook(theirs) == by_notebook(ours)
    assert ours["missing::Cell 1"] == "failed"
