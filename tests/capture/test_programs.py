"""Which commands data may pass through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture.data.programs import commands, is_pool, named, reading


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("cat a.csv", [["cat", "a.csv"]]),
        ("ls data | wc -l", [["wc", "-l"]]),
        ("echo x > out.txt", [["echo", "x", ">", "out.txt"]]),
        ("echo done > /dev/null 2>&1", []),
        ("cd data && head -n 2 a.csv; pwd", [["head", "-n", "2", "a.csv"]]),
        ("KEY=1 nohup python train.py --x", [["python", "train.py", "--x"]]),
        ("python -m pip install x", []),
        ("pip install -r requirements.txt", []),
        ("git rev-parse HEAD", []),
        ("git -C x log", []),
        ("git show HEAD:a.csv", [["git", "show", "HEAD:a.csv"]]),
        ("sudo apt-get install x && unzip a.zip", [["unzip", "a.zip"]]),
        ("nvidia-smi", []),
        ("for f in *.csv; do wc $f; done", [["wc", "$f"]]),
        ("if [ -f a ]; then cut -f1 a; else true; fi", [["cut", "-f1", "a"]]),
        ("while true; do break; done < a.txt", [["done", "<", "a.txt"]]),
        ("cat 'unbalanced", [["cat", "'unbalanced"]]),
        ("", []),
    ],
)
def test_of_a_script_the_commands_that_may_read_are_left(
    script: str, found: list[list[str]]
) -> None:
    assert reading(["/bin/sh", "-c", script]) == found
    assert reading(["bash", "-lc", script]) == found


def test_what_a_program_is_given_is_told_from_what_it_makes() -> None:
    script = "sed -i s/a/b/ a.csv; sort < b.csv > c.csv 2>d.log; echo x >> e.log; x=$(wc 'f g')"
    found = named(reading(["sh", "-c", script]))
    assert {"a.csv", "b.csv", "f g"} <= set(found)
    assert not {"c.csv", "d.log", "e.log", "<", ">", ">>"} & set(found)


def test_a_compiler_counts_only_if_the_cell_itself_starts_it() -> None:
    assert reading(["/usr/bin/gcc", "-o", "x", "x.c"], by_library=True) == []
    assert reading(["/usr/bin/gcc", "-o", "x", "x.c"]) == [["/usr/bin/gcc", "-o", "x", "x.c"]]


def test_workers_are_told_from_other_interpreters() -> None:
    spawn = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)"
    assert is_pool(["/usr/bin/python3.11", "-c", spawn, "--multiprocessing-fork"])
    assert is_pool(["python", "-m", "joblib.externals.loky.backend.popen_loky_posix"])
    assert not is_pool(["python", "train.py"])
    assert not is_pool(["python", "multiprocessing-demo.py"])
    assert not is_pool(["cat", "from multiprocessing"])


@given(st.lists(st.text(max_size=30), max_size=6))
def test_any_command_line_can_be_read(argv: list[str]) -> None:
    for words in commands(argv):
        assert all(isinstance(word, str) for word in words)
    reading(argv)
    is_pool(argv)


@given(st.text(max_size=200))
def test_any_script_can_be_read(script: str) -> None:
    reading(["sh", "-c", script])
