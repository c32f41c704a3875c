"""Folders of many files: one entry, one digest, and still known file by file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture.data import hashing, trees
from mlrepro_nb.capture.data._folding import Folded, fold
from mlrepro_nb.capture.data.trees import hash_tree, stored_listing
from mlrepro_nb.store import Store

LOAD = "%load_ext mlrepro_nb"


def shape(paths: list[str], most: int) -> list[str]:
    """Return what paths become: a file's path, or a folder's with how many it holds."""
    return sorted(
        f"{one.folder}: {len(one.files)}" if isinstance(one, Folded) else one[0]
        for one in fold(dict.fromkeys(paths), most)
    )


def test_a_folder_becomes_one_where_it_would_take_too_many_entries() -> None:
    images = [f"data/img/{i}.png" for i in range(11)]
    assert shape(images[:10], 10) == sorted(images[:10])
    assert shape(images, 10) == ["data/img: 11"]
    assert shape([*images, "data/labels.csv"], 10) == ["data/img: 11", "data/labels.csv"]
    # A class a folder, a few files each.
    classes = [f"data/train/c{i}/{j}.png" for i in range(6) for j in range(2)]
    assert shape([*classes, "data/y.csv", "x"], 10) == ["data/train: 12", "data/y.csv", "x"]
    two = [f"d/{c}/{i}" for c in ("cat", "dog") for i in range(11)]
    assert shape(two, 10) == ["d/cat: 11", "d/dog: 11"]
    assert shape([f"{i}.bin" for i in range(11)], 10) == [".: 11"]
    assert shape([f"/data/{i}" for i in range(11)], 10) == ["/data: 11"]
    assert len(shape([f"/{i}/x" for i in range(11)], 10)) == 11, "not the whole machine"


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), max_size=60),
    st.integers(1, 9),
)
def test_no_file_is_lost_or_counted_twice(parts: list[list[str]], most: int) -> None:
    # A leaf's name tells it from a folder's.
    files = {"/".join([*folders, f"f{i}"]): i for i, folders in enumerate(parts)}
    found: dict[str, int] = {}
    for one in fold(files, most):
        if isinstance(one, Folded):
            start = "" if one.folder == "." else f"{one.folder}/"
            inner = {start + name: value for name, value in one.files.items()}
            assert len(inner) > most or any("/" in name for name in one.files)
        else:
            inner = dict([one])
        assert not inner.keys() & found.keys()
        found |= inner
    assert found == files


def folder_of(path: Path, count: int) -> Path:
    for number in range(count):
        file = path / f"{number % 3}" / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"%d" % number)
    return path


def test_a_tree_is_its_paths_and_contents(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", 10)
    first = hash_tree(str(folder))
    assert first is not None
    assert (first.files, first.size) == (10, 10)
    assert hash_tree(str(folder_of(tmp_path / "b", 10))) == first, "not where it is, nor when made"
    (folder / "0" / "0.bin").write_bytes(b"x")
    other = hash_tree(str(folder))
    assert other is not None
    assert other.digest != first.digest
    (folder / "0" / "0.bin").write_bytes(b"0")
    assert hash_tree(str(folder)) == first
    (folder / "0" / "0.bin").rename(folder / "0" / "00.bin")
    assert hash_tree(str(folder)).digest != first.digest  # type: ignore[union-attr]
    listed = hash_tree(str(folder), ["1/1.bin"])
    assert listed is not None
    assert listed.files == 1
    assert hash_tree(str(folder), ["1/1.bin", "gone"]) is None
    assert hash_tree(str(tmp_path / "missing")) is None


def test_an_unchanged_folder_is_known_by_its_files_status_alone(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.root.mkdir()
    folder = folder_of(tmp_path / "a", 10)
    young = hash_tree(str(folder), cache=store.digests)
    opened: list[Any] = []
    real = os.open
    monkeypatch.setattr(hashing, "_open", lambda *a: opened.append(a) or real(*a))
    assert hash_tree(str(folder), cache=store.digests) == young
    assert len(opened) == 10, "what was changed just now is read again"
    for room in (hashing, trees):
        monkeypatch.setattr(room, "REST_NS", -(10**18))
    hash_tree(str(folder), cache=store.digests)
    del opened[:]
    assert hash_tree(str(folder), cache=store.digests) == young
    assert opened == []
    before = (folder / "1" / "1.bin").stat()
    (folder / "1" / "1.bin").write_bytes(b"?")
    os.utime(folder / "1" / "1.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = hash_tree(str(folder), cache=store.digests)
    assert changed is not None
    assert young is not None
    assert changed.digest != young.digest
    assert len(opened) == 1, "the others are known one by one"


def test_dvc_gives_a_folder_the_same_md5(repository: Path) -> None:
    folder_of(repository / "img", 12)
    (repository / "img" / "é ü.bin").write_bytes(b"1")
    (repository / "img" / "0-first").write_bytes(b"2")
    dvc = str(Path(sys.executable).with_name("dvc"))
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run([dvc, "init", "-q"], check=True, env=environment)
    subprocess.run([dvc, "add", "-q", "img"], check=True, env=environment)
    told = (repository / "img.dvc").read_text()
    files = [p.relative_to(repository / "img").as_posix() for p in (repository / "img").rglob("*")
             if p.is_file()]  # fmt: skip
    md5s = {
        name: found.md5
        for name in files
        if (found := hashing.hash_file(f"{repository}/img/{name}", md5=True))
    }
    md5 = trees.dvc_md5(md5s)
    assert md5 is not None
    assert f"md5: {md5.removeprefix('md5:')}\n" in told


def test_many_images_are_one_entry_and_a_change_names_the_image(
    repository: Path, store: Store
) -> None:
    from click.testing import CliRunner

    from mlrepro_nb.changes import changes
    from mlrepro_nb.faces.cli import main
    from mlrepro_nb.record import record
    from mlrepro_nb.verify import verify

    folder_of(repository / "img", 150)
    (repository / "labels.csv").write_text("a\n1\n")
    cells = [
        "from pathlib import Path\nopen('labels.csv').read()",
        "total = 0\nfor p in Path('img').rglob('*.bin'): total += int(p.read_bytes())\n"
        "print(total)",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(nb, repository / "n.ipynb")
    digest, before = record(repository / "n.ipynb", lock=False)
    labels, images = before.data
    assert (labels.path, labels.files, labels.cell) == ("labels.csv", None, 0)
    assert (images.path, images.repo_path, images.files, images.cell) == ("img", "img", 150, 1)
    tree = hash_tree(str(repository / "img"))
    assert tree is not None
    assert (images.digest, images.size) == (tree.digest, tree.size)
    assert images.tree is not None
    listing = stored_listing(store, images.tree)
    assert listing is not None
    assert set(listing) == {f"{i % 3}/{i}.bin" for i in range(150)}
    assert "img" in CliRunner().invoke(main, ["show", "n.ipynb"]).output
    assert "150 files" in CliRunner().invoke(main, ["show", "n.ipynb"]).output

    (repository / "img" / "1" / "7.bin").write_bytes(b"8")
    (cause,) = verify(digest).causes
    assert (cause.kind, cause.subject, cause.cell) == ("changed-data", "img", 1)
    assert "1 have changed (1/7.bin)" in cause.evidence
    again, after = record(repository / "n.ipynb", lock=False)
    named = [c.subject for c in changes(before, after, lambda t: stored_listing(store, t))
             if c.part == "data"]  # fmt: skip
    assert named == ["img/1/7.bin"]
    assert [c.subject for c in changes(before, after) if c.part == "data"] == ["img"]
    said = CliRunner().invoke(main, ["diff", digest, again])
    assert "img/1/7.bin" in said.output


def test_the_same_file_by_two_names_is_said(
    kernel: Callable, repository: Path, tmp_path: Path
) -> None:
    (repository / "real.csv").write_text("a\n")
    (repository / "link.csv").symlink_to("real.csv")
    (repository / "hard.csv").hardlink_to(repository / "real.csv")
    outside = tmp_path / "outside.csv"
    outside.write_text("b\n")
    (repository / "away.csv").symlink_to(outside)
    (tmp_path / "elsewhere").symlink_to(repository)
    k = kernel()
    k.run(LOAD)
    k.run(
        "for n in ('real.csv', 'link.csv', 'hard.csv', 'away.csv',"
        f" '{tmp_path}/elsewhere/real.csv', '{outside}'): open(n).read()"
    )
    found = {d.path: d for d in k.data()}
    assert list(found) == ["real.csv", "link.csv", "hard.csv", "away.csv", str(outside)]
    assert [(d.repo_path, d.real) for d in found.values()] == [
        ("real.csv", None), ("link.csv", "real.csv"), ("hard.csv", "real.csv"),
        ("away.csv", str(outside)), (None, None),
    ]  # fmt: skip
    assert len({d.digest for d in found.values()}) == 2


def test_what_is_written_through_a_link_overwrites_the_input(
    kernel: Callable, repository: Path
) -> None:
    (repository / "real.csv").write_text("a\n")
    (repository / "link.csv").symlink_to("real.csv")
    k = kernel()
    k.run(LOAD)
    k.run("text = open('real.csv').read()")
    k.run("open('link.csv', 'w').write(text + 'b')")
    read, wrote = k.data()
    assert (read.path, read.access, wrote.path, wrote.real) == (
        "real.csv", "read", "link.csv", "real.csv",
    )  # fmt: skip
    assert k.store().blobs.get(read.kept) == b"a\n"
