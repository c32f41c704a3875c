"""What refers to an image: with the referrers API and without, at once and in pieces."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.connect import registry
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import digest_bytes

INDEX = "application/vnd.oci.image.index.v1+json"
SUBJECT = registry.Manifest(
    content=b'{"schemaVersion":2}', media_type="application/vnd.oci.image.manifest.v1+json"
)


def an_artifact(content: str = "{}", kind: str = "application/vnd.example+json") -> Any:
    return registry.Artifact(
        artifact_type=kind, media_type=kind, content=content.encode(), annotations={"a": content}
    )


class Fake:
    """A registry in memory, with or without the referrers API, that a test may upset."""

    def __init__(self, *, api: bool) -> None:
        self.api = api
        self.page = 100
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.lose = 0
        """How many times the next list is replaced by somebody else's."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self) -> None:
                fake.get(self)

            def do_HEAD(self) -> None:
                fake.get(self)

            def do_POST(self) -> None:
                self.answer(202, Location="/v2/r/blobs/uploads/1")

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.put(self, body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.name = f"127.0.0.1:{self.server.server_port}/r"

    def put(self, handler: Any, body: bytes) -> None:
        path, _, query = handler.path.partition("?")
        if "uploads" in path:
            self.blobs[query.removeprefix("digest=")] = body
            return handler.answer(201)
        name = path.rpartition("/")[2]
        self.puts.append(name)
        self.manifests[digest_bytes(body)] = self.manifests[name] = body
        if name.startswith("sha256-") and self.lose:
            self.lose -= 1
            self.manifests[name] = self.index([])
        subject = json.loads(body).get("subject")
        headers = {"OCI_Subject": subject["digest"]} if subject and self.api else {}
        return handler.answer(201, Docker_Content_Digest=digest_bytes(body), **headers)

    def index(self, entries: list[Any]) -> bytes:
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        return json.dumps(content).encode()

    def get(self, handler: Any) -> None:
        path, _, query = handler.path.partition("?")
        name = path.rpartition("/")[2]
        if "/blobs/" in path and name in self.blobs:
            return handler.answer(200, self.blobs[name])
        if "/manifests/" in path and name in self.manifests:
            return handler.answer(200, self.manifests[name])
        if "/referrers/" in path and self.api:
            entries = []
            for digest, body in self.manifests.items():
                told = json.loads(body)
                if (told.get("subject") or {}).get("digest") == name:
                    entries.append(
                        {"digest": digest, "size": len(body), "mediaType": told["mediaType"],
                         "artifactType": told["artifactType"], "annotations": None}
                    )  # fmt: skip
            start = int(query.removeprefix("n=") or 0)
            headers = {"Content_Type": INDEX}
            if start + self.page < len(entries):
                headers["Link"] = f'<{path}?n={start + self.page}>; rel="next"'
            return handler.answer(200, self.index(entries[start : start + self.page]), **headers)
        return handler.answer(404)


@pytest.fixture(params=[True, False], ids=["api", "fallback"])
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setattr("mlrepro_nb.connect.registry._referrers._SETTLE", 0.01)
    made = Fake(api=request.param)
    yield made
    made.server.shutdown()


def test_what_is_attached_is_listed_and_read_back(fake: Fake) -> None:
    artifacts = [an_artifact("one"), an_artifact("two")]
    digests = registry.attach(fake.name, SUBJECT, artifacts)
    listed = registry.referrers(fake.name, SUBJECT.digest)
    assert {r.digest for r in listed} == set(digests)
    found = [registry.fetch(fake.name, r, SUBJECT.digest) for r in listed]
    assert sorted(a.content for a in found) == [b"one", b"two"]
    assert all(a.artifact_type == "application/vnd.example+json" for a in found)
    tagged = [name for name in fake.puts if name.startswith("sha256-")]
    assert bool(tagged) is not fake.api  # the list is kept up only where nobody else does
    assert registry.referrers(fake.name, f"sha256:{'0' * 64}") == ()


def test_attaching_again_adds_nothing(fake: Fake) -> None:
    registry.attach(fake.name, SUBJECT, [an_artifact()])
    before = len([name for name in fake.puts if name.startswith("sha256-")])
    registry.attach(fake.name, SUBJECT, [an_artifact()])
    assert len(registry.referrers(fake.name, SUBJECT.digest)) == 1
    assert len([name for name in fake.puts if name.startswith("sha256-")]) == before


def test_a_list_of_several_pages_is_read_to_its_end() -> None:
    fake = Fake(api=True)
    fake.page = 2
    registry.attach(fake.name, SUBJECT, [an_artifact(str(n)) for n in range(5)])
    assert len(registry.referrers(fake.name, SUBJECT.digest)) == 5


def test_an_entry_that_another_writer_dropped_is_added_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlrepro_nb.connect.registry._referrers._SETTLE", 0.01)
    fake = Fake(api=False)
    fake.lose = 3
    registry.attach(fake.name, SUBJECT, [an_artifact()])
    assert len(registry.referrers(fake.name, SUBJECT.digest)) == 1


def test_a_list_that_is_always_replaced_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlrepro_nb.connect.registry._referrers._SETTLE", 0.001)
    monkeypatch.setattr("mlrepro_nb.connect.registry._referrers.random.random", lambda: 0.0)
    fake = Fake(api=False)
    fake.lose = 1000
    with pytest.raises(ToolError, match="replaced by others all the time"):
        registry.attach(fake.name, SUBJECT, [an_artifact()])


def test_what_is_none_of_the_image_s_is_not_believed(fake: Fake) -> None:
    registry.attach(fake.name, SUBJECT, [an_artifact("x")])
    (listed,) = registry.referrers(fake.name, SUBJECT.digest)
    with pytest.raises(registry.WrongContentError, match="but refers to"):
        registry.fetch(fake.name, listed, f"sha256:{'1' * 64}")
    gone = registry.Referrer(digest=f"sha256:{'2' * 64}")
    with pytest.raises(registry.WrongContentError, match="is not there"):
        registry.fetch(fake.name, gone, SUBJECT.digest)
    fake.blobs[digest_bytes(b"x")] = b"y"
    with pytest.raises(registry.WrongContentError, match="a blob that is not"):
        registry.fetch(fake.name, listed, SUBJECT.digest)


# --- a real registry


@pytest.mark.engine
def test_many_who_attach_at_once_lose_nothing(registry: str, tmp_path: Path) -> None:
    from mlrepro_nb.connect import registry as door

    repository = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    content = b"{}"
    (tmp_path / "c").write_bytes(content)
    blob = door.Blob(digest=digest_bytes(content), path=tmp_path / "c", size=len(content))
    described = {"digest": blob.digest, "size": 2}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": SUBJECT.media_type,
        "config": {**described, "mediaType": "application/vnd.oci.image.config.v1+json"},
        "layers": [{**described, "mediaType": "application/vnd.oci.image.layer.v1.tar"}],
    }).encode()  # fmt: skip
    subject = door.Manifest(content=manifest, media_type=SUBJECT.media_type)
    door.push(repository, subject, [blob], ["1"])
    failed: list[Exception] = []

    def attach(number: int) -> None:
        try:
            artifacts = [an_artifact(f'{{"n": {number}, "m": {m}}}') for m in range(2)]
            door.attach(repository, subject, artifacts)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=attach, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(door.referrers(repository, subject.digest)) == 16
