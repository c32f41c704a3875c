"""What DVC's files say, read without DVC."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


def test_pipelines_say_which_stage_a_file_belongs_to_and_as_what(repository: Path) -> None:
    (repository / "dvc.yaml").write_text(
        "stages:\n  fit:\n    cmd: x\n    metrics:\n    - scores.json:\n        cache: false\n"
        "    plots: [curve.csv]\n"
    )
    (repository / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  fit:\n    deps:\n    - {path: in.csv, md5: aa}\n"
        "    - {path: made.csv, md5: bb}\n    params:\n      params.yaml:\n        lr: 0.1\n"
        "    outs:\n    - {path: scores.json, md5: cc}\n    - {path: curve.csv, md5: dd}\n"
        "    - {path: model, md5: ee.dir}\n"
        "  prepare:\n    outs:\n    - {path: made.csv, md5: bb}\n"
    )
    expected = {
        "in.csv": ("aa", "fit", "dep"),
        "made.csv": ("bb", "prepare", "out"),
        "params.yaml": (None, "fit", "param"),
        "scores.json": ("cc", "fit", "metric"),
        "curve.csv": ("dd", "fit", "plot"),
        "model/a/b.bin": ("ee.dir", "fit", "out"),
        "other": None,
    }
    for name, want in expected.items():
        found = dvc.pointer(repository, repository / name)
        assert (found and (found.md5, found.stage, found.role)) == want, name
        assert dvc.is_tracked(str(repository / name)) is (want is not None), name


def test_the_remote_is_that_of_the_output_or_of_the_configurations_laid_over_each_other(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    (tmp_path / "user" / "dvc").mkdir(parents=True)
    (tmp_path / "user" / "dvc" / "config").write_text(
        "['remote \"mine\"']\n    url = s3://mine\n[core]\n    remote = mine\n"
    )
    (repository / ".dvc").mkdir()
    (repository / "a.dvc").write_text("outs:\n- {md5: aa, path: a}\n")
    (repository / "b.dvc").write_text("outs:\n- {md5: bb, path: b, remote: other}\n")
    (repository / "c.dvc").write_text("outs:\n- {md5: cc, path: c, remote: unknown}\n")
    (repository / ".dvc" / "config").write_text("['remote \"other\"']\n    url = s3://other\n")

    def remotes() -> list[str | None]:
        found = (dvc.pointer(repository, repository / name) for name in "abc")
        return [one.remote if one else None for one in found]

    assert remotes() == ["s3://mine", "s3://other", "unknown"]
    (repository / ".dvc" / "config.local").write_text(
        "[core]\n    remote = other\n['remote \"other\"']\n    url = https://u:p@h/x\n"
    )
    assert remotes() == ["https://h/x", "https://h/x", "unknown"]


def test_a_pointer_that_changes_is_read_anew(repository: Path) -> None:
    for md5 in ("aa", "bbb"):
        (repository / "a.csv.dvc").write_text(f"outs:\n- md5: {md5}\n  path: a.csv\n")
        found = dvc.pointer(repository, repository / "a.csv")
        assert found is not None
        assert found.md5 == md5


def test_nothing_of_dvc_is_imported(repository: Path) -> None:
    (repository / "a.csv").write_text("a")
    (repository / "a.csv.dvc").write_text("outs:\n- md5: aa\n  path: a.csv\n")
    program = (
        "import sys\nfrom pathlib import Path\nfrom mlrepro_nb.connect import dvc\n"
        "assert dvc.pointer(Path.cwd(), Path.cwd() / 'a.csv').md5 == 'aa'\n"
        "import mlrepro_nb.capture, mlrepro_nb.record\n"
        "print([m for m in sys.modules if m.partition('.')[0].startswith('dvc')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
