"""What strace prints, and what is taken from it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture.data.strace import MARK, SYSCALLS, Trace, unescaped
from mlrepro_nb.connect import strace


def _escaped(path: bytes) -> str:
    """As strace prints a path."""
    found = ""
    for byte, following in zip(path, (*path[1:], 0), strict=True):
        if byte in b"<>":
            # Three digits where a fourth could be read with them.
            found += f"\\{byte:03o}" if following in b"01234567" else f"\\{byte:o}"
        elif byte in b'"\\':
            found += "\\" + chr(byte)
        elif 32 <= byte < 127:
            found += chr(byte)
        else:
            found += f"\\{byte:03o}"
    return found


def _fed(*lines: str, order: int = 0, thread: int = 1) -> Trace:
    trace = Trace()
    trace.feed(
        f'{thread} 1.0 openat(AT_FDCWD</w>, "{MARK}begin/{order}", O_RDONLY) = -1 ENOENT (x)'
    )
    for line in lines:
        trace.feed(line)
    return trace


def _seen(trace: Trace) -> list[tuple[str, str, int | None]]:
    return [(one.absolute, one.access, one.order) for one in trace.opened.values()]


@given(st.binary(min_size=1, max_size=40).filter(lambda b: b"\0" not in b))
def test_any_name_is_read_back(name: bytes) -> None:
    assert unescaped(_escaped(name)) == os.fsdecode(name)


@given(st.binary(min_size=1, max_size=20).filter(lambda b: b"\0" not in b and b"/" not in b
                                                  and b not in (b".", b"..")))  # fmt: skip
def test_any_file_is_seen(name: bytes) -> None:
    text = _escaped(name)
    trace = _fed(f'7 2.0 openat(AT_FDCWD</w>, "{text}", O_RDONLY|O_CLOEXEC) = 3</w/{text}>')
    assert _seen(trace) == [("/w/" + os.fsdecode(name), "read", 0)]


@given(st.text(max_size=120))
def test_any_line_can_be_fed(line: str) -> None:
    _fed(line, f"1 2.0 {line}", f'1 2.0 openat({line}) = 3{line}', f"1 2.0 {line} <unfinished ...>",
         f"1 2.0 <... openat resumed>{line}) = 3")  # fmt: skip


@pytest.mark.parametrize(
    ("call", "seen"),
    [
        ('openat(AT_FDCWD</w>, "a", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</w/a>', ["write"]),
        ('openat(AT_FDCWD</w>, "a", O_RDWR) = 3</w/a>', ["read", "write"]),
        ('openat(AT_FDCWD</w>, "a", O_RDONLY) = -1 ENOENT (No such file or directory)', []),
        ('openat(AT_FDCWD</w>, "a", O_RDONLY|O_DIRECTORY) = 3</w/a>', []),
        ('creat("/w/a", 0666) = 3</w/a>', ["write"]),
        ('open("/w/a", O_RDONLY) = 3</w/a>', ["read"]),
        ('openat(5</w>, "a", O_RDONLY) = 3</w/a>', ["read"]),
        ('openat2(AT_FDCWD</w>, "a", {flags=O_RDONLY, resolve=0}, 24) = 3</w/a>', ["read"]),
        ('truncate("/w/a", 3) = 0', ["write"]),
    ],
)
def test_the_flags_say_what_is_done(call: str, seen: list[str]) -> None:
    assert _seen(_fed(f"1 2.0 {call}")) == [("/w/a", access, 0) for access in seen]


def test_a_call_that_another_thread_cuts_in_two_is_put_together() -> None:
    trace = _fed(
        '1 2.0 openat(AT_FDCWD</w>, "a", O_RDONLY <unfinished ...>',
        '2 2.1 openat(AT_FDCWD</w>, "b", O_RDONLY) = 4</w/b>',
        "1 2.2 <... openat resumed>) = 3</w/a>",
    )
    assert sorted(_seen(trace)) == [("/w/a", "read", 0), ("/w/b", "read", 0)]


def test_a_rename_writes_its_target() -> None:
    trace = _fed(
        '1 2.0 openat(AT_FDCWD</w>, "t", O_WRONLY|O_CREAT, 0666) = 3</w/t>',
        '1 2.1 rename("t", "a") = 0',
    )
    assert _seen(trace) == [("/w/a", "write", 0)]


def test_between_cells_the_kernel_does_not_count_but_its_children_do() -> None:
    trace = _fed(
        f'1 2.0 openat(AT_FDCWD</w>, "{MARK}end/0", O_RDONLY) = -1 ENOENT (x)',
        '1 2.1 openat(AT_FDCWD</w>, "ours", O_RDONLY) = 3</w/ours>',
        '9 2.2 openat(AT_FDCWD</w>, "theirs", O_RDONLY) = 3</w/theirs>',
        f'9 2.3 openat(AT_FDCWD</w>, "{MARK}begin/7", O_RDONLY) = -1 ENOENT (x)',
    )
    assert _seen(trace) == [("/w/theirs", "read", 0)]
    assert trace.order == 0, "another kernel's marks are not this one's"


def test_descent_is_followed() -> None:
    trace = _fed(
        "1 2.0 clone3({flags=CLONE_VM}, 88) = 5", "5 2.1 vfork() = 6", "6 2.2 fork() = -1 X"
    )
    assert trace.descends(6, {5})
    assert trace.descends(6, {1})
    assert not trace.descends(1, {5})


def test_strace_itself_is_understood(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    odd = os.fsdecode(b'o"d\\ \xff<x>')
    for name in ("a", odd):
        (tmp_path / name).write_text("x", encoding="utf-8")
    lines = tmp_path / "lines"
    before = strace.argv(lines, SYSCALLS, {"WORD": "1"})
    before.remove("-DDD")
    script = f'cat {MARK}begin/3; cat a "$1" > b; mv b c; cp c d; cd /; cat "$OLDPWD/a"'
    done = subprocess.run(
        [*before, "sh", "-c", script, "sh", odd], cwd=tmp_path, capture_output=True, check=False
    )
    trace = Trace()
    for line in lines.read_bytes().splitlines():
        trace.feed(line.decode("utf-8", "surrogateescape"))
    seen = {(Path(one.absolute).name, one.access) for one in trace.opened.values()
            if one.absolute.startswith(str(tmp_path))}  # fmt: skip
    assert seen == {("a", "read"), (odd, "read"), ("c", "write"), ("d", "write")}, done.stderr
