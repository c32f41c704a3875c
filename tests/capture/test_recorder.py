"""What a person who loads the extension gets, whatever the cells do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlrepro_nb.model import digest_text
from mlrepro_nb.record import recover

LOAD = "%load_ext mlrepro_nb"


def test_every_cell_is_recorded_in_order_with_its_state(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD, cell="a")
    k.run("x = 1\nx + 1", cell="b")
    k.run("1 / 0", cell="c")
    k.run("print('x')\nx", cell="b")
    k.close()
    record = k.record()
    cells = record.code.cells
    assert [c.id for c in cells] == ["a", "b", "c", "b"]
    assert [c.execution_count for c in cells] == [1, 2, 3, 4]
    assert [c.status for c in cells] == ["ok", "ok", "error", "ok"]
    assert cells[1].source == "x = 1\nx + 1"
    assert cells[1].digest == digest_text("x = 1\nx + 1")
    assert record.lineage.capture == "complete", record.lineage.gaps


def test_outputs_are_kept_by_digest_as_the_file_would_hold_them(kernel: Callable) -> None:
    from mlrepro_nb.capture import output_digests

    k = kernel()
    k.run(LOAD)
    k.run("print('a')\nprint('b')\nimport sys; print('e', file=sys.stderr)\n'r'")
    k.run(
        "from IPython.display import display, clear_output\nprint('gone'); clear_output()\nprint(1)"
    )
    k.run("h = display('first', display_id='d')")
    k.run("h.update('second')")
    k.run("raise ValueError('no')")
    k.close()
    record = k.record()

    def of(order: int) -> list[dict[str, str]]:
        return [o.data for o in record.results.outputs if o.execution == order]

    assert of(1) == [
        output_digests({"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]}),
        output_digests({"output_type": "stream", "name": "stderr", "text": "e\n"}),
        output_digests({"output_type": "execute_result", "data": {"text/plain": "'r'"}}),
    ]
    assert of(2) == [output_digests({"output_type": "stream", "name": "stdout", "text": "1\n"})]
    second = {"output_type": "display_data", "data": {"text/plain": "'second'"}}
    assert of(3) == [output_digests(second)], "an update changes the display it names"
    assert of(5) == [
        output_digests({"output_type": "error", "ename": "ValueError", "evalue": "no"})
    ]


def test_a_killed_kernel_leaves_all_up_to_its_last_cell(kernel: Callable, repository: Path) -> None:
    (repository / "d.csv").write_text("a\n1\n", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("open('d.csv').read()")
    k.send("import time\ntime.sleep(600)")
    deadline = time.monotonic() + 60
    while sum(kind == "begin" for kind, _ in k.store().events(k.store().sessions()[0].id)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    k.kill()
    (digest,) = recover(k.store())
    from mlrepro_nb.model import Record

    record = k.store().get(Record, digest)
    assert [c.status for c in record.code.cells] == ["ok", "ok", "interrupted"]
    assert [(d.path, d.access, d.execution) for d in record.data] == [("d.csv", "read", 1)]
    assert record.data[0].digest is not None
    assert record.lineage.capture == "partial"
    assert recover(k.store()) == [], "twice is once"


def test_two_kernels_share_a_store(kernel: Callable) -> None:
    one, two = kernel(), kernel()
    for k in (one, two):
        k.run(LOAD)
    for i in range(15):
        for k in (one, two):
            k.send(f"x{i} = {i}")
    for k in (one, two):
        k.run("'done'")
        k.close()
    sessions = one.store().sessions()
    assert len(sessions) == 2
    for session in sessions:
        begun = [d for kind, d in one.store().events(session.id) if kind == "begin"]
        assert [d["source"] for d in begun[1:16]] == [f"x{i} = {i}" for i in range(15)]
        assert session.record is not None


def test_a_kernel_that_exits_at_once_is_recorded(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("x = 1")
    k.send("import os\nos._exit(3)")
    k.manager.provisioner.process.wait(timeout=60)
    assert [c.status for c in k.record().code.cells] == ["ok", "ok", "interrupted"]


def test_a_failing_sink_does_not_reach_the_notebook(kernel: Callable, repository: Path) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("import shutil\nshutil.rmtree('.mlrepro')")
    assert k.run("40 + 2")["text"] == "42"


def test_without_a_repository_nothing_is_recorded_and_one_sentence_says_so(
    kernel: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.capture.conftest import Kernel

    folder = tmp_path / "bare"
    folder.mkdir()
    k = Kernel(folder)
    try:
        said = k.run(LOAD)
        assert not said["errors"]
        assert said["text"].count("not recording") == 1
        assert "git init" in said["text"]
        assert k.run("1 + 1")["text"] == "2"
        assert "not recording" in k.run("%mlrepro status")["text"]
    finally:
        k.close()
    assert list(folder.iterdir()) == []


def test_secrets_are_masked_but_an_edit_still_shows(kernel: Callable) -> None:
    k = kernel(MY_API_TOKEN="tok-1234567890abcdef")
    k.run(LOAD)
    source = 'password = "hunter2hunter2"\nurl = "https://u:pw1234@h/x"\nt = "tok-1234567890abcdef"'
    k.run(source)
    k.run("raise ValueError('tok-1234567890abcdef')")
    k.close()
    record = k.record()
    from mlrepro_nb.model import canonical

    text = canonical(record).decode()
    for secret in ("hunter2", "pw1234", "tok-1234567890abcdef"):
        assert secret not in text
    assert record.code.cells[1].digest == digest_text(source)


def test_what_ran_before_loading_is_named_as_missing(kernel: Callable) -> None:
    k = kernel()
    k.run("x = 1")
    k.run(LOAD)
    k.close()
    assert any("1 executions came before" in gap for gap in k.record().lineage.gaps)


def test_loading_twice_records_once_and_unloading_seals(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run(LOAD)
    k.run("%reload_ext mlrepro_nb")
    k.run("x = 1")
    k.run("%unload_ext mlrepro_nb")
    k.run("y = 2")
    k.close()
    sessions = k.store().sessions()
    sources = [
        d["source"] for s in sessions for kind, d in k.store().events(s.id) if kind == "begin"
    ]
    assert sources.count("x = 1") == 1
    assert "y = 2" not in sources
    assert all(s.record for s in sessions)
