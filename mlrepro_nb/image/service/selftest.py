"""Whether a running service does what it is there for; asked from inside its container.

``python -m mlrepro_nb.image.service.selftest`` waits until it is ready, has it predict
what was recorded, and ends it in the middle of a request. Standard output says as
JSON what ``passed`` and what ``failed``; the exit code is 0 or 1.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.image.service.payload import CSV, JSON
from mlrepro_nb.image.service.predictions import FILE, Predictions, as_csv, decoded, difference
from mlrepro_nb.image.service.signature import Signature

STARTUP = 300
"""Seconds that a model may take to load, as in a rollout."""
_PATIENCE = 60


class FailedError(Exception):
    """The service does not do something; the text says what."""


def main() -> int:
    """Test the service of this container and return the exit code."""
    passed: list[str] = []
    wrong = None
    try:
        _test(Path(os.environ.get("MLREPRO_APP", "/app")), int(_pid()), passed.append)
    except FailedError as error:
        wrong = str(error)
    except (OSError, HTTPException, ValueError) as error:
        wrong = f"it does not answer as it should: {type(error).__name__}: {error}"
    sys.stdout.write(json.dumps({"passed": passed, "failed": wrong}) + "\n")
    sys.stdout.flush()
    return 1 if wrong else 0


def _pid() -> str:
    return sys.argv[1] if len(sys.argv) > 1 else "1"


def _test(folder: Path, pid: int, passed: Callable[[str], None]) -> None:
    told = _ready()
    passed("ready")
    # Without those that it does not check itself: of a model that says something else each time.
    recorded = decoded((folder / "record" / FILE).read_bytes()) if told["predictions"] else None
    if recorded is not None:
        answer = _post(json.dumps(recorded.input).encode(), JSON)
        _compare(recorded, answer, "JSON")
        passed("predictions-json")
        text = as_csv(recorded.input, _signature())
        if text is not None:
            _compare(recorded, _post(text.encode(), CSV), "CSV")
            passed("predictions-csv")
    status, _ = _post(b"{", JSON)
    if status != 400:
        raise FailedError(f"a body that is not JSON is answered with {status}, not 400")
    passed("refusal")
    _drain(pid, recorded)
    passed("drain")


def _connection() -> HTTPConnection:
    return HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 8080), timeout=_PATIENCE)


def _ask(method: str, path: str, body: bytes | None = None, kind: str = JSON) -> tuple[int, bytes]:
    connection = _connection()
    try:
        connection.request(method, path, body, {"content-type": kind} if body is not None else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _post(body: bytes, kind: str) -> tuple[int, bytes]:
    return _ask("POST", "/invocations", body, kind)


def _ready() -> Any:
    """Wait until it is ready and return what it says then."""
    last = "it never listened"
    deadline = time.monotonic() + STARTUP
    while time.monotonic() < deadline:
        try:
            status, content = _ask("GET", "/ready")
        except OSError:
            time.sleep(0.1)
            continue
        if status == 200:
            return json.loads(content)
        if status == 404:
            raise FailedError(
                "it has no /ready: the recorded environment's mlrepro-nb is too old; update it "
                "there and record again"
            )
        told = json.loads(content)
        last = str(told.get("reason"))
        if told.get("status") == "failed":
            raise FailedError(last)
        time.sleep(0.2)
    raise FailedError(f"it was not ready within {STARTUP} seconds: {last}")


def _signature() -> Signature | None:
    _, content = _ask("GET", "/info")
    return msgspec.convert(json.loads(content)["signature"], Signature | None)


def _compare(recorded: Predictions, answer: tuple[int, bytes], kind: str) -> None:
    status, content = answer
    if status != 200:
        told = content.decode("utf-8", "replace")[:300]
        raise FailedError(f"the recorded input as {kind} is answered with {status}: {told}")
    wrong = difference(recorded.output, json.loads(content), recorded.rtol)
    if wrong:
        raise FailedError(f"the recorded predictions are not reproduced from {kind}: {wrong}")


def _drain(pid: int, recorded: Predictions | None) -> None:
    """End the service while a request is under way, which must be answered all the same."""
    body = b"{" if recorded is None else json.dumps(recorded.input).encode()
    connection = _connection()
    connection.connect()
    line: socket.socket = connection.sock
    line.sendall(
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    if b" 100 " not in _until(line, b"\r\n\r\n"):  # it wants the body: the request is under way
        raise FailedError("a request that waits for its turn to send its body is not told to")
    os.kill(pid, signal.SIGTERM)
    _wait_for_not_ready()
    line.sendall(body)
    status = int(_until(line, b"\r\n").split()[1])
    line.close()
    if status != (400 if recorded is None else 200):
        raise FailedError(f"the request under way at SIGTERM was answered with {status}")


def _until(line: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found:
        piece = line.recv(4096)
        if not piece:
            raise FailedError("the request under way at SIGTERM was cut off")
        found += piece
    return found


def _wait_for_not_ready() -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            status, content = _ask("GET", "/ready")
        except OSError:
            return  # too late to be told: connections are refused already
        told: Any = json.loads(content)
        if status == 503 and told["status"] == "draining":
            return
        time.sleep(0.05)
    raise FailedError("/ready still says that it is ready after SIGTERM")


if __name__ == "__main__":
    sys.exit(main())
