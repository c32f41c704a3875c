"""Layers, layouts and the cache: the same bytes everywhere, whole or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import json
import multiprocessing
import os
import random
import tarfile
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro_nb.connect import oci
from mlrepro_nb.connect.oci._header import header
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.model import digest_bytes

LONG = "opt/" + "folder-with-a-long-name/" * 12 + "größe.txt"


def written(path: Path, fill) -> oci.Layer:
    with path.open("wb") as file:
        writer = oci.LayerWriter(file)
        fill(writer)
        return writer.end()


def plain(writer: oci.LayerWriter) -> None:
    writer.parents("opt/a/b.txt", "opt")
    writer.file("opt/a/b.txt", b"content")
    writer.file("opt/a/run", b"#!/bin/sh\n", executable=True)
    writer.link("opt/a/link", "b.txt")
    writer.file(LONG, b"x" * 3_000_000)


def entries(path: Path) -> dict[str, tuple[str, int, int, int, int, bytes]]:
    found = {}
    with oci.opened(path) as archive:
        for m in archive:
            content = archive.extractfile(m).read() if m.isfile() else m.linkname.encode()
            found[m.name] = (m.type.decode(), m.mode, m.uid, m.gid, m.mtime, content)
    return found


def test_a_layer_has_these_very_bytes(tmp_path: Path) -> None:
    # Changing them changes the digest of every image: then _layers.FORMAT changes too.
    made = written(tmp_path / "layer", plain)
    assert made.diff_id == (
        "sha256:e8137779de09c17cbbfae666b2bf9524af532ef13805d1253796842fb4c70ddd"
    )
    assert made.digest == (
        "sha256:98da32550ff9e609db6cf75fe29cecbd1ff86051d7c9d5745eb6485e7da4faa7"
    )
    content = (tmp_path / "layer").read_bytes()
    assert (made.digest, made.size) == (digest_bytes(content), len(content))


def test_a_layer_has_nothing_of_this_machine(tmp_path: Path) -> None:
    written(tmp_path / "layer", plain)
    found = entries(tmp_path / "layer")
    assert found["opt/a/b.txt"] == ("0", 0o644, 0, 0, oci.EPOCH, b"content")
    assert found["opt/a/run"][1] == 0o755
    assert found["opt/a"][:2] == ("5", 0o755)
    assert found["opt/a/link"][5] == b"b.txt"
    assert len(found[LONG][5]) == 3_000_000


@pytest.fixture(params=[True, False], ids=["in memory", "by pieces"])
def however_big(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compressed is held in memory, or is too big for that."""
    if not request.param:
        monkeypatch.setattr("mlrepro_nb.connect.oci._layer._HELD", 0)


@pytest.mark.usefixtures("however_big")
def test_joined_parts_are_one_tar_without_a_path_twice(tmp_path: Path) -> None:
    folders: list[str] = []
    members: list[list[int]] = []
    kept = deflated(b"packed" * 20_000)
    for number in range(2):
        with (tmp_path / str(number)).open("wb") as file:
            writer = oci.LayerWriter(file, part=True)
            writer.parents(f"opt/shared/{number}.txt", "opt")
            writer.file(f"opt/shared/{number}.txt", str(number).encode() * 2_000_000)
            writer.deflated(f"opt/{number}.bin", kept)
            writer.flush()
            folders += writer.folders
            members.append(writer.members)

    def join(writer: oci.LayerWriter) -> None:
        for folder in folders:
            writer.folder(folder)
        for number in range(2):
            writer.join(tmp_path / str(number), members[number])

    def direct(writer: oci.LayerWriter) -> None:
        writer.folder("opt/shared")
        for number in range(2):
            writer.file(f"opt/shared/{number}.txt", str(number).encode() * 2_000_000)
            writer.file(f"opt/{number}.bin", b"packed" * 20_000)

    joined = written(tmp_path / "joined", join)
    assert joined.diff_id == written(tmp_path / "direct", direct).diff_id
    with oci.opened(tmp_path / "joined") as archive:
        names = [m.name for m in archive]
    assert names == [
        "opt/shared", "opt/shared/0.txt", "opt/0.bin", "opt/shared/1.txt", "opt/1.bin"
    ]  # fmt: skip
    (tmp_path / "0").write_bytes((tmp_path / "0").read_bytes()[:-1])
    with pytest.raises(MlreproError, match="was damaged"):
        written(tmp_path / "other", join)
    assert not (tmp_path / "0").exists()


def deflated(content: bytes) -> oci.Deflated:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(content) + packer.flush()
    pieces = [packed[i : i + 1000] for i in range(0, len(packed), 1000)]
    return oci.Deflated(pieces=pieces, size=len(content), crc=zlib.crc32(content))


NAMES = st.lists(st.text("abé. ", min_size=1, max_size=110), min_size=1, max_size=4)


@given(NAMES.map("/".join), st.booleans(), st.integers(0, 8**11 + 1))
def test_an_entry_is_what_tarfile_makes_of_it(path: str, runs: bool, size: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.size, entry.mtime = 0o755 if runs else 0o644, size, oci.EPOCH
    try:
        expected = entry.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError:  # a path or a size that has no place in it
        expected = entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    assert header(path, tarfile.REGTYPE, entry.mode, size) == expected


def test_the_long_path_of_a_module_takes_no_second_header() -> None:
    folder = "opt/venv/lib/python3.12/site-packages/package/of/a/package/of/a/package"
    made = header(f"{folder}/__pycache__/{'m' * 40}.cpython-312.pyc", tarfile.REGTYPE, 0o644, 1)
    assert len(made) == 512


@pytest.mark.usefixtures("however_big")
def test_what_is_compressed_stays_so_and_is_the_same_tar(tmp_path: Path) -> None:
    content = random.Random(0).randbytes(300_000) + bytes(700_000)
    packed = deflated(content)

    def anew(writer: oci.LayerWriter) -> oci.Content:
        writer.file("opt/before", b"x")
        held = writer.file("opt/big", content, executable=True)
        writer.file("opt/after", b"y")
        return held

    def kept(writer: oci.LayerWriter) -> oci.Content:
        writer.file("opt/before", b"x")
        held = writer.deflated("opt/big", packed, executable=True)
        writer.file("opt/after", b"y")
        return held

    with (tmp_path / "held").open("wb") as one, (tmp_path / "other").open("wb") as other:
        assert anew(oci.LayerWriter(one)) == kept(oci.LayerWriter(other))
    made = written(tmp_path / "kept", kept)
    assert made.diff_id == written(tmp_path / "anew", anew).diff_id
    assert b"".join(packed.pieces) in (tmp_path / "kept").read_bytes()
    assert entries(tmp_path / "kept") == entries(tmp_path / "anew")
    assert made.diff_id == digest_bytes(gzip.decompress((tmp_path / "kept").read_bytes()))


@pytest.mark.usefixtures("however_big")
@pytest.mark.parametrize(
    "change",
    [
        {"crc": 1}, {"size": 9_999}, {"size": 10_001}, {"pieces": [b"\xff" * 100]},
        {"pieces": [*deflated(b"a" * 10_000).pieces, b"more"]},
        {"pieces": [b"".join(deflated(b"a" * 10_000).pieces)[:-1]]},
    ],
)  # fmt: skip
def test_what_is_not_what_it_says_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    packed = msgspec.structs.replace(deflated(b"a" * 10_000), **change)
    with pytest.raises(ValueError, match="opt/a is damaged"):
        written(tmp_path / "layer", lambda writer: writer.deflated("opt/a", packed))


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(
            st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1
        ).filter(lambda t: t not in (".", "..")),
        st.binary(max_size=2000),
    )
)
def test_whatever_goes_in_comes_out(tmp_path_factory, content: dict[str, bytes]) -> None:
    path = tmp_path_factory.mktemp("layer") / "layer"
    written(path, lambda w: [w.file(f"app/{name}", data) for name, data in content.items()])
    found = entries(path)
    assert {name: e[5] for name, e in found.items()} == {f"app/{k}": v for k, v in content.items()}


def test_another_compressor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    oci.check_compressor()
    monkeypatch.setattr("mlrepro_nb.connect.oci._layer.COMPRESSOR", "deflate 0.0.1")
    with pytest.raises(ToolError, match=r"needs deflate 0\.0\.1") as raised:
        oci.check_compressor()
    assert "another digest" in raised.value.remedy


# --- the cache


@pytest.fixture
def cache(tmp_path: Path) -> oci.Cache:
    return oci.Cache(tmp_path / "cache")


def files(cache: oci.Cache) -> list[Path]:
    return [p for p in cache.root.rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_what_was_not_kept_is_gone(cache: oci.Cache) -> None:
    with cache.writing() as file:
        file.write(b"half")
    assert not files(cache)
    digest = cache.put(b"whole")
    assert cache.blob(digest).read_bytes() == b"whole"
    assert cache.has(digest, 5)
    assert not cache.has(digest, 4)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    cache: oci.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolError, match=r"disk of .* is full") as raised:
        cache.put(b"x")
    assert "XDG_CACHE_HOME" in raised.value.remedy
    assert not files(cache)


def test_a_download_that_was_killed_goes_on(cache: oci.Cache) -> None:
    digest = digest_bytes(b"0123456789")

    def cut(path: Path) -> None:
        path.write_bytes(b"0123")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.fetch(digest, 10, cut)
    assert not cache.has(digest)

    def rest(path: Path) -> None:
        with path.open("ab") as file:
            assert file.tell() == 4
            file.write(b"456789")

    assert cache.fetch(digest, 10, rest).read_bytes() == b"0123456789"
    cache.fetch(digest, 10, lambda path: pytest.fail("it is there"))


def _fetch(root: Path, digest: str, count: Path) -> None:
    def into(path: Path) -> None:
        with count.open("a") as file:
            file.write("x")
        time.sleep(0.3)
        path.write_bytes(b"0123456789")

    oci.Cache(root).fetch(digest, 10, into)


def test_two_builds_fetch_a_blob_once(cache: oci.Cache, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = (cache.root, digest_bytes(b"0123456789"), tmp_path / "count")
    both = [context.Process(target=_fetch, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [p.exitcode for p in both] == [0, 0]
    assert (tmp_path / "count").read_text() == "x"


def test_what_nobody_used_for_a_month_goes(cache: oci.Cache) -> None:
    old, used = cache.put(b"old"), cache.put(b"used")
    cache.write_note({"a": 1}, "old")
    long_ago = time.time() - 40 * 86400
    for path in files(cache):
        os.utime(path, (long_ago, long_ago))
    assert cache.has(used)
    # Environments lie beside it; the date of a file in one says nothing of its use.
    beside = cache.root / "environments" / "a" / "module.py"
    beside.parent.mkdir(parents=True)
    beside.write_text("")
    os.utime(beside, (long_ago, long_ago))
    cache.sweep()
    assert beside.exists()
    assert cache.has(used)
    assert not cache.has(old)
    assert cache.note({"a": 1}) is None


def test_a_broken_note_is_none(cache: oci.Cache) -> None:
    cache.write_note([1], "x")
    assert cache.note([1]) == "x"
    (path,) = (cache.root / "notes").iterdir()
    path.write_bytes(b"{")
    assert cache.note([1]) is None


# --- layouts


@pytest.fixture
def image(cache: oci.Cache) -> oci.Image:
    settings = cache.put(b'{"architecture":"amd64","os":"linux"}')
    layer = cache.put(b"layer")
    manifest = {
        "schemaVersion": 2, "mediaType": oci.MANIFEST,
        "config": {"mediaType": oci.CONFIG, "digest": settings, "size": 37},
        "layers": [{"mediaType": oci.LAYER, "digest": layer, "size": 5}],
    }  # fmt: skip
    return oci.image(json.dumps(manifest).encode(), "it")


def blobs(cache: oci.Cache, image: oci.Image) -> dict[str, Path]:
    return {d.digest: cache.blob(d.digest) for d in image.blobs}


@pytest.mark.parametrize("name", ["out.tar", "out"])
def test_a_layout_is_read_back(
    cache: oci.Cache, image: oci.Image, tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    oci.write(
        image, ["localhost:5000/a/b:1.0", "localhost:5000/a/b:2"], blobs(cache, image), target
    )
    layout = oci.Layout(target)
    found, called = layout.find("linux/amd64")
    assert (found.digest, called) == (image.digest, "localhost:5000/a/b")
    layout.copy(image.layers[0].digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"layer"
    assert [p.name for p in tmp_path.glob(".mlrepro*")] == []


def test_the_same_image_gives_the_same_archive(
    cache: oci.Cache, image: oci.Image, tmp_path: Path
) -> None:
    for name in ("a.tar", "b.tar"):
        oci.write(image, ["a/b:1"], blobs(cache, image), tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("name", ["out.tar", "out"])
def test_a_damaged_blob_is_told_and_nothing_is_written(
    cache: oci.Cache, image: oci.Image, tmp_path: Path, name: str
) -> None:
    damaged = cache.blob(image.layers[0].digest)
    damaged.write_bytes(b"layeR")
    with pytest.raises(MlreproError, match="damaged"):
        oci.write(image, ["a/b:1"], blobs(cache, image), tmp_path / name)
    assert not (tmp_path / name).exists()
    assert not damaged.exists()


def test_a_folder_that_holds_something_is_left_alone(
    cache: oci.Cache, image: oci.Image, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(UsageError, match="not an empty folder"):
        oci.write(image, ["a/b:1"], blobs(cache, image), tmp_path / "out")
    with pytest.raises(UsageError, match="cannot be written"):
        oci.check_target(tmp_path / "no" / "where.tar")


def test_where_nothing_can_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in ("file/deep/x", "file/image.tar"):
        with pytest.raises(UsageError, match="cannot be"):
            oci.check_target(tmp_path / path)
    for path in ("/proc/x", "/proc/deep/x", "/proc/image.tar"):
        with pytest.raises(ToolError, match=f"{path} cannot be written") as raised:
            oci.check_target(Path(path))
        assert "--output" in raised.value.remedy
    oci.check_target(tmp_path / "a" / "new" / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["out", "out.tar"])
def test_a_full_disk_of_the_output_is_not_the_cache_s(
    cache: oci.Cache, image: oci.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    found = blobs(cache, image)
    monkeypatch.setattr("shutil.copyfile", full)
    monkeypatch.setattr("mlrepro_nb.connect.oci._write.stream", full)
    with pytest.raises(ToolError, match=f"disk of .*{name} is full") as raised:
        oci.write(image, ["a/b:1"], found, tmp_path / name)
    assert "--output" in raised.value.remedy
    assert "XDG_CACHE_HOME" not in raised.value.remedy


def test_the_second_of_two_builds_into_one_folder_is_told(
    cache: oci.Cache, image: oci.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    found = blobs(cache, image)
    real = Path.rename

    def late(self: Path, to: Path) -> Path:
        to.mkdir(exist_ok=True)
        (to / "index.json").write_text("the other's")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(UsageError, match="written by another build meanwhile"):
        oci.write(image, ["a/b:1"], found, target)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".mlrepro")] == []
    assert (target / "index.json").read_text() == "the other's"


@pytest.mark.parametrize("content", [None, b"", b"no tar"])
def test_what_is_no_layout_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "base"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="not a whole OCI image layout"):
        oci.Layout(path).find("linux/amd64")


def test_of_several_platforms_the_right_one_is_found(
    cache: oci.Cache, image: oci.Image, tmp_path: Path
) -> None:
    folder = tmp_path / "layout"
    oci.write(image, (), blobs(cache, image), folder)
    index = json.loads((folder / "index.json").read_bytes())
    entry = index["manifests"][0] | {"platform": {"os": "linux", "architecture": "amd64"}}
    other = {**entry, "digest": f"sha256:{'0' * 64}",
             "platform": {"os": "linux", "architecture": "arm64"}}  # fmt: skip
    inner = json.dumps({"manifests": [other, entry]}).encode()
    (folder / "blobs" / digest_bytes(inner).replace(":", "/")).write_bytes(inner)
    index["manifests"] = [
        {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest_bytes(inner)}
    ]
    (folder / "index.json").write_text(json.dumps(index))
    assert oci.Layout(folder).find("linux/amd64")[0].digest == image.digest
    with pytest.raises(UsageError, match="holds no images for linux/s390x"):
        oci.Layout(folder).find("linux/s390x")


def test_an_archive_is_what_docker_save_writes_too(
    cache: oci.Cache, image: oci.Image, tmp_path: Path
) -> None:
    held = io.BytesIO()
    oci.stream(image, ["a/b:1"], blobs(cache, image), held)
    held.seek(0)
    with tarfile.open(fileobj=held) as archive:
        (told,) = json.load(archive.extractfile("manifest.json"))
        assert told["RepoTags"] == ["a/b:1"]
        assert archive.extractfile(told["Layers"][0]).read() == b"layer"


def test_a_whole_tar_is_compressed_as_a_writer_does_it(tmp_path: Path) -> None:
    def fill(writer: oci.LayerWriter) -> None:
        for number in range(5):
            writer.file(f"app/{number}", bytes(range(256)) * (3000 * number + 7))

    wanted = written(tmp_path / "written", fill)
    with gzip.open(tmp_path / "written") as plain:
        (tmp_path / "tar").write_bytes(plain.read())
    with (tmp_path / "compressed").open("wb") as file:
        made = oci.compress(tmp_path / "tar", file)
    assert made == wanted
    assert oci.digest_of(tmp_path / "compressed") == made.digest
    assert oci.digest_of(tmp_path / "tar") == made.diff_id
    (tmp_path / "tar").write_bytes(b"")
    with (tmp_path / "compressed").open("wb") as file:
        assert oci.compress(tmp_path / "tar", file).size == 0
