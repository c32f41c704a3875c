"""What was done to a file, in which cell, whatever kind of file and path it was."""

# ruff: noqa: E501
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

LOAD = "%load_ext mlrepro_nb"


def _digest(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}"


def _recorded(kernel: Callable, *cells: str) -> tuple[list[tuple], tuple[str, ...], dict]:
    k = kernel()
    k.run(LOAD)
    for code in cells:
        said = k.run(code)
        assert not said["errors"], (code, said)
    k.close()
    record = k.record()
    found = {(d.path, d.access): d for d in record.data}
    return [(d.path, d.access, d.execution) for d in record.data], record.lineage.gaps, found


def test_opened_to_change_and_only_read_is_read(kernel: Callable, repository: Path) -> None:
    (repository / "t").write_text("abc", encoding="utf-8")
    found, gaps, _ = _recorded(kernel, "f = open('t', 'r+')", "f.read(); f.close()")
    assert (found, gaps) == ([("t", "read", 1)], ())


def test_changed_in_a_later_cell_than_opened_is_written_there(
    kernel: Callable, repository: Path
) -> None:
    (repository / "t").write_text("abc", encoding="utf-8")
    found, _, entries = _recorded(
        kernel, "f = open('t', 'r+')", "f.write('x'); f.flush()", "f.close()"
    )
    assert found == [("t", "read", 1), ("t", "write", 2)]
    assert entries["t", "read"].digest == _digest(b"abc")
    assert entries["t", "write"].digest == _digest(b"xbc")


def test_appending_keeps_what_was_there_before(kernel: Callable, repository: Path) -> None:
    (repository / "log").write_text("abc", encoding="utf-8")
    found, _, entries = _recorded(kernel, "open('log').read()", "open('log', 'a').write('d')")
    assert found == [("log", "read", 1), ("log", "write", 2)]
    assert entries["log", "read"].digest == _digest(b"abc")
    assert entries["log", "write"].digest == _digest(b"abcd")


def test_an_atomic_save_writes_its_target_only(kernel: Callable, repository: Path) -> None:
    (repository / "t").write_text("abc", encoding="utf-8")
    found, _, entries = _recorded(
        kernel,
        "import os, pathlib\nold = open('t').read()\npathlib.Path('t.tmp').write_text(old + 'd')\nos.replace('t.tmp', 't')",
    )
    assert [one[1:] for one in found] == [("read", 1), ("write", 1)]
    assert {Path(one[0]).name for one in found} == {"t"}
    assert {d.access: d.digest for d in entries.values()} == {"read": _digest(b"abc"), "write": _digest(b"abcd")}  # fmt: skip


def test_a_file_that_is_deleted_after_it_was_read_keeps_its_digest(
    kernel: Callable, repository: Path
) -> None:
    (repository / "t").write_text("abc", encoding="utf-8")
    found, _, entries = _recorded(kernel, "import os\nopen('t').read()\nos.remove('t')")
    assert found == [("t", "read", 1)]
    assert entries["t", "read"].digest == _digest(b"abc")


def test_scratch_that_comes_and_goes_is_nothing(kernel: Callable) -> None:
    found, gaps, _ = _recorded(
        kernel,
        "import tempfile\nwith tempfile.NamedTemporaryFile('w') as f: f.write('x')",
        "import tempfile, os\nd = tempfile.TemporaryDirectory()\nopen(os.path.join(d.name, 'a'), 'w').write('x'); d.cleanup()",
        "import os\nopen('s', 'w').write('x'); open('s').read(); os.remove('s')",
    )
    assert (found, gaps) == ([], ())


def test_a_link_is_named_as_given_and_hashed_as_its_target(
    kernel: Callable, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "far").write_text("abc", encoding="utf-8")
    (repository / "link").symlink_to(tmp_path / "far")
    (repository / "near").write_text("def", encoding="utf-8")
    (repository / "by").symlink_to("near")
    found, gaps, entries = _recorded(kernel, "open('link').read()", "open('by').read()")
    assert (found, gaps) == ([("link", "read", 1), ("by", "read", 2)], ())
    assert entries["link", "read"].digest == _digest(b"abc")
    assert entries["by", "read"].digest == _digest(b"def")


def test_odd_files_break_nothing(kernel: Callable, repository: Path) -> None:
    (repository / "empty").touch()
    (repository / "secret").write_text("abc", encoding="utf-8")
    (repository / "secret").chmod(0)
    os.mkfifo(repository / "pipe")
    odd = os.fsencode(repository) + b"/na\xefve \xe2\x82\xac.csv"
    Path(os.fsdecode(odd)).write_bytes(b"abc")
    found, gaps, entries = _recorded(
        kernel,
        "open('empty').read()",
        "import os\ntry: open('secret').read()\nexcept OSError: pass",
        "import threading\nt = threading.Thread(target=lambda: open('pipe', 'w').write('x')); t.start()\nprint(open('pipe').read()); t.join()",
        "open(b'na\\xefve \\xe2\\x82\\xac.csv').read()",
        "open('/dev/null').read(); open('/dev/stdin') if 0 else None",
        "open('empty ☃ name', 'w').write('x')",
    )
    assert ("empty", "read", 1) in found
    assert entries["empty", "read"].digest == _digest(b"")
    assert not [one for one in found if one[0] == "pipe"]
    (odd_entry,) = [d for d in entries.values() if "ve €.csv" in d.path]
    assert (odd_entry.execution, odd_entry.digest) == (4, _digest(b"abc"))
    assert ("empty ☃ name", "write", 6) in found
    assert not [gap for gap in gaps if "failed" in gap or "cannot be kept" in gap]


def test_paths_are_those_of_their_moment(kernel: Callable, repository: Path) -> None:
    (repository / "a").mkdir()
    for name in ("t", "a/t"):
        (repository / name).write_text(name, encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("import os; os.chdir('a'); open('t').read()")
    k.run("os.chdir('..'); open('t').read()")
    found = {(d.repo_path, d.execution): d.digest for d in k.data()}
    assert found == {("a/t", 1): _digest(b"a/t"), ("t", 2): _digest(b"t")}


def test_a_lazy_scan_is_read_where_it_runs_if_its_files_came_later(
    kernel: Callable, repository: Path
) -> None:
    found, gaps, _ = _recorded(
        kernel,
        "import polars as pl, os; os.mkdir('d'); pl.DataFrame({'a': [1]}).write_csv('d/1.csv')",
        "lazy = pl.scan_csv('d/*.csv')",
        "pl.DataFrame({'a': [2]}).write_csv('d/2.csv')",
        "print(len(lazy.collect()))",
    )
    assert {one for one in found if one[1] == "read"} == {
        ("d/1.csv", "read", 2),
        ("d/2.csv", "read", 4),
    }
    assert gaps == ()


def test_what_another_program_opens_between_cells_is_not_the_notebooks(
    kernel: Callable, repository: Path
) -> None:
    (repository / "theirs.csv").write_text("abc", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("1")
    (repository / "theirs.csv").read_text(encoding="utf-8")
    (repository / "new.csv").write_text("x", encoding="utf-8")
    k.run("2")
    assert k.data() == []


def test_a_child_that_closes_all_it_inherited_is_still_seen(
    kernel: Callable, repository: Path
) -> None:
    (repository / "t").write_text("abc", encoding="utf-8")
    found, gaps, _ = _recorded(
        kernel,
        "import os\nif (p := os.fork()) == 0:\n    os.closerange(3, 1000); fs = [os.open('/dev/null', os.O_WRONLY) for _ in range(90)]\n    open('t').read(); open('o', 'w').write('x'); os._exit(0)\nprint(os.waitpid(p, 0)[1])",
    )
    assert (sorted(found), gaps) == ([("o", "write", 1), ("t", "read", 1)], ())


def test_programs_that_touch_no_data_are_no_gap(kernel: Callable, repository: Path) -> None:
    (repository / "t").write_text("abc", encoding="utf-8")
    found, gaps, _ = _recorded(
        kernel,
        "!ls -la; pwd; echo done > /dev/null; nvidia-smi 2>&1 | true; git status --short",
        "import subprocess; subprocess.run(['git', 'rev-parse', '--is-inside-work-tree'])",
        "import os; os.system('date')",
    )
    assert (found, gaps) == ([], ())
