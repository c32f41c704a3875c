"""Blobs on their way to and from a real registry, with a proxy that cuts, redirects and refuses."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.connect import oci, registry
from mlrepro_nb.connect.registry import _conversation, _transfer
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import digest_bytes

pytestmark = pytest.mark.engine


class Proxy:
    """Stands before a registry; `rules` see each request first and may spoil it."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.rules: list[Any] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def handle_any(self) -> None:
                proxy.seen.append((self.command, self.path, dict(self.headers)))
                for rule in list(proxy.rules):
                    if rule(self):
                        self.close_connection = True
                        return
                length = int(self.headers.get("Content-Length") or 0)
                self.forward(self.rfile.read(length))

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def forward(self, body: bytes) -> None:
                upstream = http.client.HTTPConnection(proxy.upstream, timeout=30)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                headers["Host"] = proxy.upstream
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() in ("transfer-encoding", "connection"):
                        continue
                    self.send_header(name, value.replace(proxy.upstream, proxy.host))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                upstream.close()

            def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def methods(self) -> list[str]:
        return [method for method, _, _ in self.seen]


@pytest.fixture(autouse=True)
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    for module in (_conversation, _transfer):
        monkeypatch.setattr(module, "PAUSES", (0.01, 0.01, 0.01))
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def proxy(registry: str) -> Iterator[Proxy]:
    server = Proxy(registry)
    yield server
    server.server.shutdown()
    server.server.server_close()


class Pushed:
    """An image of random bytes: nothing of it is in any registry."""

    def __init__(self, folder: Path, host: str, size: int = 3 << 20) -> None:
        self.name = f"{host}/test/{uuid.uuid4().hex[:12]}"
        self.blobs = []
        descriptors = []
        settings = json.dumps({"architecture": "amd64", "os": "linux", "x": str(folder)}).encode()
        for kind, content in ((oci.CONFIG, settings), (oci.GZIP, os.urandom(size))):
            digest = digest_bytes(content)
            path = folder / digest.replace(":", "-")
            path.write_bytes(content)
            self.blobs.append(registry.Blob(digest=digest, path=path, size=len(content)))
            descriptors.append({"mediaType": kind, "digest": digest, "size": len(content)})
        manifest = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": descriptors[0],
                    "layers": descriptors[1:]}  # fmt: skip
        self.manifest = registry.Manifest(
            content=json.dumps(manifest).encode(), media_type=oci.MANIFEST
        )

    def push(self, *tags: str) -> None:
        registry.push(self.name, self.manifest, self.blobs, tags or ("1",))

    def check(self, folder: Path) -> None:
        assert registry.resolve(f"{self.name}:1") == self.manifest.digest
        layer = self.blobs[1]
        target = folder / "back"
        registry.download(self.name, layer.digest, layer.size, target)
        assert target.read_bytes() == layer.path.read_bytes()


@pytest.fixture
def image(proxy: Proxy, tmp_path: Path) -> Pushed:
    return Pushed(tmp_path, proxy.host)


def once(rule: Any) -> Any:
    """Make a rule that works a single time."""
    used = []

    def wrapped(request: Any) -> bool:
        if used or not rule(request):
            return False
        used.append(True)
        return True

    return wrapped


# --- pushing


def test_every_tag_has_the_same_digest_and_nothing_is_sent_twice(
    image: Pushed, proxy: Proxy, tmp_path: Path
) -> None:
    image.push("1", "2", "build-3")
    for tag in ("1", "2", "build-3"):
        assert registry.resolve(f"{image.name}:{tag}") == image.manifest.digest
    image.check(tmp_path)
    puts = [path for method, path, _ in proxy.seen if method == "PUT"]
    # Blobs, then the manifest by its digest, then the names.
    assert "/blobs/uploads/" in puts[1]
    assert [p.rpartition("/")[2] for p in puts[2:]] == [image.manifest.digest, "1", "2", "build-3"]
    proxy.seen.clear()
    image.push("4")
    assert set(proxy.methods()) == {"HEAD", "PUT"}


@pytest.mark.parametrize("cuts", [1, 6])
def test_an_upload_that_is_cut_goes_on_where_it_stopped(
    image: Pushed, proxy: Proxy, tmp_path: Path, cuts: int
) -> None:
    seen: list[str | None] = []
    moved: dict[str, str] = {}

    def cut(request: Any) -> bool:
        if request.command == "GET" and request.path in moved:
            # The real registry signs how far an upload is into its address, and so
            # forgets one that was cut; others tell. Here the proxy does.
            request.path = moved[request.path]
        if request.command != "PATCH":
            return False
        seen.append(request.headers.get("Content-Range"))
        if len(seen) > cuts:
            return False
        # What came so far reaches the registry; then the line is dead.
        part = request.rfile.read(400_000)
        upstream = http.client.HTTPConnection(proxy.upstream)
        headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
        headers |= {"Content-Length": str(len(part)), "Host": proxy.upstream}
        if headers.get("Content-Range"):
            start = int(headers["Content-Range"].split("-")[0])
            headers["Content-Range"] = f"{start}-{start + len(part) - 1}"
        upstream.request("PATCH", request.path, part, headers)
        answer = upstream.getresponse()
        answer.read()
        told = urllib.parse.urlsplit(answer.headers["Location"])
        moved[request.path] = f"{told.path}?{told.query}"
        request.connection.shutdown(socket.SHUT_RDWR)
        return True

    proxy.rules.append(cut)
    image.push()
    image.check(tmp_path)
    size = image.blobs[1].size
    assert seen == [None, *(f"{400_000 * n}-{size - 1}" for n in range(1, cuts + 1))]


def test_an_upload_that_is_cut_and_forgotten_begins_anew(
    image: Pushed, proxy: Proxy, tmp_path: Path
) -> None:
    def cut(request: Any) -> bool:
        if request.command != "PATCH":
            return False
        request.rfile.read(400_000)
        request.connection.shutdown(socket.SHUT_RDWR)
        return True

    proxy.rules += [once(cut), once(cut)]
    image.push()
    image.check(tmp_path)


def test_a_registry_that_redirects_uploads_elsewhere_gets_no_password_there(
    registry_auth: tuple[str, str, str], no_login: Path, tmp_path: Path
) -> None:
    host, user, password = registry_auth
    front, storage = Proxy(host), Proxy(host)
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    no_login.write_text(json.dumps({"auths": {front.host: {"auth": login}}}))
    given: list[str | None] = []

    def redirect(request: Any) -> bool:
        if request.command in ("PATCH", "PUT") and "/uploads/" in request.path:
            request.rfile.read(int(request.headers.get("Content-Length") or 0))
            request.answer(307, Location=f"http://{storage.host}{request.path}")
            return True
        return False

    def signed(request: Any) -> bool:
        given.append(request.headers.get("Authorization"))
        # A store knows by the address itself who may write.
        request.headers["Authorization"] = f"Basic {login}"
        return False

    front.rules.append(redirect)
    storage.rules.append(signed)
    image = Pushed(tmp_path, front.host)
    image.push()
    assert registry.resolve(f"{image.name}:1") == image.manifest.digest
    assert given
    assert set(given) == {None}
    for server in (front, storage):
        server.server.shutdown()
        server.server.server_close()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_busy_is_asked_again(
    image: Pushed, proxy: Proxy, tmp_path: Path, status: int
) -> None:
    for method in ("HEAD", "POST", "PATCH", "PUT", "GET"):

        def busy(request: Any, method: str = method) -> bool:
            if request.command != method:
                return False
            request.rfile.read(int(request.headers.get("Content-Length") or 0))
            request.answer(status, b"later", Retry_After="0")
            return True

        proxy.rules.append(once(busy))
    image.push()
    image.check(tmp_path)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (507, b"", "is full"),
        (500, b'{"detail": "write: no space left on device"}', "is full"),
        (500, b'{"detail": {"Enclosed": {"Op": "mkdir", "Path": "/x", "Err": 28}}}', "is full"),
        (500, b"oops", "answered 500"),
        (413, b"", "too large"),
        (403, b"", "does not let you push"),
        (404, b"", "has no repository"),
    ],
)
def test_a_refused_upload_is_told_and_nothing_is_named(
    image: Pushed, proxy: Proxy, status: int, body: bytes, says: str
) -> None:
    def refuse(request: Any) -> bool:
        if request.command != "PATCH":
            return False
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        request.answer(status, body)
        return True

    proxy.rules.append(refuse)
    with pytest.raises(ToolError, match=says) as raised:
        image.push()
    assert raised.value.remedy
    proxy.rules.clear()
    assert registry.find(f"{image.name}:1") is None
    image.push()  # picks up where it stopped
    assert registry.resolve(f"{image.name}:1") == image.manifest.digest


def test_an_upload_that_the_registry_forgot_begins_anew(
    image: Pushed, proxy: Proxy, tmp_path: Path
) -> None:
    def forget(request: Any) -> bool:
        if request.command != "PATCH":
            return False
        request.connection.shutdown(socket.SHUT_RDWR)
        return True

    def gone(request: Any) -> bool:
        if request.command != "GET" or "/uploads/" not in request.path:
            return False
        request.answer(404, b"{}")
        return True

    proxy.rules += [once(forget), once(gone)]
    image.push()
    image.check(tmp_path)


def test_a_login_that_expires_in_between_is_made_again(
    image: Pushed, proxy: Proxy, tmp_path: Path
) -> None:
    tokens = ["first"]

    def guard(request: Any) -> bool:
        path = urllib.parse.urlsplit(request.path)
        if path.path == "/token":
            request.answer(200, json.dumps({"token": tokens[-1]}).encode())
            return True
        if request.headers.get("Authorization") != f"Bearer {tokens[-1]}":
            request.rfile.read(int(request.headers.get("Content-Length") or 0))
            challenge = f'Bearer realm="http://{proxy.host}/token",service="r"'
            request.answer(401, b"{}", WWW_Authenticate=challenge)
            return True
        if request.command in ("POST", "PATCH", "PUT"):
            tokens.append(uuid.uuid4().hex)  # the one that was used is worth nothing any more
        del request.headers["Authorization"]
        return False

    proxy.rules.append(guard)
    image.push("1", "2")
    assert len(tokens) > 5
    image.check(tmp_path)


def test_what_another_repository_has_is_mounted(
    image: Pushed, proxy: Proxy, tmp_path: Path
) -> None:
    image.push()
    other = Pushed(tmp_path, proxy.host)
    repository = registry.parse(image.name).repository
    other.blobs = [
        registry.Blob(digest=b.digest, path=b.path, size=b.size, origin=repository)
        for b in image.blobs
    ]
    other.manifest = image.manifest
    proxy.seen.clear()
    other.push()
    assert "PATCH" not in proxy.methods()
    mounted = [path for method, path, _ in proxy.seen if method == "POST"]
    assert all(re.search(rf"mount=sha256:\w+&from={repository}", path) for path in mounted)
    other.check(tmp_path)


def test_what_cannot_be_mounted_is_sent(image: Pushed, proxy: Proxy, tmp_path: Path) -> None:
    image.blobs = [
        registry.Blob(digest=b.digest, path=b.path, size=b.size, origin="no/such")
        for b in image.blobs
    ]
    image.push()
    image.check(tmp_path)


def test_a_registry_that_is_gone_is_one_sentence(image: Pushed, proxy: Proxy) -> None:
    proxy.server.shutdown()
    proxy.server.server_close()
    with pytest.raises(ToolError, match=f"{proxy.host} cannot be reached"):
        image.push()


# --- pulling


def test_a_download_that_is_cut_goes_on_where_it_stopped(
    image: Pushed, proxy: Proxy, tmp_path: Path
) -> None:
    image.push()
    asked: list[str | None] = []
    layer = image.blobs[1]
    content = layer.path.read_bytes()

    def cut(request: Any) -> bool:
        if request.command != "GET" or "/blobs/sha256" not in request.path:
            return False
        asked.append(request.headers.get("Range"))
        if len(asked) > 2:
            return False
        start = int((asked[-1] or "bytes=0-")[6:-1])
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start : start + 1_000_000])
        request.connection.shutdown(socket.SHUT_RDWR)
        return True

    proxy.rules.append(cut)
    target = tmp_path / "target"
    registry.download(image.name, layer.digest, layer.size, target)
    assert target.read_bytes() == content
    starts = [int((text or "bytes=0-")[6:-1]) for text in asked]
    assert len(starts) == 3
    assert 0 == starts[0] < starts[1] < starts[2]


def test_a_registry_that_cannot_begin_in_the_middle_begins_anew(
    image: Pushed, proxy: Proxy, tmp_path: Path
) -> None:
    image.push()
    layer = image.blobs[1]

    def whole(request: Any) -> bool:
        del request.headers["Range"]
        return False

    proxy.rules.append(whole)
    target = tmp_path / "target"
    target.write_bytes(layer.path.read_bytes()[:500_000])
    registry.download(image.name, layer.digest, layer.size, target)
    assert target.read_bytes() == layer.path.read_bytes()


def test_another_content_is_refused_and_not_kept(
    image: Pushed, proxy: Proxy, tmp_path: Path
) -> None:
    image.push()
    layer = image.blobs[1]

    def spoil(request: Any) -> bool:
        if request.command != "GET" or "/blobs/sha256" not in request.path:
            return False
        request.answer(200, b"\0" * layer.size)
        return True

    proxy.rules.append(spoil)
    target = tmp_path / "target"
    with pytest.raises(ToolError, match="a blob that is not"):
        registry.download(image.name, layer.digest, layer.size, target)
    assert not target.exists()


def test_a_blob_that_is_gone_is_told(image: Pushed, tmp_path: Path) -> None:
    image.push()
    with pytest.raises(ToolError, match="has no image"):
        registry.download(image.name, f"sha256:{'0' * 64}", 5, tmp_path / "target")


def test_of_an_index_the_platform_s_manifest_is_fetched(base_image: str) -> None:
    found = registry.manifest(base_image, platform="linux/amd64")
    assert base_image.endswith(found.digest)
    assert oci.image(found.content, base_image).layers
