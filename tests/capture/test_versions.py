"""What outside stores call their data, as their answers say: nothing more is asked for."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from mlrepro_nb.capture.data.readers.versions import of_headers, of_url

LOAD = "%load_ext mlrepro_nb"
TEXT = b"a,b\n1,"
CONTENT = f"blake3:{blake3(TEXT).hexdigest()}"


class Answers(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - one server a test

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to"))
            self.end_headers()
            return
        text = TEXT
        if self.path == "/count":
            text = str(self.asked.count(self.path) % 2).encode()
        self.send_response(200)
        if "plain" not in self.path:
            self.send_header("ETag", f'"{self.path.strip("/")}"')
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Answers.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Answers)) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()


def test_http_clients_answers_name_the_version(
    kernel: Callable, repository: Path, server: str
) -> None:
    k = kernel()
    k.run(LOAD)
    cells = {
        "urllib": f"import urllib.request\nurllib.request.urlopen('{server}/urllib').read()",
        "pandas": f"import pandas\npandas.read_csv('{server}/pandas')",
        "requests": f"import requests\nrequests.get('{server}/requests').text",
        "httpx": f"import httpx\nhttpx.get('{server}/httpx').text",
        "plain": f"requests.get('{server}/plain').text",
    }
    for cell in cells.values():
        said = k.run(cell)
        assert not said["errors"], said
    failed = k.run(f"urllib.request.urlopen('{server}/missing')")
    assert failed["errors"] == [("HTTPError", "HTTP Error 404: Not Found")]
    asked = list(Answers.asked)
    found = {d.path.rpartition("/")[2]: d.version for d in k.data() if d.access == "read"}
    for name in ("urllib", "pandas", "requests", "httpx"):
        assert found[name] == f'etag:"{name}"'
    assert found["plain"] is None
    assert {d.digest for d in k.data() if d.path.startswith(server) and d.version} == {CONTENT}
    assert {d.size for d in k.data() if d.path.endswith("/plain")} == {6}
    assert Answers.asked == asked == [*(f"/{name}" for name in cells), "/missing"]


@pytest.mark.parametrize(
    ("cell", "known"),
    {
        "in parts": ("r = o('{0}/a'); r.read(2); r.read(); r.read()", False),
        "in blocks": ("r = o('{0}/a')\nwhile r.read(4): pass", False),
        "by lines": ("list(o('{0}/a'))", False),
        "streamed": ("list(requests.get('{0}/a', stream=True).iter_content(2))", False),
        "posted": ("requests.post('{0}/a', 'x')", False),
        "redirected": ("o('{0}/to/a').read()", True),
        "redirected requests": ("requests.get('{0}/to/a')", True),
        "as a session": ("requests.Session().get('{0}/a').content", True),
        "aiohttp": (
            "import aiohttp\nasync with aiohttp.ClientSession() as s:\n"
            "    async with s.get('{0}/a') as r: await r.text()", True,
        ),
        "aiohttp, in parts": (
            "import aiohttp\nasync with aiohttp.ClientSession() as s:\n"
            "    async with s.get('{0}/a') as r: await r.content.read(2)", False,
        ),
        "fsspec": ("import fsspec\nfsspec.open('{0}/a').open().read()", True),
    }.values(),
)  # fmt: skip
def test_what_a_url_held_is_known_if_all_of_it_was_handed_over(
    kernel: Callable, repository: Path, server: str, cell: str, known: bool
) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("import requests\nfrom urllib.request import urlopen as o")
    said = k.run(cell.format(server))
    assert not said["errors"], said
    found = [d for d in k.data() if d.access == "read" and d.path.startswith(server)]
    # A URL to which a server leads on may be there, too: the one that was asked for is first.
    assert (found[0].digest, found[0].size) == ((CONTENT, 6) if known else (None, None))


def test_a_url_that_holds_something_else_each_time_is_told(
    kernel: Callable, repository: Path, server: str
) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("import requests")
    for _ in range(3):
        k.run(f"requests.get('{server}/count').text")
    (found,) = [d for d in k.data() if d.path.endswith("/count")]
    assert [(v.digest, v.execution) for v in found.versions] == [
        (f"blake3:{blake3(text).hexdigest()}", order)
        for order, text in ((2, b"1"), (3, b"0"), (4, b"1"))
    ]
    assert found.digest == found.versions[-1].digest


def test_urls_and_headers_that_name_a_version() -> None:
    assert of_url("s3://b/k?versionId=abc") == "s3:abc"
    assert of_url("https://storage.example.com/b/k?generation=7&x=1") == "gcs:7"
    assert of_url("lakefs://repo/4f2c/data/x.parquet") == "lakefs:4f2c"
    assert of_url("https://example.com/data.csv") is None
    assert of_headers({"ETag": '"x"', "x-amz-version-id": "v1"}) == "s3:v1"
    assert of_headers({"ETag": '"x"', "X-Amz-Version-Id": "null"}) == 'etag:"x"'
    assert of_headers({"Last-Modified": "Mon, 01 Jan 2024"}) == "last-modified:Mon, 01 Jan 2024"
    assert of_headers({}) is None
