"""The registry door: references, logins, and what its refusals mean."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.connect import registry
from mlrepro_nb.connect.registry import _login
from mlrepro_nb.errors import ToolError, UsageError

DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture(autouse=True)
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker configuration of the test's own."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker" / "config.json"


# --- references


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("python", "docker.io/library/python"),
        ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("team/app", "docker.io/team/app"),
        ("docker.io/python:3", "docker.io/library/python:3"),
        ("localhost/app:1", "localhost/app:1"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        (f"ghcr.io/a/b:1@{DIGEST}", f"ghcr.io/a/b:1@{DIGEST}"),
        (f"[::1]:5000/a@{DIGEST}", f"[::1]:5000/a@{DIGEST}"),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, whole: str) -> None:
    assert str(registry.parse(text)) == whole
    assert registry.parse(whole) == registry.parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "A/b", "a//b", "a:", "a@sha256:12", "a@", "a b", "-a", "a:b:c", "https://x.org/a",
     "x.org/a@sha256:" + "g" * 64, "x.org/../a", "user:pw@x.org/a"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an image reference"):
        registry.parse(text)


@given(st.text())
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        parsed = registry.parse(text)
    except UsageError:
        return
    assert registry.parse(str(parsed)) == parsed


def test_a_digest_needs_no_registry() -> None:
    assert registry.resolve(f"nowhere.invalid/a@{DIGEST}") == DIGEST


# --- a registry that can be made to misbehave


class Fake:
    """One image, behind whatever the test sets."""

    def __init__(self) -> None:
        config = {
            "created": "2026-11-23T00:00:00Z", "architecture": "amd64",
            "config": {"Labels": {"io.mlrepro.record": "sha256:1"}},
        }  # fmt: skip
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        configuration = self.add(config)
        manifest = {
            "schemaVersion": 2, "config": {"digest": configuration}, "layers": [{"size": 5}],
            "annotations": {"a": "b"},
        }  # fmt: skip
        self.manifest = self.add(manifest)
        platforms = [("linux", "arm64", DIGEST), ("linux", "amd64", self.manifest)]
        index = {
            "schemaVersion": 2,
            "manifests": [
                {"digest": d, "platform": {"os": o, "architecture": a}} for o, a, d in platforms
            ],
        }
        self.tags = {"1": self.manifest, "many": self.add(index), "wrong": configuration}
        self.challenge = ""
        self.accepted = ""
        self.token_seen: dict[str, Any] = {}
        self.corrupt = False
        self.status = 0
        self.seen: list[tuple[str, str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                fake.answer(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, content: dict[str, Any]) -> str:
        data = json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        login = request.headers.get("Authorization", "")
        self.seen.append((f"{request.command} {request.path}", login))
        status, body, headers = 200, b"", {}
        if request.path.startswith("/token"):
            self.token_seen = {"login": login, "query": request.path}
            body = json.dumps({"token": "t0ken"}).encode()
        elif self.status:
            status, body = self.status, b"nope"
        elif self.challenge and login != self.accepted:
            status, headers = 401, {"WWW-Authenticate": self.challenge}
        elif request.path.endswith("/blobs/uploads/"):
            status, headers = 202, {"Location": "/v2/team/app/blobs/uploads/u1"}
        elif request.command == "DELETE":
            status = 204
        else:
            name = request.path.rpartition("/")[2]
            found = self.blobs.get(self.tags.get(name, name))
            status, body = (200, found) if found else (404, b"{}")
            if found and self.corrupt:
                body = body.replace(b"amd64", b"amd46")
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_an_image_tells_its_labels_digest_and_size(fake: Fake) -> None:
    found = registry.inspect(f"{fake.host}/team/app:1")
    assert found.digest == fake.manifest
    assert found.labels == {"io.mlrepro.record": "sha256:1"}
    assert (found.annotations, found.size, found.architecture) == ({"a": "b"}, 5, "amd64")
    assert registry.inspect(f"{fake.host}/team/app@{fake.manifest}").id == found.id


def test_of_an_index_the_platform_is_taken_but_the_index_s_digest_told(fake: Fake) -> None:
    found = registry.inspect(f"{fake.host}/team/app:many")
    assert found.digest == fake.tags["many"]
    assert found.labels
    with pytest.raises(ToolError, match="no image for linux/s390x"):
        registry.inspect(f"{fake.host}/team/app:many", platform="linux/s390x")


def test_what_is_not_there_is_none_or_a_clear_error(fake: Fake) -> None:
    assert registry.find(f"{fake.host}/team/app:2") is None
    with pytest.raises(ToolError, match="has no image"):
        registry.inspect(f"{fake.host}/team/app:2")
    with pytest.raises(ToolError, match="has no image"):
        registry.resolve(f"{fake.host}/team/app:2")


def test_content_that_is_not_its_digest_is_refused(fake: Fake) -> None:
    fake.corrupt = True
    with pytest.raises(ToolError, match="answered with a"):
        registry.inspect(f"{fake.host}/team/app@{fake.tags['many']}")
    with pytest.raises(ToolError, match="answered with a blob"):
        registry.inspect(f"{fake.host}/team/app:1")


def test_a_password_is_sent_once_it_is_asked_for(fake: Fake, no_login: Path) -> None:
    secret = base64.b64encode(b"user:pa:ss").decode()
    fake.challenge, fake.accepted = 'Basic realm="x"', f"Basic {secret}"
    with pytest.raises(ToolError, match="does not let you read team/app") as raised:
        registry.resolve(f"{fake.host}/team/app:1")
    assert f"docker login {fake.host}" in raised.value.remedy
    no_login.write_text(json.dumps({"auths": {fake.host: {"auth": secret}}}))
    fake.seen.clear()
    assert registry.resolve(f"{fake.host}/team/app:1") == fake.manifest
    assert [login for _, login in fake.seen] == ["", f"Basic {secret}"]


def test_a_token_is_fetched_with_the_password(fake: Fake, no_login: Path) -> None:
    realm = f"http://{fake.host}/token"
    fake.challenge, fake.accepted = f'Bearer realm="{realm}",service="s"', "Bearer t0ken"
    assert registry.resolve(f"{fake.host}/team/app:1") == fake.manifest
    assert fake.token_seen["login"] == ""
    secret = base64.b64encode(b"u:p").decode()
    no_login.write_text(json.dumps({"auths": {fake.host: {"auth": secret}}}))
    registry.check_push(f"{fake.host}/team/app")
    assert fake.token_seen["login"] == f"Basic {secret}"
    assert "pull%2Cpush" in fake.token_seen["query"]
    assert fake.seen[-1][0] == "DELETE /v2/team/app/blobs/uploads/u1"


def test_a_password_is_never_sent_in_the_clear(fake: Fake, no_login: Path) -> None:
    sent = []

    def get(url: str, **options: Any) -> requests.Response:
        sent.append(options)
        answer = requests.Response()
        answer.status_code, answer._content = 200, b'{"token": "t"}'
        return answer

    secret = base64.b64encode(b"u:p").decode()
    no_login.write_text(json.dumps({"auths": {fake.host: {"auth": secret}}}))
    conversation = registry.Conversation(registry.parse(f"{fake.host}/team/app"))
    conversation.session.get = get  # type: ignore[method-assign,assignment]
    assert conversation._log_in('Bearer realm="http://elsewhere.example/token"') == "Bearer t"
    assert sent[-1]["headers"] == {}
    conversation._log_in('Bearer realm="https://elsewhere.example/token"')
    assert sent[-1]["headers"] == {"Authorization": f"Basic {secret}"}


def test_a_credential_helper_is_asked(
    fake: Fake, no_login: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-mine"
    helper.write_text('#!/bin/sh\nread s\necho "{\\"Username\\":\\"$s\\",\\"Secret\\":\\"p\\"}"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    no_login.write_text(json.dumps({"credHelpers": {fake.host: "mine"}}))
    assert _login.login(fake.host) == (fake.host, "p")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"auths": {"x": 3}}', '{"auths":{"x":{"auth":"%"}}}']
)
def test_a_broken_docker_configuration_is_no_login(content: str, no_login: Path) -> None:
    no_login.write_text(content)
    assert _login.login("x") is None


def test_a_damaged_docker_configuration_is_told_where_a_login_is_missing(
    fake: Fake, no_login: Path
) -> None:
    fake.status = 401
    for content in ("{", "[]"):
        no_login.write_text(content)
        with pytest.raises(ToolError, match=rf"{no_login}.* is damaged") as raised:
            registry.resolve(f"{fake.host}/team/app:1")
        assert f"docker login {fake.host}" in raised.value.remedy
    no_login.write_text("{}")
    with pytest.raises(ToolError, match="does not let you") as raised:
        registry.resolve(f"{fake.host}/team/app:1")
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "says"), [(403, "does not let you"), (429, "429"), (500, "500"), (302, "302")]
)
def test_a_refusal_says_what_it_means(fake: Fake, status: int, says: str) -> None:
    fake.status = status
    with pytest.raises(ToolError, match=says) as raised:
        registry.resolve(f"{fake.host}/team/app:1")
    assert raised.value.remedy


def test_an_unreachable_registry_is_one_sentence() -> None:
    with pytest.raises(ToolError, match=r"127\.0\.0\.1:9 cannot be reached"):
        registry.resolve("127.0.0.1:9/a:1")


def test_something_that_is_no_registry_is_told(fake: Fake) -> None:
    fake.blobs[fake.manifest] = b"<html>"
    with pytest.raises(ToolError, match="is it a registry"):
        registry.resolve(f"{fake.host}/team/app:1")


# --- real ones


@pytest.mark.engine
def test_the_real_registry_tells_the_base_image(base_image: str) -> None:
    found = registry.inspect(base_image)
    assert base_image.endswith(found.digest)
    tagged = base_image.partition("@")[0] + ":3.11-slim"
    assert registry.resolve(tagged) == found.digest
    assert registry.find(base_image.partition("@")[0] + ":no-such") is None
    registry.check_push(base_image.partition("@")[0])


@pytest.mark.engine
def test_the_real_registry_with_a_password_wants_it(
    registry_auth: tuple[str, str, str], no_login: Path
) -> None:
    host, user, password = registry_auth
    with pytest.raises(ToolError, match="does not let you push") as raised:
        registry.check_push(f"{host}/team/app")
    wrong = base64.b64encode(f"{user}:wrong".encode()).decode()
    no_login.write_text(json.dumps({"auths": {host: {"auth": wrong}}}))
    with pytest.raises(ToolError, match="does not let you push") as raised:
        registry.check_push(f"{host}/team/app")
    assert wrong not in f"{raised.value}{raised.value.output}"
    right = base64.b64encode(f"{user}:{password}".encode()).decode()
    no_login.write_text(json.dumps({"auths": {host: {"auth": right}}}))
    registry.check_push(f"{host}/team/app")
