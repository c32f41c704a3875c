"""Data that an image lacks: noted when it is planned, fetched and checked where it runs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb import image
from mlrepro_nb.capture.data import trees
from mlrepro_nb.connect import dvc
from mlrepro_nb.connect.download import Login
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.image import _scratch
from mlrepro_nb.image import fetch as program
from mlrepro_nb.image.data import SMALL, Here, Item, at_hand, fetch, read_items
from mlrepro_nb.model import DataAccess, DvcPointer, LocalModule, Record, canonical, digest_text
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import blake, put
from tests.image.conftest import notebook as notebook_of
from tests.records import a_record

Recorded = tuple[Path, Store, Record]
CONTENT = os.urandom(3 << 20)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def item(path: str = "data/big.bin", content: bytes = CONTENT, **fields: Any) -> Item:
    return Item(path=path, digest=blake(content), size=len(content), **fields)


class Server:
    """HTTP with ranges and passwords, which may cut its first answers off."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut = 0
        self.ranges = True
        self.authorization: str | None = None
        self.asked: list[tuple[str, str | None]] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                begins = self.headers.get("Range")
                told.asked.append((self.path, begins))
                content = told.files.get(self.path)
                wanted = told.authorization
                if wanted is not None and self.headers.get("Authorization") != wanted:
                    self.send_error(401)
                    return
                if content is None:
                    self.send_error(404)
                    return
                start = 0
                if begins and told.ranges:
                    start = int(begins.removeprefix("bytes=").rstrip("-"))
                    self.send_response(206)
                    self.send_header(
                        "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                    )
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                if told.cut:
                    told.cut -= 1
                    self.wfile.write(content[start : start + (1 << 20) + 5])
                    self.close_connection = True
                else:
                    self.wfile.write(content[start:])

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("mlrepro_nb.image.data._fetch.PAUSES", (0.01,) * 4)
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """The project and the folder for data of a container."""
    found = {"project": tmp_path / "app", "folder": tmp_path / "data"}
    for path in found.values():
        path.mkdir()
    return found


def left(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# --- fetching


@pytest.mark.parametrize("layout", ["files/md5/", ""])
def test_a_file_comes_from_dvc_s_remote_by_its_md5(
    places: dict[str, Path], tmp_path: Path, layout: str
) -> None:
    name = md5(CONTENT)
    there = tmp_path / "remote" / layout / name[:2] / name[2:]
    there.parent.mkdir(parents=True)
    there.write_bytes(CONTENT)
    (found,) = fetch([item(md5=name, remote=str(tmp_path / "remote"))], **places)
    assert found == places["folder"] / "data" / "big.bin"
    assert found.read_bytes() == CONTENT
    assert left(places["folder"]) == ["data/big.bin"]


def test_a_folder_s_files_are_found_by_dvc_s_listing(
    places: dict[str, Path], tmp_path: Path
) -> None:
    files = {"a.csv": b"1", "deep/a.csv": b"2"}
    listing = json.dumps([{"md5": md5(c), "relpath": n} for n, c in files.items()]).encode()
    remote = tmp_path / "remote" / "files" / "md5"
    for name, content in (*((md5(c), c) for c in files.values()), (f"{md5(listing)}.dir", listing)):
        path = remote / name[:2] / name[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder = f"{md5(listing)}.dir"
    items = [
        item(f"raw/{n}", c, folder=folder, remote=str(tmp_path / "remote"))
        for n, c in files.items()
    ]
    fetch(items, **places)
    assert [(places["folder"] / "raw" / n).read_bytes() for n in files] == [b"1", b"2"]
    (remote / folder[:2] / folder[2:]).write_bytes(b"[]")
    (places["folder"] / "raw" / "a.csv").unlink()
    with pytest.raises(MlreproError, match="not the listing that DVC tracks"):
        fetch(items, **places)


def test_what_is_mounted_is_used_where_it_is(places: dict[str, Path], server: Server) -> None:
    wanted = item(urls=(f"{server.url}/big.bin",))
    for place in (places["folder"], places["project"]):
        (place / "data").mkdir()
        (place / "data" / "big.bin").write_bytes(CONTENT)
        assert fetch([wanted], **places) == (place / "data" / "big.bin",)
    assert server.asked == []


def test_a_file_that_is_another_is_named_with_both_digests_and_left_alone(
    places: dict[str, Path], server: Server
) -> None:
    server.files["/big.bin"] = CONTENT
    there = places["folder"] / "data" / "big.bin"
    there.parent.mkdir()
    there.write_bytes(b"another")
    wanted = item(urls=(f"{server.url}/big.bin",))
    with pytest.raises(MlreproError) as caught:
        fetch([wanted], **places)
    for part in ("data/big.bin", blake(CONTENT), blake(b"another"), str(there)):
        assert part in caught.value.message
    assert caught.value.exit_code == 3
    assert there.read_bytes() == b"another"
    fetch([wanted], **places, replace=True)
    assert there.read_bytes() == CONTENT


def test_a_download_that_is_another_is_never_under_the_final_name(
    places: dict[str, Path], server: Server
) -> None:
    server.files["/big.bin"] = b"another"
    with pytest.raises(MlreproError, match=f"expected {blake(CONTENT)}, found {blake(b'another')}"):
        fetch([item(urls=(f"{server.url}/big.bin",))], **places)
    assert not (places["folder"] / "data" / "big.bin").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_is_cut_off_goes_on(
    places: dict[str, Path], server: Server, *, ranges: bool
) -> None:
    server.files["/big.bin"] = CONTENT
    server.cut, server.ranges = 1, ranges
    (found,) = fetch([item(urls=(f"{server.url}/big.bin",))], **places)
    assert found.read_bytes() == CONTENT
    assert len(server.asked) == 2
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.asked[1][1] or "")


def test_what_arrived_before_a_failure_is_kept_for_the_next_start(
    places: dict[str, Path], server: Server
) -> None:
    server.files["/big.bin"] = CONTENT * 4
    wanted = item(content=CONTENT * 4, urls=(f"{server.url}/big.bin",))
    server.cut = 5
    with pytest.raises(ToolError, match="could not be read to its end"):
        fetch([wanted], **places)
    assert not (places["folder"] / "data" / "big.bin").exists()
    server.asked.clear()
    (found,) = fetch([wanted], **places)
    assert found.read_bytes() == CONTENT * 4
    ((_, begins),) = server.asked
    assert begins is not None
    assert int(begins.removeprefix("bytes=").rstrip("-")) >= 5 << 20


def test_what_was_kept_of_something_else_is_fetched_from_its_start(
    places: dict[str, Path], server: Server
) -> None:
    server.files["/big.bin"] = CONTENT
    wanted = item(urls=(f"{server.url}/big.bin",))
    server.cut = 5
    server.files["/big.bin"] = bytes(8 << 20)
    with pytest.raises(MlreproError):
        fetch([wanted], **places)
    server.files["/big.bin"], server.cut = CONTENT, 0
    (found,) = fetch([wanted], **places)
    assert found.read_bytes() == CONTENT


def test_a_second_place_is_tried_where_the_first_lacks_it(
    places: dict[str, Path], server: Server, tmp_path: Path
) -> None:
    server.files["/b"] = CONTENT
    wanted = item(md5=md5(CONTENT), remote=str(tmp_path), urls=(f"{server.url}/b",))
    assert fetch([wanted], **places)


def test_two_that_fetch_one_file_at_once_both_get_it(
    places: dict[str, Path], server: Server
) -> None:
    server.files["/big.bin"] = CONTENT
    wanted = item(urls=(f"{server.url}/big.bin",))
    found: list[bytes] = []

    def one() -> None:
        (path,) = fetch([wanted], **places)
        found.append(path.read_bytes())

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert left(places["folder"]) == ["data/big.bin"]


def test_many_files_come_and_every_missing_one_is_told(
    places: dict[str, Path], server: Server
) -> None:
    contents = {f"/{n}": bytes([n]) for n in range(20)}
    server.files |= contents
    items = [item(f"d{p}", c, urls=(server.url + p,)) for p, c in contents.items()]
    lines: list[str] = []
    gone = [item("d/x", b"x", urls=(f"{server.url}/x",)), item("d/y", b"y")]
    with pytest.raises(ToolError, match="d/y, which the run read, is not mounted at"):
        fetch([*items, *gone], **places, report=lambda step: lines.append(step.message))
    assert any("d/x" in line and "not mounted" in line for line in lines)
    assert len(left(places["folder"])) == 20


def test_the_remote_s_credentials_are_for_the_remote_alone(
    places: dict[str, Path], server: Server
) -> None:
    name = md5(CONTENT)
    server.files[f"/files/md5/{name[:2]}/{name[2:]}"] = CONTENT
    server.files["/other"] = CONTENT
    server.authorization = f"Basic {base64.b64encode(b'u:p').decode()}"
    login = Login(user="u", password="p")
    assert "p" not in repr(login).removeprefix("Login")
    wanted = item(md5=name, remote=server.url)
    with pytest.raises(ToolError, match="401"):
        fetch([wanted], **places)
    assert fetch([wanted], **places, login=login)
    (places["folder"] / "data" / "big.bin").unlink()
    with pytest.raises(ToolError, match="401"):
        fetch([item(urls=(f"{server.url}/other",))], **places, login=login)
    server.authorization = "Bearer t"
    assert fetch([wanted], **places, login=Login(token="t"))


def test_another_store_than_http_is_read_with_fsspec(places: dict[str, Path]) -> None:
    import fsspec

    name = md5(CONTENT)
    with fsspec.open(f"memory://bucket/files/md5/{name[:2]}/{name[2:]}", "wb") as file:
        file.write(CONTENT)
    (found,) = fetch([item(md5=name, remote="memory://bucket")], **places)
    assert found.read_bytes() == CONTENT
    with pytest.raises(ToolError, match="reads nosuch://"):
        fetch([item("b", md5=name, remote="nosuch://bucket")], **places)


def test_a_folder_that_cannot_be_written_is_told(places: dict[str, Path], server: Server) -> None:
    server.files["/big.bin"] = CONTENT
    (places["folder"]).rmdir()
    places["folder"].write_text("a file")
    with pytest.raises(ToolError, match="cannot be written"):
        fetch([item(urls=(f"{server.url}/big.bin",))], **places)


def test_mlrepro_fetch_ends_by_what_it_found(
    places: dict[str, Path], server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(program, "APP", tmp_path / "image")
    monkeypatch.setenv("MLREPRO_DATA", str(places["folder"]))
    (tmp_path / "image" / "record").mkdir(parents=True)
    name = md5(CONTENT)
    items = (item(md5=name, remote="https://unreachable.invalid"),)
    (tmp_path / "image" / "record" / "data.json").write_bytes(msgspec.json.encode(items))
    assert read_items(tmp_path / "image" / "record" / "data.json") == items
    server.files[f"/files/md5/{name[:2]}/{name[2:]}"] = CONTENT
    server.authorization = "Bearer from-a-file"
    monkeypatch.setenv("MLREPRO_DVC_REMOTE", server.url)
    assert program.main([]) == 3
    secret = tmp_path / "token"
    secret.write_text("from-a-file\n")
    monkeypatch.setenv("MLREPRO_DVC_TOKEN_FILE", str(secret))
    assert program.main([]) == 0
    (places["folder"] / "data" / "big.bin").write_bytes(b"another")
    assert program.main([]) == 3
    said = capsys.readouterr().err
    assert blake(b"another") in said
    assert "from-a-file" not in said


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put an image's files, with a list of items, where a container has them."""

    def make(*items: Item) -> Path:
        app, data = tmp_path / "app", tmp_path / "data"
        (app / "record").mkdir(parents=True)
        (app / "project").mkdir()
        (app / "record" / "record.json").write_bytes(canonical(a_record()))
        (app / "record" / "reference.ipynb").write_bytes(b"{}")
        (app / "record" / "data.json").write_bytes(msgspec.json.encode(items))
        monkeypatch.setattr(_scratch, "APP", app)
        monkeypatch.setattr(program, "APP", app)
        monkeypatch.setenv("MLREPRO_DATA", str(data))
        return data

    return make


@pytest.mark.parametrize("path", ["data/big.bin", "/proc/big.bin"])
def test_a_job_does_not_start_without_data_that_nobody_can_fetch(
    container: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    data = container(item(path))
    place = data / path.lstrip("/")
    with pytest.raises(MlreproError) as caught:
        _scratch.lay_out(tmp_path / "job", tmp_path, whole=True)
    assert caught.value.exit_code == 3
    assert caught.value.message.startswith(f"{path} is not in the image and not mounted")
    volume = f"{path}:{path}:ro" if path[0] == "/" else f'"$PWD"/{path}:{place}:ro'
    how = f"docker run --rm --volume {volume} IMAGE"
    assert caught.value.remedy.endswith(how)
    assert not (tmp_path / "job").exists()
    # A reviewer may read the notebook all the same; with parameters, other data may be read.
    _scratch.lay_out(tmp_path / "review", tmp_path)
    assert how in capsys.readouterr().err

    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    if path.startswith("/"):  # where nothing can be put
        with pytest.raises(MlreproError, match="is not in the image"):
            _scratch.lay_out(tmp_path / "again", tmp_path, whole=True)
        assert f"{path} cannot be put in its place" in capsys.readouterr().err
    else:
        _scratch.lay_out(tmp_path / "again", tmp_path, whole=True)


def test_of_many_files_that_nobody_can_fetch_the_project_is_mounted(
    container: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = container(*(item(f"d/{n:03}.csv") for n in range(500)))
    with pytest.raises(MlreproError) as caught:
        _scratch.lay_out(tmp_path / "job", tmp_path, whole=True)
    assert caught.value.message.startswith("d/000.csv, d/001.csv, d/002.csv and 497 more are not")
    assert caught.value.remedy.endswith(f'docker run --rm --volume "$PWD":{data}:ro IMAGE')
    assert program.main([]) == 3
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 7
    assert "494 more" in said


def test_a_file_whose_content_is_not_recorded_is_put_in_its_place_if_it_is_mounted(
    container: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = container(Item(path=".env", optional=True))
    _scratch.lay_out(tmp_path / "without", tmp_path, whole=True)
    assert ".env is not in the image; to mount it: " in capsys.readouterr().err
    assert program.main([]) == 0
    data.mkdir()
    (data / ".env").write_text("TOKEN=hunter2")
    _scratch.lay_out(tmp_path / "with", tmp_path, whole=True)
    assert (tmp_path / "with" / ".env").read_text() == "TOKEN=hunter2"
    assert program.main([]) == 0


@given(st.text("abcdef/.", min_size=1, max_size=12), st.binary(max_size=40))
def test_a_listing_is_read_or_refused(name: str, data: bytes) -> None:
    listing = json.dumps([{"relpath": name, "md5": md5(data)}]).encode()
    assert dvc.folder_objects(listing) == {name: md5(data)}
    with contextlib.suppress(ValueError):
        dvc.folder_objects(data)


# --- planning


def tracked(folder: Path, store: Store, *, size: int = SMALL + 1, **fields: Any) -> DataAccess:
    """Put a record of a run that read a file that DVC tracks."""
    content = bytes(size)
    (folder / "big.bin").write_bytes(content)
    access = DataAccess(
        path="big.bin", repo_path="big.bin", digest=blake(content), md5=f"md5:{md5(content)}",
        size=size, access="read", cell=1,
        dvc=DvcPointer(file="big.bin.dvc", md5=md5(content), remote="s3://bucket/dvc"),
    )  # fmt: skip
    access = msgspec.structs.replace(access, **fields)
    put(folder, store, data=(access,))
    return access


def plan(**options: Any) -> image.Plan:
    return image.plan("train.ipynb", **{"offline": True, "allow_dirty": True, **options})


def test_data_that_is_not_in_the_image_is_told_with_where_it_comes_from(
    recorded: Recorded,
) -> None:
    folder, store, _ = recorded
    access = tracked(folder, store)
    made = plan()
    (wanted,) = made.items
    assert (wanted.path, wanted.digest, wanted.remote) == (
        "big.bin", access.digest, "s3://bucket/dvc",
    )  # fmt: skip
    assert wanted.md5 == (access.md5 or "").removeprefix("md5:")
    assert any("big.bin (10 MiB) is not in" in n and "s3://bucket/dvc" in n for n in made.notes)
    assert any("s3fs" in note for note in made.notes)
    listed = {f.path: f.content for f in made.layer("record")}["data.json"]
    assert msgspec.json.decode(listed or b"", type=tuple[Item, ...]) == made.items
    assert image.labels(made)["io.mlrepro.fetches"] == str(SMALL + 1)


def test_baked_data_has_a_layer_of_its_own_below_what_changes_more(recorded: Recorded) -> None:
    folder, store, _ = recorded
    tracked(folder, store)
    made = plan(bake_data=True)
    assert [f.path for f in made.layer("bulk")] == ["big.bin"]
    assert (made.items, made.mounts) == ((), ())
    assert "io.mlrepro.fetches" not in image.labels(made)
    text = image.containerfile(made)
    assert text.index("COPY bulk/") < text.index("COPY code/")
    assert any("1 data file" in note for note in made.notes)


def test_a_file_that_dvc_has_and_this_machine_has_not_is_fetched(recorded: Recorded) -> None:
    folder, store, _ = recorded
    tracked(folder, store, size=10)
    (folder / "big.bin").unlink()
    assert [i.path for i in plan().items] == ["big.bin"]
    with pytest.raises(UsageError, match="gone"):
        plan(bake_data=True)


def test_a_small_file_that_dvc_has_is_fetched_though_it_is_here(recorded: Recorded) -> None:
    folder, store, _ = recorded
    tracked(folder, store, size=10)
    made = plan()
    assert [i.path for i in made.items] == ["big.bin"]
    assert "io.mlrepro.mounts" not in image.labels(made)
    assert data_of(made) == set()
    (note,) = [n for n in made.notes if n.startswith("big.bin")]
    assert note == (
        "big.bin (10 B) is not in the image (DVC tracks it): a container fetches it from DVC's "
        "remote s3://bucket/dvc, or finds it mounted at /data/big.bin; --bake-data puts it in."
    )
    assert data_of(plan(bake_data=True)) == {"big.bin"}


def untracked(folder: Path, store: Store, *names: str) -> None:
    """Put a record of a run that read small files which nobody tracks."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    put(folder, store, data=tuple(
        DataAccess(path=name, repo_path=name, digest=blake(name.encode()), size=len(name),
                   access="read", cell=1)
        for name in names
    ))  # fmt: skip


def test_a_small_file_that_git_does_not_track_is_mounted(recorded: Recorded) -> None:
    folder, store, _ = recorded
    untracked(folder, store, "own.csv")
    made = plan()
    assert data_of(made) == set()
    assert [(m.path, m.where) for m in made.mounts] == [("own.csv", "/data/own.csv")]
    assert [(i.path, i.digest, i.known) for i in made.items] == [
        ("own.csv", blake(b"own.csv"), False)
    ]
    assert [n for n in made.notes if "own.csv" in n] == [
        "own.csv (7 B) is not in the image (git does not track it): a container finds it mounted "
        "at /data/own.csv; git add or dvc add it, or --bake-data puts it in."
    ]
    assert data_of(plan(bake_data=True)) == {"own.csv"}
    assert image.labels(made)["io.mlrepro.mounts"] == "own.csv"
    assert "io.mlrepro.mounts" not in image.labels(plan(bake_data=True))
    assert data_of(plan(changes=["files=own.csv"])) == {"own.csv"}
    assert plan(changes=["files=own.csv"]).items == ()


def test_what_was_added_since_the_record_is_in_the_image_or_fetched(recorded: Recorded) -> None:
    folder, store, _ = recorded
    untracked(folder, store, "own.csv", "other.csv")
    git(folder, "add", "own.csv")
    (folder / "other.csv.dvc").write_text(f"outs:\n- md5: {md5(b'other.csv')}\n  path: other.csv\n")
    made = plan()
    assert data_of(made) == {"own.csv"}
    ((item_,), (mount,)) = made.items, made.mounts
    assert (item_.path, item_.md5, mount.reason) == ("other.csv", md5(b"other.csv"), "dvc")


def test_what_a_stage_of_dvc_only_reads_is_in_no_remote(recorded: Recorded) -> None:
    folder, store, _ = recorded
    pointer = DvcPointer(file="dvc.lock", md5="0" * 32, remote="s3://b", stage="s", role="dep")
    tracked(folder, store, size=10, dvc=pointer)
    assert [(m.reason, m.sources) for m in plan().mounts] == [("untracked", ())]


def test_a_link_that_git_tracks_is_not_what_it_leads_to(recorded: Recorded, tmp_path: Path) -> None:
    folder, store, record = recorded
    (tmp_path / "far.csv").write_text("far.csv")
    (folder / "far.csv").symlink_to(tmp_path / "far.csv")
    (folder / "near.csv").symlink_to("data.csv")
    git(folder, "add", ".")
    (data,) = record.data
    near = msgspec.structs.replace(data, path="near.csv", repo_path="near.csv")
    far = msgspec.structs.replace(
        data, path="far.csv", repo_path="far.csv", digest=blake(b"far.csv"), size=7
    )
    put(folder, store, data=(near, far))
    made = plan()
    assert data_of(made) == {"near.csv"}
    assert [m.path for m in made.mounts] == ["far.csv"]


def test_many_files_are_one_note(recorded: Recorded) -> None:
    folder, store, _ = recorded
    untracked(folder, store, *(f"d/{n:02}.csv" for n in range(80)))
    (note,) = [n for n in plan().notes if "not in the image" in n]
    assert note == (
        "d/00.csv, d/01.csv, d/02.csv and 77 more (640 B) are not in the image (git does not "
        "track them): a container finds them mounted below /data; git add or dvc add them, or "
        "--bake-data puts them in."
    )


def folder_of(recorded: Recorded, names: tuple[str, ...]) -> Path:
    """Put a record of a run that read so many files of a folder that they are one entry."""
    root, store, _ = recorded
    (root / "d").mkdir()
    for name in names:
        (root / "d" / name).write_text(name)
    listed = trees.listing({name: blake(name.encode()) for name in names})
    access = DataAccess(
        path="d", repo_path="d", digest=trees.digest_of_listing(listed), files=len(names),
        size=sum(map(len, names)), tree=store.blobs.put(listed), access="read", cell=1,
    )  # fmt: skip
    put(root, store, data=(access,))
    return root


def test_of_a_folder_what_git_tracks_is_in_the_image_and_the_rest_mounted(
    recorded: Recorded,
) -> None:
    root = folder_of(recorded, ("a.csv", "b.csv", "c.csv"))
    made = plan()
    assert [(m.path, m.where, m.size) for m in made.mounts] == [("d", "/data/d", 15)]
    assert [i.path for i in made.items] == ["d/a.csv", "d/b.csv", "d/c.csv"]
    git(root, "add", "d/a.csv", "d/b.csv")
    made = plan()
    assert data_of(made) == {"d/a.csv", "d/b.csv"}
    assert [(m.path, m.where, m.size) for m in made.mounts] == [("d/c.csv", "/data/d/c.csv", 5)]
    assert [i.path for i in made.items] == ["d/c.csv"]
    (root / "d" / "c.csv").write_text("changed")  # where it is mounted, that is told
    plan()
    (root / "d" / "b.csv").write_text("changed")
    with pytest.raises(UsageError, match=r"d/b\.csv is not what the run read"):
        plan()
    (root / "d" / "b.csv").unlink()
    with pytest.raises(UsageError, match=r"d/b\.csv, which the run read, is gone"):
        plan()
    (root / "d" / "b.csv").write_text("b.csv")
    (root / "d" / "c.csv").write_text("c.csv")
    git(root, "add", "d")
    made = plan()
    assert (data_of(made), made.items) == ({"d/a.csv", "d/b.csv", "d/c.csv"}, ())


def test_a_project_that_is_not_in_git_has_its_data_mounted(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store, record = recorded
    monkeypatch.setenv("MLREPRO_STORE", str(folder / ".mlrepro"))
    shutil.rmtree(folder / ".git")
    access = msgspec.structs.replace(record.data[0], tracked=False)
    store.put(msgspec.structs.replace(record, data=(access,)))
    made = plan()
    assert [i.path for i in made.items] == ["data.csv"]
    assert [n for n in made.notes if "data.csv" in n] == [
        "data.csv (12 B) is not in the image (the project is not in git): a container finds it "
        "mounted at /data/data.csv; --bake-data puts it in."
    ]


def test_of_the_data_at_hand_what_changed_or_is_gone_is_told_apart(recorded: Recorded) -> None:
    folder, store, _ = recorded
    untracked(folder, store, "same.csv", "changed.csv", "gone.csv")
    (folder / ".env").write_text("TOKEN=hunter2\n")
    _, record = store.find_record("train.ipynb")
    env = DataAccess(path=".env", repo_path=".env", access="read", size=14)
    put(folder, store, data=(*record.data, env))
    (folder / "changed.csv").write_text("CHANGED.csv")
    (folder / "gone.csv").unlink()
    here = at_hand(plan().items, folder, store)
    assert here.files == {"same.csv": folder / "same.csv", ".env": folder / ".env"}
    assert [i.path for i in here.changed] == ["changed.csv"]
    assert [i.path for i in here.gone] == ["gone.csv"]
    (folder / ".env").unlink()
    assert ".env" not in {i.path for i in at_hand(plan().items, folder, store).gone}


def test_what_lies_outside_is_given_where_the_notebook_looks(tmp_path: Path) -> None:
    found = Here(files=dict.fromkeys(("d/a.csv", "/mnt/b.csv"), tmp_path)).places
    assert found == {"/data/d/a.csv": tmp_path, "/mnt/b.csv": tmp_path}


def test_urls_come_from_dvc_import_url_and_from_the_settings(recorded: Recorded) -> None:
    folder, store, _ = recorded
    tracked(folder, store)
    (folder / "big.bin.dvc").write_text(
        "deps:\n- path: https://user:secret@example.com/big.bin\nouts:\n- path: big.bin\n"
    )
    (folder / "pyproject.toml").write_text(
        '[tool.mlrepro.data]\n"big.bin" = "https://mirror.example.com/b"\n'
    )
    (wanted,) = plan().items
    assert wanted.urls == ("https://mirror.example.com/b", "https://example.com/big.bin")
    (folder / "pyproject.toml").write_text(
        '[tool.mlrepro.data]\n"big.bin" = "https://u:secret@mirror.example.com/b"\n'
    )
    with pytest.raises(UsageError, match="credentials"):
        plan()


def test_a_url_that_the_notebook_reads_itself_is_told(recorded: Recorded) -> None:
    folder, store, _ = recorded
    access = DataAccess(path="https://u:p@example.com/t.csv", access="read", cell=1)
    put(folder, store, data=(access,))
    (note,) = [n for n in plan().notes if "example.com" in n]
    assert note.startswith("https://example.com/t.csv is not in the image")


def test_what_reads_a_remote_goes_into_the_image_where_it_was_recorded(
    recorded: Recorded,
) -> None:
    folder, store, record = recorded
    tracked(folder, store)
    git(folder, "status")
    _, found = store.find_record("train.ipynb")
    environment = found.environment
    more = msgspec.structs.replace(environment.distributions[0], name="s3fs", version="1")
    environment = msgspec.structs.replace(
        environment, distributions=(*environment.distributions, more)
    )
    put(folder, store, data=found.data, environment=environment)
    made = plan()
    assert any(pin.startswith("s3fs==") for pin in made.pins)
    assert record.environment.distributions


# --- folders that a cell lists


def listing(recorded: Recorded, folder: str = "d") -> Path:
    """Have the last cell list a folder in which it opened one file of several."""
    root, store, record = recorded
    (root / folder).mkdir(exist_ok=True)
    for name in ("p1.csv", "p2.csv", ".env", "own.py", "out.csv"):
        (root / folder / name).write_text(name, encoding="utf-8")
    (root / folder / "deeper").mkdir()
    (root / folder / "deeper" / "q.csv").touch()
    git(root, "add", "-f", ".")
    git(root, "commit", "-qm", "Data")
    cells = (record.code.cells[0], msgspec.structs.replace(record.code.cells[1], lists=(folder,)))
    opened = DataAccess(
        path=f"{folder}/p1.csv", repo_path=f"{folder}/p1.csv", digest=blake(b"p1.csv"), size=6,
        access="read", cell=1, tracked=True,
    )  # fmt: skip
    made = msgspec.structs.replace(
        opened, path=f"{folder}/out.csv", repo_path=f"{folder}/out.csv", access="write"
    )
    code = msgspec.structs.replace(
        record.code, cells=cells, commit=git(root, "rev-parse", "HEAD")
    )  # fmt: skip
    put(root, store, data=(opened, made), code=code)
    return root


def data_of(made: image.Plan) -> set[str]:
    return {f.path for f in made.files if f.layer == "data"}


def test_the_files_of_a_folder_that_a_cell_lists_are_in_the_image(recorded: Recorded) -> None:
    listing(recorded)
    made = plan()
    assert data_of(made) == {"d/p1.csv", "d/p2.csv"}
    assert not [note for note in made.notes if "list" in note]


def test_what_of_a_listed_folder_is_not_in_the_image_is_told(recorded: Recorded) -> None:
    root = listing(recorded)
    (root / "d" / "new.csv").write_text("x", encoding="utf-8")
    (root / "d" / "p2.csv").write_bytes(bytes(SMALL + 1))
    git(root, "commit", "-qam", "More")
    (root / "d" / "token.txt").write_text(TOKEN)
    git(root, "add", "d/token.txt")
    git(root, "commit", "-qm", "Secret")
    made = plan()
    assert data_of(made) == {"d/p1.csv"}
    (note,) = [note for note in made.notes if "lists" in note]
    assert note.startswith("Cell 1 lists d, of which 3 files are not in the image (d/new.csv, d/p2")
    assert "`files`" in note
    assert data_of(plan(bake_data=True)) == {"d/p1.csv", "d/p2.csv"}
    (note,) = [note for note in plan(changes=["files=d/p2.csv"]).notes if "lists" in note]
    assert "2 files are not in the image (d/new.csv, d/token.txt)" in note


def test_of_the_project_s_own_folder_only_data_counts(recorded: Recorded) -> None:
    root = listing(recorded)
    for name in ("other.csv", "Makefile", "pyproject.toml", "two.ipynb", "own.py", "README.md"):
        (root / name).touch()
    git(root, "add", ".")
    git(root, "commit", "-qm", "Files")
    _, store, _ = recorded
    _, record = store.find_record("train.ipynb")
    cells = (msgspec.structs.replace(record.code.cells[1], lists=(".", "gone")),)
    put(root, store, code=msgspec.structs.replace(
        record.code, cells=(record.code.cells[0], *cells)
    ), data=())  # fmt: skip
    assert data_of(plan()) == {"data.csv", "other.csv"}


# --- secrets

KEY = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
TOKEN = "ghp_" + "a1B2" * 9


def read(folder: Path, store: Store, **contents: str) -> None:
    """Put a record of a run that read files which git ignores."""
    found = []
    for name, content in contents.items():
        (folder / name).write_text(content)
        found.append(
            DataAccess(path=name, repo_path=name, digest=blake(content.encode()),
                       size=len(content), access="read", cell=1)
        )  # fmt: skip
    (folder / ".gitignore").write_text("\n".join([".mlrepro/", *contents]))
    git(folder, "commit", "-qam", "Ignore")
    put(folder, store, data=tuple(found))


def test_what_seems_to_hold_a_secret_is_mounted_not_copied(recorded: Recorded) -> None:
    folder, store, _ = recorded
    secrets = {
        "kaggle.json": '{"username": "u", "key": "0123456789abcdef"}', "account.json": KEY,
        "note.txt": f"use {TOKEN}", "config.ini": "[db]\npassword = hunter2\n",
        "db.yaml": "url: postgres://me:hunter2@host/db\n", "env.list": "DB_PASSWORD=hunter2\n",
        "url.txt": "postgres://me:hunter2@host/db\n",
    }  # fmt: skip
    plain = {
        "words.json": '{"token": "the", "tag": "DET"}', "table.csv": "token,password\na,b\n",
        "prose.txt": "Basic understanding: a password = a word\n",
    }  # fmt: skip
    read(folder, store, **secrets, **plain)
    for baked in (False, True):
        made = plan(bake_data=baked)
        assert data_of(made) == (set(plain) if baked else set())
        assert {m.path for m in made.mounts} == {*secrets, *(() if baked else plain)}
        (note,) = (n for n in made.notes if "seem to hold secrets" in n)
        assert note.startswith("kaggle.json, account.json, note.txt and 4 more (")
        assert "finds them mounted below /data; name them under `files` to copy them." in note
        assert "git add" not in note
        assert "--bake-data" not in note
    (told,) = (n for n in made.notes if "data files" in n)
    assert "Git does not track words.json, table.csv, prose.txt." in told
    (folder / "pyproject.toml").write_text('[tool.mlrepro]\nfiles = ["note.txt"]\n')
    assert "note.txt" in {f.path for f in plan().files}


@pytest.mark.parametrize(
    "source", [f"TOKEN = '{TOKEN}'\n", "api_key = 'abc123'\n"], ids=["shape", "name"]
)
def test_a_module_with_a_secret_is_refused_unless_it_is_asked_for(
    recorded: Recorded, source: str
) -> None:
    folder, store, record = recorded
    (folder / "mine.py").write_text(source)
    module = LocalModule(name="mine", path="mine.py", digest=digest_text(source))
    put(folder, store, code=msgspec.structs.replace(record.code, modules=(module,)))
    with pytest.raises(UsageError, match=r"mine\.py.* seems to hold a secret"):
        plan()
    (folder / "pyproject.toml").write_text('[tool.mlrepro]\nfiles = ["mine.py"]\n')
    assert "mine.py" in {f.path for f in plan().layer("code")}


def test_what_a_live_notebook_shows_is_masked_in_the_image(recorded: Recorded) -> None:
    folder, store, record = recorded
    html = {"text/html": "<b>api_key = 'q8Zk21xx'"}
    lines = [f"use {TOKEN[:20]}", TOKEN[20:], "\n"]
    shown = [
        {"output_type": "stream", "name": "stdout", "text": lines},
        {"output_type": "display_data", "metadata": {}, "data": html},
        {
            "output_type": "error", "ename": "E", "evalue": "",
            "traceback": [KEY, "hunter2-hunter2"],
        },
    ]  # fmt: skip
    nb = notebook_of(outputs=shown)
    nb["metadata"]["papermill"] = {"parameters": {"password": "hunter2-hunter2"}}
    (folder / "train.ipynb").write_text(json.dumps(nb))
    git(folder, "commit", "-qam", "Shown")
    results = msgspec.structs.replace(record.results, notebook=None)
    put(folder, store, results=results)
    copied = b"".join(f.content or b"" for f in plan().files)
    for secret in (TOKEN, TOKEN[20:], "q8Zk21xx", "MIIE", "hunter2-hunter2"):
        assert secret.encode() not in copied
    (folder / "train.ipynb").write_text(json.dumps(notebook_of(), indent=2))
    git(folder, "commit", "-qam", "Shown")
    put(folder, store, results=results)
    reference = {f.path: f.content for f in plan().layer("record")}["reference.ipynb"]
    assert reference == (folder / "train.ipynb").read_bytes()


def test_nothing_of_a_repository_s_own_folder_is_copied(recorded: Recorded) -> None:
    folder, store, _ = recorded
    for name in (".git/config", "sub/.git/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
        access = DataAccess(path=name, repo_path=name, digest=blake(b"x"), size=1, access="read")
        put(folder, store, data=(access,))
        with pytest.raises(UsageError, match="not in the project"):
            plan(bake_data=True)


def test_a_cell_with_a_token_is_refused(recorded: Recorded) -> None:
    folder, store, _ = recorded
    path = folder / "train.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][0]["source"] += f"\ntoken = '{TOKEN}'"
    path.write_text(json.dumps(notebook))
    git(folder, "commit", "-qam", "Token")
    put(folder, store)
    with pytest.raises(UsageError, match=r"Cell 0 of train\.ipynb holds a secret"):
        plan()
