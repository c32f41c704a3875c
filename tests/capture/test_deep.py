"""`mlrepro record --deep`: nothing that the kernel or its children open escapes."""

# ruff: noqa: E501
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from blake3 import blake3

from mlrepro_nb.connect import strace
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Record
from mlrepro_nb.record import record
from tests.capture.installs import install

CELLS = [
    "open('t.csv').read(); open('o1', 'w').write('x')",
    "import ctypes; l = ctypes.CDLL(None); l.close(l.open(b'u.csv', 0))",
    "!cat v.csv > o2; cp x.csv y.csv; mv y.csv z.csv",
    "import subprocess; _ = subprocess.run([{python!r}, '-c', 'open(\"w.csv\").read(); open({far!r})'])",
    "open('w.csv', 'r+').read()",
    "import multiprocessing as m, os\nwith m.get_context('spawn').Pool(1) as p: _ = p.apply(os.open, ('s.csv', 0))",
    "import sqlite3; d = sqlite3.connect('d.db'); d.execute('create table t (a)'); d.commit(); d.close()",
]


@pytest.fixture
def needs_strace() -> None:
    if shutil.which("strace") is None:
        if "strace" in os.environ.get("MLREPRO_REQUIRE", "").split(","):
            pytest.fail("required but missing: strace")
        pytest.skip("strace is not installed")


def recorded(repository: Path, cells: list[str]) -> Record:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "x", "language": "python"}
    nbformat.write(nb, repository / "n.ipynb")
    _, made = record(repository / "n.ipynb", deep=True, lock=False)
    return made


@pytest.fixture
def traced(needs_strace: None, repository: Path, tmp_path: Path) -> Record:
    (tmp_path / "far.csv").write_text("far", encoding="utf-8")
    for name in "tuvwxs":
        (repository / f"{name}.csv").write_text(name, encoding="utf-8")
    cells = [
        c.replace("{python!r}", repr(sys.executable)).replace("{far!r}", f'"{tmp_path}/far.csv"')
        for c in CELLS
    ]
    return recorded(repository, cells)


def test_what_a_program_imports_is_used_by_the_run_however_it_names_it(
    needs_strace: None, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "more" / "site-packages"
    for name in ("cowlib", "unused"):
        install(site, name)
    install(site, "horselib", files={"horselib.py": "x = 1\n"})
    monkeypatch.setenv("PYTHONPATH", str(site))
    (repository / "child.py").write_text("for n in ('cowlib', 'horselib'): __import__(n)\n")
    spawn = (
        "import multiprocessing as m\nwith m.get_context('spawn').Pool(1) as p: p.apply(len, 'x')"
    )
    made = recorded(repository, [f"!{sys.executable} child.py", spawn])
    assert {d.name for d in made.environment.distributions if d.imported} == {"cowlib", "horselib"}


def test_all_files_are_seen_in_their_cells_and_the_record_is_complete(
    traced: Record, repository: Path, tmp_path: Path
) -> None:
    found = {(Path(d.path).name, d.access): (d.cell, d.digest) for d in traced.data}

    def entry(cell: int, text: str) -> tuple[int, str]:
        return cell, f"blake3:{blake3(text.encode()).hexdigest()}"

    database = blake3((repository / "d.db").read_bytes()).hexdigest()
    assert found == {
        ("t.csv", "read"): entry(0, "t"), ("o1", "write"): entry(0, "x"),
        ("u.csv", "read"): entry(1, "u"),
        ("v.csv", "read"): entry(2, "v"), ("o2", "write"): entry(2, "v"),
        ("x.csv", "read"): entry(2, "x"), ("z.csv", "write"): entry(2, "x"),
        ("w.csv", "read"): entry(3, "w"), ("far.csv", "read"): entry(3, "far"),
        ("s.csv", "read"): entry(5, "s"),
        ("d.db", "write"): (6, f"blake3:{database}"),
    }  # fmt: skip
    assert all("strace" in d.layers for d in traced.data)
    # Whether a busy machine lets the kernel say its last word is another test's.
    gaps = [gap for gap in traced.lineage.gaps if not gap.startswith("The kernel ended")]
    assert gaps == []


def test_without_strace_or_leave_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="strace") as missing:
        strace.check()
    assert "without --deep" in missing.value.remedy
    denied = tmp_path / "strace"
    denied.write_text(
        f"#!{sys.executable}\nimport sys\nsys.exit('strace: PTRACE_TRACEME: Operation not permitted')\n",
        encoding="utf-8",
    )
    denied.chmod(0o755)
    with pytest.raises(ToolError, match="not permitted") as refused:
        strace.check()
    assert "SYS_PTRACE" in refused.value.remedy


def test_the_command_line_ends_with_3_where_strace_is_missing(
    repository: Path, tmp_path: Path
) -> None:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    nbformat.write(nb, repository / "n.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "mlrepro_nb", "record", "n.ipynb", "--json"],
        env={**os.environ, "PATH": str(tmp_path), "MLREPRO_DEEP": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "strace" in done.stderr
    assert not done.stdout or "strace" in json.dumps(json.loads(done.stdout))
