"""What a notebook reads from a server: the record and the rerun say whether it is another."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest

from mlrepro_nb.record import record
from mlrepro_nb.verify import verify


class Server(http.server.ThreadingHTTPServer):
    content = b"bill,mass\n39,3700\n41,3900\n"
    etag = '"one"'


class Answers(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answers) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def recorded(folder: Path, *cells: str) -> Path:
    (folder / ".git").mkdir()
    path = folder / "penguins.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells]), path)
    record(path, inplace=True)
    return path


def edit(path: Path, cell: int, old: str, new: str) -> None:
    nb = nbformat.read(path, as_version=4)
    assert old in nb.cells[cell].outputs[0]["text"]
    nb.cells[cell].outputs[0]["text"] = nb.cells[cell].outputs[0]["text"].replace(old, new)
    nbformat.write(nb, path)


def test_data_that_a_server_has_changed_is_told_with_both_digests(
    folder: Path, server: Server
) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/penguins.csv"
    path = recorded(
        folder, "import pandas as pd", f"df = pd.read_csv({url!r})", "print(df.mass.mean())"
    )
    assert verify(path).verdict == "bitwise"
    server.content = server.content.replace(b"3900", b"4100")
    (found,) = verify(path).causes
    assert (found.kind, found.cell, found.subject) == ("remote-data", 1, url)
    assert found.evidence.startswith(f"{url}, which cell 1 reads, was blake3:")
    assert f"dvc import-url {url}" in found.fix


def test_data_that_is_as_it_was_is_not_to_blame(folder: Path, server: Server) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/penguins.csv"
    path = recorded(
        folder, "import pandas as pd", f"df = pd.read_csv({url!r})", "print(df.mass.mean())"
    )
    edit(path, 2, "3800.0", "3850.0")
    (found,) = verify(path).causes
    assert (found.kind, found.cell) == ("edited-output", 2)


def test_of_data_that_nobody_saw_as_a_whole_the_server_s_word_is_taken(
    folder: Path, server: Server
) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/penguins.csv"
    lines = f"from urllib.request import urlopen\nlines = list(urlopen({url!r}))"
    path = recorded(folder, lines, "print(lines)")
    server.content, server.etag = server.content.replace(b"39", b"40"), '"two"'
    (found,) = verify(path).causes
    assert (found.kind, found.cell, found.subject) == ("remote-data", 0, url)
    assert 'was etag:"one"' in found.evidence


def test_what_a_server_says_anew_each_time_is_no_change_where_every_output_agrees(
    folder: Path, server: Server
) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/today"
    path = recorded(folder, f"import requests\nnews = requests.get({url!r}).text", "print(1)")
    server.content = b"another day"
    found = verify(path)
    assert (found.verdict, found.causes) == ("bitwise", ())
