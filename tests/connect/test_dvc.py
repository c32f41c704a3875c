"""What DVC's files say, read without DVC."""

from __future__ import annotations

from pathlib import Path

from mlrepro_nb.connect import dvc


def test_sidecars_folders_and_locks_are_found(repository: Path) -> None:
    (repository / "a.csv.dvc").write_text("outs:\n- md5: aa\n  path: a.csv\n")
    (repository / "many.dvc").write_text("outs:\n- md5: bb.dir\n  path: many\n")
    (repository / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  fit:\n    deps:\n    - path: in.csv\n      md5: cc\n"
        "    outs:\n    - path: out/m.pkl\n      md5: dd\n"
    )
    (repository / ".dvc").mkdir()
    (repository / ".dvc" / "config").write_text(
        "[core]\n    remote = s\n['remote \"s\"']\n    url = https://u:p@example.com/x\n"
    )
    expected = {
        "a.csv": ("a.csv.dvc", "aa"),
        "many/x/1.png": ("many.dvc", "bb.dir"),
        "in.csv": ("dvc.lock", "cc"),
        "out/m.pkl": ("dvc.lock", "dd"),
        "b.csv": None,
    }
    for name, want in expected.items():
        found = dvc.pointer(repository, repository / name)
        assert (found and (found.file, found.md5)) == want, name
        if found:
            assert found.remote == "https://example.com/x"
            assert dvc.is_tracked(str(repository / name))


def test_broken_files_are_no_pointers(repository: Path) -> None:
    for text in ("", "[", "outs: 3", "outs: [3]", "- a", "outs:\n- path: a.csv\n"):
        (repository / "a.csv.dvc").write_text(text)
        assert dvc.pointer(repository, repository / "a.csv") is None
    (repository / "a.csv.dvc").write_bytes(b"\xff\xfe")
    assert dvc.pointer(repository, repository / "a.csv") is None
