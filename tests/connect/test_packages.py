"""Who owns a file: Debian's, RPM's and Alpine's databases, merged /usr or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlrepro_nb.connect import apk, dpkg, packages, rpm


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}")
    (folder / name).chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which there is only what the test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(apk, "_DATABASES", (tmp_path / "installed",))
    return tmp_path / "bin"


def test_without_a_database_nothing_is_owned(bin_folder: Path) -> None:
    assert packages.owners(["/usr/lib/libc.so.6"]) == {}
    assert packages.owners([]) == {}


def test_dpkg_is_asked_for_both_spellings_of_a_merged_usr(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "lexists", lambda path: True)
    program(
        bin_folder,
        "dpkg-query",
        """
case "$1" in
-S) shift; for f in "$@"; do case "$f" in
  /lib/x86_64/libc.so.6) echo "libc6:amd64, libc6-dev: $f";;
  /usr/lib/libz.so.1) echo "diversion by mine from: $f"; echo "zlib1g:amd64: $f";;
  *) echo "dpkg-query: no path found matching pattern $f" >&2;; esac; done;;
-W) printf 'libc6:amd64\\t2.36-9\\nzlib1g:amd64\\t1:1.2.13\\n';;
esac
""",
    )
    found = packages.owners(["/usr/lib/x86_64/libc.so.6", "/usr/lib/libz.so.1", "/opt/libown.so"])
    assert found == {
        "/usr/lib/x86_64/libc.so.6": ("libc6", "2.36-9"),
        "/usr/lib/libz.so.1": ("zlib1g", "1:1.2.13"),
    }


def test_rpm_answers_in_the_order_of_the_files(bin_folder: Path) -> None:
    program(
        bin_folder,
        "rpm",
        """
while [ "$1" != "-f" ]; do shift; done; shift
for f in "$@"; do case "$f" in
  */libc.so.6) printf 'glibc\\t0:2.34-100.el9\\n';;
  */libstdc++.so.6) printf 'libstdc++\\t2:11.5-5.el9\\n';;
  */two) printf 'one\\t0:1-1\\nother\\t0:1-1\\n';;
  *) echo "file $f is not owned by any package";; esac; done
""",
    )
    paths = ["/lib64/libc.so.6", "/opt/x.so", "/usr/lib64/libstdc++.so.6"]
    expected = {
        "/lib64/libc.so.6": ("glibc", "2.34-100.el9"),
        "/usr/lib64/libstdc++.so.6": ("libstdc++", "2:11.5-5.el9"),
    }
    assert rpm.owners(paths) == expected
    # A file of several packages shifts the lines: then each is asked for itself.
    assert rpm.owners([*paths, "/usr/two"]) == {**expected, "/usr/two": ("one", "1-1")}


def test_alpines_database_is_read(bin_folder: Path) -> None:
    apk._DATABASES[0].write_text(
        "C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\nR:libc.musl.so.1\n\n"
        "P:zlib\nV:1.3.1-r1\nF:usr/lib\nR:libz.so.1\nF:usr/share\nM:0:0:755\nR:doc\n\n"
    )
    assert packages.owners(["/lib/ld-musl-x86_64.so.1", "/usr/lib/libz.so.1", "/usr/lib/doc"]) == {
        "/lib/ld-musl-x86_64.so.1": ("musl", "1.2.5-r0"),
        "/usr/lib/libz.so.1": ("zlib", "1.3.1-r1"),
    }


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "kill -9 $$"])
def test_a_database_that_fails_says_nothing(bin_folder: Path, script: str) -> None:
    program(bin_folder, "dpkg-query", script)
    program(bin_folder, "rpm", script)
    assert dpkg.owners(["/usr/lib/libc.so.6"]) == {}
    assert rpm.owners(["/usr/lib/libc.so.6"]) == {}
