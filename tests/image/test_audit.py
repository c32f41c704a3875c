"""Known vulnerabilities of the lock: found, told, refused, or not to be known."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import pip_audit
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.image.supply.audit import audit

HASH = "a" * 64
LOCK = f"click==8.1.8 \\\n    --hash=sha256:{HASH}\nsix==1.17.0 \\\n    --hash=sha256:{HASH}\n"


class Service:
    """Answers as OSV does: one vulnerability of six."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_POST(self) -> None:
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append(query)
                found = {"vulns": [VULNERABILITY]} if query["package"]["name"] == "six" else {}
                body = json.dumps(found).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/query"


VULNERABILITY = {
    "id": "PYSEC-2099-1", "aliases": ["CVE-2099-1"], "summary": "It is broken.",
    "details": "Very.", "modified": "2099-01-01T00:00:00Z", "published": "2099-01-01T00:00:00Z",
    "affected": [{
        "package": {"name": "six", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.18.0"}]}],
        "versions": ["1.17.0"],
    }],
}  # fmt: skip


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service()
    monkeypatch.setenv(pip_audit.SERVICE, made.url)
    yield made
    made.server.shutdown()


@pytest.fixture
def planned(recorded: Any) -> image.Plan:
    base = f"registry.example/python@sha256:{'b' * 64}"
    full = image.plan("train.ipynb", base=base, build_id="7", offline=True)
    return msgspec.structs.replace(full, local=(), lock=LOCK, problems=())


def said(plan: image.Plan, mode: str | None) -> str:
    lines: list[str] = []
    audit(plan, mode, lambda step: lines.append(step.message))
    return "\n".join(lines)


def test_what_is_known_is_told_and_refused_where_that_is_wanted(
    service: Service, planned: image.Plan
) -> None:
    told = said(planned, "warn")
    assert "six 1.17.0 has PYSEC-2099-1, CVE-2099-1; fixed in 1.18.0" in told
    assert {(q["package"]["name"], q["version"]) for q in service.asked} == {
        ("click", "8.1.8"), ("six", "1.17.0")
    }  # fmt: skip
    with pytest.raises(MlreproError, match="1 known vulnerability: six"):
        said(planned, "fail")


def test_a_clean_lock_passes(service: Service, planned: image.Plan) -> None:
    clean = msgspec.structs.replace(planned, lock=LOCK.partition("six")[0])
    assert "No known vulnerability in 1 distributions" in said(clean, "fail")


def test_without_an_answer_it_is_said_that_nothing_was_checked(
    planned: image.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pip_audit.SERVICE, "http://127.0.0.1:9/v1/query")
    assert "NOT CHECKED" in said(planned, "fail")
    with pytest.raises(ToolError, match="does not answer"):
        pip_audit.audit({("six", "1.17.0"): (HASH,)})


def test_off_asks_nobody_and_nonsense_is_refused(service: Service, planned: image.Plan) -> None:
    assert said(planned, "off") == said(planned, None) == ""
    assert service.asked == []
    with pytest.raises(UsageError, match="no audit 'often'"):
        said(planned, "often")


def test_without_pip_audit_it_says_how_to_get_it(
    planned: image.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "pip-audit is not installed" in said(planned, "fail")


def test_a_service_that_knows_nothing_is_no_all_clear(
    planned: image.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = pip_audit.Audit(skipped=("click", "six"))
    monkeypatch.setattr(pip_audit, "audit", lambda pins: nothing)
    assert "NOT CHECKED" in said(planned, "fail")
    assert "No known" not in said(planned, "fail")
