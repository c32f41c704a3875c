"""What outside stores call their data, as their answers say: nothing more is asked for."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlrepro_nb.capture.data.readers.versions import of_headers, of_url

LOAD = "%load_ext mlrepro_nb"


class Answers(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - one server a test

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        self.send_response(200)
        if "plain" not in self.path:
            self.send_header("ETag", f'"{self.path.strip("/")}"')
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"a,b\n1,")

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
    assert Answers.asked == asked == [*(f"/{name}" for name in cells), "/missing"]


def test_urls_and_headers_that_name_a_version() -> None:
    assert of_url("s3://b/k?versionId=abc") == "s3:abc"
    assert of_url("https://storage.example.com/b/k?generation=7&x=1") == "gcs:7"
    assert of_url("lakefs://repo/4f2c/data/x.parquet") == "lakefs:4f2c"
    assert of_url("https://example.com/data.csv") is None
    assert of_headers({"ETag": '"x"', "x-amz-version-id": "v1"}) == "s3:v1"
    assert of_headers({"ETag": '"x"', "X-Amz-Version-Id": "null"}) == 'etag:"x"'
    assert of_headers({"Last-Modified": "Mon, 01 Jan 2024"}) == "last-modified:Mon, 01 Jan 2024"
    assert of_headers({}) is None
