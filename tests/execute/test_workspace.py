"""A rerun happens in a copy: the user's files stay as they are."""

import subprocess

from mlrepro_nb.execute import workspace


def test_the_copy_has_the_files_and_not_the_caches(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("1")
    (tmp_path / "link").symlink_to("src/a.py")
    (tmp_path / "absolute").symlink_to(tmp_path / "src")
    for name in (".venv", "__pycache__", "node_modules", ".mlrepro", "env"):
        (tmp_path / name).mkdir()
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    with workspace(tmp_path) as copy:
        assert sorted(p.name for p in copy.root.iterdir()) == ["absolute", "link", "src"]
        assert (copy.root / "link").is_symlink()
        (copy.root / "link").write_text("2")
        (copy.root / "absolute" / "b.py").write_text("3")
        assert copy.path(tmp_path / "src") == copy.root / "src"
        assert copy.original(f"in {copy.root}/src") == f"in {tmp_path}/src"
    assert (tmp_path / "src" / "a.py").read_text() == "1"
    assert not (tmp_path / "src" / "b.py").exists()
    assert not copy.base.exists()


def git(folder, *arguments):
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_git_works_in_the_copy_and_does_not_touch_the_original(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    with workspace(tmp_path) as copy:
        assert git(copy.root, "rev-parse", "HEAD") == head
        assert git(copy.root, "status", "--short") == ""
        (copy.root / "a").write_text("2")
        git(copy.root, "commit", "-qam", "two")
        assert git(copy.root, "show", "HEAD~:a") == "1"
    assert git(tmp_path, "rev-parse", "HEAD") == head
    assert git(tmp_path, "fsck", "--strict") == ""


def test_what_lies_outside_is_found_at_the_same_relative_place(tmp_path):
    project, shared = tmp_path / "project", tmp_path / "shared"
    project.mkdir()
    shared.mkdir()
    (shared / "x.csv").write_text("1")
    with workspace(project, outside=[shared / "x.csv", tmp_path / "nowhere"]) as copy:
        assert (copy.root / ".." / "shared" / "x.csv").read_text() == "1"


def test_a_project_too_big_to_copy_has_its_big_files_linked(tmp_path, monkeypatch):
    monkeypatch.setattr("mlrepro_nb.execute._workspace.BIG", 10)
    (tmp_path / "big.bin").write_bytes(b"x" * 100)
    (tmp_path / "small").write_text("s")
    with workspace(tmp_path, largest=50) as copy:
        assert (copy.root / "big.bin").is_symlink()
        assert not (copy.root / "small").is_symlink()
        assert any("linked" in note for note in copy.notes)


def test_odd_files_do_not_stop_it(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    with workspace(tmp_path) as copy:
        assert not (copy.root / "pipe").exists()
    assert not copy.base.exists()


def test_a_folder_of_very_many_files_is_linked(tmp_path, monkeypatch):
    monkeypatch.setattr("mlrepro_nb.execute._workspace.MANY", 5)
    (tmp_path / "data").mkdir()
    for number in range(9):
        (tmp_path / "data" / str(number)).write_text("")
    (tmp_path / "a.csv").write_text("")
    with workspace(tmp_path) as copy:
        assert (copy.root / "data").is_symlink()
        assert not (copy.root / "a.csv").is_symlink()
        assert len(copy.notes) == 1
