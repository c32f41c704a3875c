"""A service: MLflow's protocol, a schema that is kept to, an order in which it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro_nb.errors import UsageError
from mlrepro_nb.image.service.readiness import Service
from mlrepro_nb.image.service.settings import Settings
from mlrepro_nb.image.service.settings import settings as read
from mlrepro_nb.image.service.signature import RefusedError
from tests.image.services import (
    RECORD,
    ROW,
    Running,
    mlflow_running,
    packed,
    record_predictions,
    running,
    tensor_model,
    typed_model,
    varying_model,
)

LIMIT = 20_000


def test_a_service_needs_only_what_its_image_has() -> None:
    # The image has the served model's distributions, MLflow, msgspec and rfc8785: what the
    # rest of this package imports may not be there.
    script = (
        "import sys, mlrepro_nb.image.service.server, mlrepro_nb.image.service.recording\n"
        "import mlrepro_nb.image.service.selftest, mlrepro_nb.image.service.__main__\n"
        "print(*sorted({'blake3', 'requests', 'deflate', 'installer', 'psutil', 'IPython', 'yaml',"
        " 'packaging', 'nbformat', 'prometheus_client', 'mlflow'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.strip()) == (0, ""), ended.stderr


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as an image has it: a model, what it is, what it predicted."""
    folder = tmp_path_factory.mktemp("app")
    typed_model(folder / "model")
    packed(folder)
    return packed(folder, record_predictions(folder))


@pytest.fixture(scope="module")
def service(app: Path) -> Iterator[Running]:
    with running(app, MLREPRO_MAX_BODY=str(LIMIT)) as found:
        yield found


# --- the protocol


def test_it_is_ready_once_it_has_predicted_what_was_recorded(service: Running) -> None:
    status, _, body = service.ask("GET", "/ready")
    told = json.loads(body)
    assert (status, told["status"], told["record"]) == (200, "ready", RECORD)
    assert told["predictions"] == {"rtol": 1e-6}
    for path in ("/ping", "/health"):
        assert service.ask("GET", path)[::2] == (200, b"\n")


def test_who_it_is_is_told_beside_mlflow_s_version(service: Running) -> None:
    from mlflow.version import VERSION

    assert service.ask("GET", "/version")[2] == VERSION.encode()
    _, headers, body = service.ask("GET", "/info")
    told = json.loads(body)
    assert (told["record"], told["notebook"], told["name"]) == (RECORD, "train.ipynb", "m")
    assert told["digest"] == headers["mlrepro-model"]
    assert headers["mlrepro-record"] == RECORD
    assert [c["name"] for c in told["signature"]["columns"]] == ["n", "x", "s", "ok"]


VALID: list[tuple[str, str]] = [
    ("application/json", json.dumps(payload))
    for payload in (
        {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}},
        {"dataframe_split": {"columns": ["ok", "s", "x", "n"], "data": [[True, "é", 1e-3, 7]] * 3}},
        {"dataframe_records": [ROW, {**ROW, "n": -(2**62), "x": 2}]},
        {"instances": [ROW, ROW]},
        {"inputs": {"n": [1, 2], "x": [0.5, 0.25], "s": ["a", "b"], "ok": [True, False]}},
        {"inputs": [ROW]},
        {"dataframe_records": [{**ROW, "x": None}]},
        {"dataframe_records": [{**ROW, "x": float("nan")}]},
        {"dataframe_records": [ROW], "params": {}},
    )
]
VALID += [
    ("text/csv", 'n,x,s,ok\n1,0.5,a,True\n2,1e-3,"b,c",False\n'),
    ("text/csv; charset=utf-8", "ok,s,x,n\nTrue,a,,1\n"),
]


@pytest.fixture(scope="module")
def mlflow_s(app: Path) -> Iterator[Running]:
    with mlflow_running(app) as found:
        yield found


def test_valid_input_gets_the_very_answer_of_mlflow(service: Running, mlflow_s: Running) -> None:
    for kind, body in VALID:
        ours = service.ask("POST", "/invocations", body, kind)
        theirs = mlflow_s.ask("POST", "/invocations", body, kind)
        assert (ours[0], ours[2]) == (theirs[0], theirs[2]), body
        assert ours[0] == 200
        assert ours[1]["content-type"] == theirs[1]["content-type"]
    for path in ("/ping", "/health", "/version"):
        assert service.ask("GET", path)[::2] == mlflow_s.ask("GET", path)[::2]


def changed(**fields: Any) -> dict[str, Any]:
    return {"dataframe_records": [ROW, {**ROW, **fields}]}


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in ROW.items() if k != name}


SPLIT = {"columns": list(ROW), "data": [list(ROW.values())]}
REFUSED: list[tuple[Any, int, str, str | None]] = [
    (changed(x="0.5"), 400, "Column 'x', row 1: '0.5' is not a number", "x"),
    (changed(x=True), 400, "Column 'x', row 1: true is not a number", "x"),
    (changed(x=float("inf")), 400, "inf is not finite", "x"),
    (changed(x=10**400), 400, "an integer of many digits is not finite", "x"),
    (changed(n=1.5), 400, "Column 'n', row 1: 1.5 is not a 64-bit integer", "n"),
    (changed(n=2**63), 400, "does not fit into a 64-bit integer", "n"),
    (changed(n=None), 400, "null is not a 64-bit integer", "n"),
    (changed(ok="yes"), 400, "'yes' is not a boolean", "ok"),
    (changed(ok=1), 400, "1 is not a boolean", "ok"),
    (changed(s=7), 400, "7 is not a string", "s"),
    (changed(s=[1]), 400, "an array is not a string", "s"),
    (changed(z=1), 400, "The column 'z' is none of the model's; they are 'n', 'x', 's', 'ok'", "z"),
    ({"dataframe_records": [without("x")]}, 400, "The column 'x' is missing", "x"),
    ({"dataframe_records": [ROW, without("x")]}, 400, "Row 1 lacks the column 'x'", "x"),
    ({"dataframe_records": []}, 400, "no rows", None),
    ({"dataframe_records": ROW}, 400, "no array of objects", None),
    ({"dataframe_split": {**SPLIT, "data": [[1]]}}, 400, "Row 0 has 1 values, not 4", None),
    ({"dataframe_split": {**SPLIT, "columns": ["n"] * 4}}, 400, "The column 'x' is missing", "x"),
    ({"dataframe_split": {**SPLIT, "index": [1, 2]}}, 400, '"index"', None),
    ({"dataframe_split": SPLIT, "inputs": []}, 400, "exactly one", None),
    ({"inputs": {**{k: [v] for k, v in ROW.items()}, "n": [1, 2]}}, 400, "differ in length", None),
    ({"columns": []}, 400, "none of dataframe_split", None),
    ([ROW], 400, "no JSON object", None),
    ({"dataframe_records": [ROW], "params": 3}, 400, "`params` is no JSON object", None),
]


@pytest.mark.parametrize(("payload", "status", "message", "column"), REFUSED)
def test_what_is_wrong_is_named(
    service: Running, payload: Any, status: int, message: str, column: str | None
) -> None:
    found, told = service.post(payload)
    assert found == status, told
    assert message in told["message"]
    assert told.get("column") == column
    assert told["error_code"] == "BAD_REQUEST"
    assert "Traceback" not in json.dumps(told)
    assert "stack_trace" not in told


CSV = "n,x,s,ok\n1,0.5,a,True\n"
BODIES: list[tuple[bytes | str, str | None, int, str]] = [
    (b"", "application/json", 400, "empty"),
    (b" \n", "text/csv", 400, "empty"),
    (b"{", "application/json", 400, "line 1, column 2"),
    (b"\xff{}", "application/json", 400, "not UTF-8"),
    ("[" * 100_00, "application/json", 400, "JSON"),
    ("9" * 5000, "application/json", 400, "JSON"),
    (b"{}", "application/xml", 415, "'application/xml' is not supported"),
    (b"{}", None, 415, "No content type is not supported"),
    (b"{}", "application/json; charset=latin-1", 415, "charset latin-1"),
    (b"{}", "application/json; x=1", 415, "x"),
    (b"x" * (LIMIT + 1), "text/csv", 413, f"more than {LIMIT} bytes"),
    ("n,x,s\n1,0.5,a\n", "text/csv", 400, "The column 'ok' is missing"),
    ("n,x,s,ok\n", "text/csv", 400, "no rows"),
    (CSV + "1,2\n", "text/csv", 400, "Row 1 has 2 values, but the first line names 4"),
    (CSV + "1,x,a,True\n", "text/csv", 400, "Column 'x', row 1: 'x' is not a double"),
    (CSV + "1,inf,a,True\n", "text/csv", 400, "inf is not finite"),
    (CSV + "1.5,1,a,True\n", "text/csv", 400, "Column 'n', row 1: '1.5' is not a long"),
    (CSV + ",1,a,True\n", "text/csv", 400, "null is not a 64-bit integer"),
    (CSV + "1,1,a,maybe\n", "text/csv", 400, "Column 'ok', row 1: 'maybe' is not a boolean"),
    (CSV + '1,1,"a,True\n', "text/csv", 400, "not CSV"),
    (b"PAR1 nonsense", "application/vnd.apache.parquet", 400, ""),
]


@pytest.mark.parametrize(("body", "kind", "status", "message"), BODIES)
def test_a_body_that_cannot_be_read_is_refused(
    service: Running, body: bytes | str, kind: str | None, status: int, message: str
) -> None:
    found, _, content = service.ask("POST", "/invocations", body, kind)
    told = json.loads(content)
    assert found == status, told
    assert message in told["message"]
    assert "Traceback" not in content.decode()


def test_a_body_of_unknown_length_has_the_same_limit(service: Running) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as line:
        line.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(3):
            line.sendall(b"%x\r\n%s\r\n" % (LIMIT // 2, b"x" * (LIMIT // 2)))
        assert b" 413 " in line.recv(4096)


def test_a_model_that_raises_is_told_of_without_its_traceback(service: Running) -> None:
    status, told = service.post(changed(s="raise", x=0.25), X_Request_ID="raises")
    assert (status, told["error_code"]) == (400, "BAD_REQUEST")
    assert "ValueError: cannot compute with 0.25" in told["message"]
    last = service.line("raises")
    assert last["error"].startswith("ValueError at ")  # where, but nothing of what was sent
    assert "0.25" not in json.dumps(last["error"])


def test_other_paths_and_methods_are_refused_as_json(service: Running) -> None:
    for method, path, status in (("GET", "/none", 404), ("GET", "/invocations", 405)):
        found, _, body = service.ask(method, path)
        assert found == status
        assert json.loads(body)["message"]


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*ROW, "columns", "data", "z", ""]), inner, max_size=4)
    ),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries({}, optional={k: st.just(v) | VALUES for k, v in ROW.items()})
PAYLOADS = st.one_of(
    VALUES,
    st.dictionaries(
        st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"]),
        VALUES | st.lists(NEARLY, max_size=3) | NEARLY
        | st.fixed_dictionaries({"columns": VALUES | st.just(list(ROW)), "data": VALUES}),
        max_size=2,
    ),
)  # fmt: skip
ANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ANY
@given(payload=PAYLOADS)
def test_no_json_makes_it_break(service: Running, payload: Any) -> None:
    status, _, body = service.ask("POST", "/invocations", json.dumps(payload))
    assert status < 500, body
    assert "Traceback" not in body.decode()


@ANY
@given(
    body=st.binary(max_size=60) | st.text("n,xsok\n\"'0.1eE-tTruefalsinNA ", max_size=60)
    .map(lambda text: f"n,x,s,ok\n{text}".encode()),
    kind=st.sampled_from(["text/csv", "application/json", "application/vnd.apache.parquet"]),
)  # fmt: skip
def test_no_bytes_make_it_break(service: Running, body: bytes, kind: str) -> None:
    status, _, answer = service.ask("POST", "/invocations", body, kind)
    assert status < 500, answer


# --- what it tells of itself


def test_a_request_is_one_line_without_what_was_sent(service: Running) -> None:
    secret = "a-text-that-nobody-logs"
    _, headers, _ = service.ask(
        "POST", f"/invocations?{secret}", json.dumps(changed(s=secret)), X_Request_ID="abc-1"
    )
    assert headers["x-request-id"] == "abc-1"
    _, headers, _ = service.ask("GET", "/ping", X_Request_ID='"}\x01')
    assert len(headers["x-request-id"]) == 32
    line = service.line("abc-1")
    assert set(line) == {
        "time", "level", "message", "method", "path", "status", "duration", "rows", "request_id"
    }  # fmt: skip
    assert (line["method"], line["path"], line["status"], line["rows"]) == (
        "POST", "/invocations", 200, 2
    )  # fmt: skip
    assert secret not in json.dumps(service.lines())


def samples(service: Running) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    text = service.ask("GET", "/metrics")[2].decode()
    return {
        f"{s.name}{json.dumps(s.labels, sort_keys=True)}": s.value
        for family in text_string_to_metric_families(text) for s in family.samples
    }  # fmt: skip


def test_prometheus_reads_its_metrics(service: Running) -> None:
    before = samples(service)
    service.post({"dataframe_records": [ROW] * 3})
    service.post({"dataframe_records": []})
    service.ask("GET", "/some/path/of/an/attacker")
    after = samples(service)

    def grown(name: str, **labels: str) -> float:
        key = f"{name}{json.dumps(labels, sort_keys=True)}"
        return after[key] - before.get(key, 0)

    of = {"method": "POST", "path": "/invocations"}
    assert grown("mlrepro_requests_total", **of, code="200") == 1
    assert grown("mlrepro_requests_total", **of, code="400") == 1
    assert grown("mlrepro_requests_total", method="GET", path="other", code="404") == 1
    assert grown("mlrepro_prediction_rows_total") == 3
    assert grown("mlrepro_request_duration_seconds_count", path="/invocations") == 2
    assert after["mlrepro_requests_in_flight{}"] == 1  # the one that asks
    assert after["mlrepro_ready{}"] == 1
    (info,) = [key for key in after if key.startswith("mlrepro_model_info")]
    assert RECORD in info
    assert service.ask("GET", "/ready")[1]["mlrepro-model"] in info


# --- how it begins and ends


def test_requests_under_way_are_answered_and_new_ones_refused_when_it_ends(
    app: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with running(app, MLREPRO_DRAIN="600", MLREPRO_GRACE="600") as service:
        found: list[Any] = []

        def slow() -> None:
            found.append(service.post({"dataframe_records": [{**ROW, "s": str(go)}]}))

        thread = threading.Thread(target=slow)
        thread.start()
        while samples(service)["mlrepro_requests_in_flight{}"] < 2:
            pass
        service.process.send_signal(signal.SIGTERM)
        status = 200
        while status == 200:
            status, headers, body = service.ask("GET", "/ready")
        assert (status, json.loads(body)["status"]) == (503, "draining")
        assert headers["connection"] == "close"
        # Who sends requests learns late: until connections are refused they are answered.
        assert service.ask("GET", "/ping")[0] == 200
        assert service.post({"dataframe_records": [ROW]})[0] == 200
        service.process.send_signal(signal.SIGTERM)  # said again, it does not wait for them
        while service.takes_connections():
            pass
        assert service.process.poll() is None
        go.touch()
        thread.join()
        assert found[0][0] == 200
        assert service.process.wait(300) == 0
        assert service.lines()[-1]["message"] == "ended"


def test_a_request_that_takes_too_long_to_end_is_cut_off(app: Path) -> None:
    with running(app, MLREPRO_DRAIN="0", MLREPRO_GRACE="1") as service:
        payload = json.dumps({"dataframe_records": [{**ROW, "s": "sleep", "x": 600.0}]})
        with socket.create_connection(("127.0.0.1", service.port)) as line:
            line.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(payload), payload.encode())
            )
            while samples(service)["mlrepro_requests_in_flight{}"] < 2:
                pass
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(300) == 1
        assert service.lines()[-1]["requests_cut_off"] == 1


def test_one_that_does_not_predict_what_was_recorded_never_serves(
    app: Path, tmp_path: Path
) -> None:
    recorded = json.loads((app / "record" / "predictions.json").read_text())
    recorded["output"]["predictions"][1]["y"] += 0.001
    shutil.copytree(app / "model", tmp_path / "model")
    packed(tmp_path, json.dumps(recorded).encode())
    with running(tmp_path, wait=False, MLREPRO_FAIL_AFTER="600") as service:
        status, told = service.first("/ready")
        while told.get("status") == "starting":
            status, _, body = service.ask("GET", "/ready")
            told = json.loads(body)
        assert status == 503
        assert "not reproduced: answer.predictions[1].y is 4.1 instead of 4.101" in told["reason"]
        assert service.ask("GET", "/health")[0] == 503
        status, refused = service.post({"dataframe_records": [ROW]})
        assert (status, refused["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(300) == 1
        assert "error" in {line["level"] for line in service.lines()}


def test_one_that_never_says_the_same_is_checked_by_its_digest_alone(tmp_path: Path) -> None:
    varying_model(tmp_path / "model")
    body = {"dataframe_split": {"columns": ["a"], "data": [[1.0], [2.0]]}}
    recorded = {"input": body, "output": {"predictions": [1, 1]}, "rtol": 1e-6}
    packed(tmp_path, json.dumps(recorded).encode())
    with running(tmp_path) as service:
        assert service.first("/ready")[1]["predictions"] is None
        assert service.post(body)[0] == 200
        warned = [line["message"] for line in service.lines() if line["level"] == "warning"]
        assert any("does not predict the same twice" in message for message in warned)
        # And so does the test of an image.
        ended = subprocess.run(
            [sys.executable, "-m", "mlrepro_nb.image.service.selftest", str(service.process.pid)],
            env={**os.environ, "MLREPRO_APP": str(tmp_path), "PORT": str(service.port)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        told = json.loads(ended.stdout)
        assert told == {"passed": ["ready", "refusal", "drain"], "failed": None}
        assert service.process.wait(60) == 0


def test_a_model_of_arrays_is_held_to_its_shape(tmp_path: Path) -> None:
    tensor_model(tmp_path / "model")
    packed(tmp_path)
    packed(tmp_path, record_predictions(tmp_path))
    service = Service(tmp_path, Settings())
    service.prove()
    assert (service.phase, service.reason) == ("ready", "")
    assert service.predictions is not None

    def post(payload: Any) -> Any:
        return json.loads(service.score(json.dumps(payload).encode(), "application/json").content)

    assert post({"inputs": [[1.0, 2.0], [3, 4]]})["predictions"] == pytest.approx([3.0, 7.0])
    for data, message in (
        ([[1.0]], "has the shape (1, 1), not (any, 2)"),
        ([[1.0, 2.0], [3.0]], "ragged"),
        ([["a", 2.0]], "element 0: 'a' is not a number"),
        ([[float("nan"), 2.0]], "not finite"),
        ([], "has the shape (0), not (any, 2)"),
        ({"a": [1]}, "not an object"),
    ):
        for key in ("inputs", "instances"):
            with pytest.raises(RefusedError, match=re.escape(message)):
                post({key: data})
    # The model of another notebook, say.
    (tmp_path / "model" / "MLmodel").write_text("x: 1\n")
    service = Service(tmp_path, Settings())
    service.prove()
    assert service.phase == "failed"
    assert "as recorded" in service.reason


def test_a_setting_that_cannot_be_right_is_told() -> None:
    assert read({}) == Settings()
    assert read({"MLREPRO_MAX_BODY": "10", "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "7"}) == (
        Settings(max_body=10, timeout=7)
    )
    for name, value in (
        ("PORT", "http"), ("MLREPRO_DRAIN", "-1"), ("MLREPRO_GRACE", "inf"),
        ("MLREPRO_EXTRA_COLUMNS", "perhaps"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=name):
            read({name: value})
