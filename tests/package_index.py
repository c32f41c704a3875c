"""A package index of a test's own: pages with upload times, and wheels of which parts are served.

It stands beside the real one in tests: mirrors differ in what they tell.
"""

import contextlib
import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def wheel(name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> bytes:
    """Return a wheel of Python alone."""
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    everything[f"{info}/RECORD"] = "".join(
        f"{path},,\n" for path in (*everything, f"{info}/RECORD")
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in everything.items():
            archive.writestr(path, content)
    return out.getvalue()


class Index:
    """What is served; add to it at any time."""

    def __init__(self) -> None:
        self.listed: dict[str, list[dict]] = {}
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.as_json = True
        self.gives_hashes = True
        self.url = ""

    def add(
        self, name: str, version: str, files: dict[str, str], *, uploaded: str | None = None,
        yanked: bool = False, requires: tuple[str, ...] = (), tag: str = "py3-none-any",
        python: str | None = None,
    ) -> None:  # fmt: skip
        """Add a release with one wheel."""
        file = f"{name.replace('-', '_')}-{version}-{tag}.whl"
        entry = self._serve(name, file, wheel(name, version, files, requires))
        entry["yanked"] = yanked
        if uploaded:
            entry["upload-time"] = uploaded
        if python:
            entry["requires-python"] = python

    def add_source(
        self, name: str, version: str, files: dict[str, str], *, uploaded: str | None = None
    ) -> str:
        """Add a release without a wheel, and return the hash of its sdist.

        Its build backend is its own, and needs nothing.
        """
        made = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        everything = {
            "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "copies"\n'
            b'backend-path = ["."]\n',
            "copies.py": b"import shutil\n\n\ndef build_wheel(folder, *_, **__):\n"
            b"    return shutil.copy('%s', folder) and '%s'\n" % (made.encode(), made.encode()),
            made: wheel(name, version, files),
        }
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for path, content in everything.items():
                entry = tarfile.TarInfo(f"{name}-{version}/{path}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        listed = self._serve(name, f"{name}-{version}.tar.gz", out.getvalue())
        if uploaded:
            listed["upload-time"] = uploaded
        return str(listed["hashes"]["sha256"])

    def _serve(self, name: str, file: str, content: bytes) -> dict:
        self.files[file] = content
        entry = {
            "filename": file, "url": f"../../files/{file}", "yanked": False,
            "hashes": {"sha256": hashlib.sha256(content).hexdigest()}, "size": len(content),
        }  # fmt: skip
        self.listed.setdefault(name, []).append(entry)
        return entry

    def page(self, name: str) -> tuple[str, bytes] | None:
        """Return the page of a distribution with its content type."""
        if name not in self.listed:
            return None
        if self.as_json:
            files = [{**e, "hashes": e["hashes"] if self.gives_hashes else {}}
                     for e in self.listed[name]]  # fmt: skip
            told = {"meta": {"api-version": "1.1"}, "name": name, "files": files,
                    "versions": []}  # fmt: skip
            return "application/vnd.pypi.simple.v1+json", json.dumps(told).encode()
        lines = [
            f'<a href="{e["url"]}'
            + (f'#sha256={e["hashes"]["sha256"]}"' if self.gives_hashes else '"')
            + (' data-yanked=""' if e["yanked"] else "")
            + (f' data-upload-time="{e["upload-time"]}"' if "upload-time" in e else "")
            + f">{e['filename']}</a>"
            for e in self.listed[name]
        ]
        return (
            "text/html",
            f"<!DOCTYPE html><html><body>{'<br>'.join(lines)}</body></html>".encode(),
        )


@contextlib.contextmanager
def served():
    """Serve an index on this machine."""
    index = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            given = self.headers.get("Range")
            index.asked.append((self.path, given))
            parts = [part for part in self.path.split("/") if part]
            if parts[:1] == ["simple"] and len(parts) == 2:
                found = index.page(parts[1])
            elif parts[:1] == ["files"]:
                content = index.files.get(parts[1])
                found = None if content is None else ("application/octet-stream", content)
            else:
                found = None
            if found is None:
                self.send_error(404)
                return
            kind, content = found
            total, status = len(content), 200
            if given and (match := re.fullmatch(r"bytes=(\d*)-(\d*)", given)):
                status = 206
                start = int(match[1]) if match[1] else max(0, total - int(match[2]))
                end = min(total, int(match[2]) + 1) if match[1] and match[2] else total
                content = content[start:end]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Accept-Ranges", "bytes")
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{total}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
