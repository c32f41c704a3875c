"""``%mlrepro`` in a live kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mlrepro_nb.faces import magics
from tests.capture.conftest import kernel

__all__ = ["kernel"]
LOAD = "%load_ext mlrepro_nb"


def test_a_session_in_a_live_kernel(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    named = k.run(
        "%%mlrepro record --name train\nz = 41\nawait __import__('asyncio').sleep(0)\nz + 1"
    )
    assert named["text"] == "42", "shown as in a plain cell"
    assert k.run("z")["text"] == "41", "in the user's namespace"
    bad = k.run("%%mlrepro record --name bad\n1 / 0")["errors"]
    assert "division by zero" in str(bad), "an error in a named cell is the cell's own"
    said = k.run("%mlrepro seed 7")["text"]
    assert "Seeded random" in said
    assert "PYTHONHASHSEED" in said
    assert "mlrepro kernel install" in said
    k.run("import random, numpy as np\na = (random.random(), np.random.rand())")
    k.run("%mlrepro seed 7")
    assert k.run("a == (random.random(), np.random.rand())")["text"] == "True"
    (status,) = k.run("%mlrepro status")["bundles"]
    assert "<table" in status["text/html"]
    assert "executions" in status["text/plain"]
    recorded = k.run("%mlrepro record")["text"]
    assert "sha256:" in recorded
    _, record = k.store().find_record(recorded.partition("sha256:")[2][:64])
    assert [c.name for c in record.code.cells].count("train") == 1
    assert record.code.cells[-1].source == "%mlrepro record"
    assert record.code.cells[-1].status == "ok"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("%mlrepro", "%mlrepro status"),
        ("%mlrepro statsu", "Did you mean %mlrepro status?"),
        ("%mlrepro seed", "whole number"),
        ("%mlrepro seed -1", "whole number"),
        ("%mlrepro 'unclosed", "cannot be read"),
        ("%%mlrepro what\nx", "--name"),
        ("%mlrepro data", "no file was read"),
        ("%mlrepro env", "python"),
        ("%mlrepro help", "%mlrepro verify [NOTEBOOK]"),
        ("%mlrepro --help", "%mlrepro verify [NOTEBOOK]"),
        ("%mlrepro help verify", "--timeout"),
        ("%mlrepro verify --help", "Without one, it is this notebook."),
        ("%mlrepro seed -h", "%mlrepro seed N"),
        ("%mlrepro help seeed", "Did you mean %mlrepro seed?"),
        ("%mlrepro status all", "it is %mlrepro status"),
        ("%mlrepro show --nothing", "No such option"),
        ("%mlrepro diff one", "Missing argument"),
        ("%mlrepro record --name x", "%%mlrepro record"),
    ],
)
def test_lines_are_answered_in_words(kernel: Callable, line: str, says: str) -> None:
    k = kernel()
    k.run(LOAD)
    said = k.run(line)
    assert said["errors"] == []
    assert says in said["text"]
    asked = ("%mlrepro", "%mlrepro data", "%mlrepro env")
    if "help" not in line and "-h" not in line and line not in asked:
        assert said["text"].count("\n") == 1, "an error is one line"


def test_the_docstring_is_the_help(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.client.execute("%mlrepro?")
    reply = k.client.get_shell_msg(timeout=60)
    while not reply["content"].get("payload"):
        reply = k.client.get_shell_msg(timeout=60)
    (page,) = reply["content"]["payload"]
    assert "%mlrepro verify [NOTEBOOK]" in page["data"]["text/plain"]


def complete(k: Any, code: str) -> list[str]:
    """Ask the kernel as a front end does when Tab is pressed; return the completed lines."""
    request = k.client.complete(code)
    while True:
        reply = k.client.get_shell_msg(timeout=60)
        if reply["parent_header"].get("msg_id") == request:
            content = reply["content"]
            start, end = content["cursor_start"], content["cursor_end"]
            return [code[:start] + match + code[end:] for match in content["matches"]]


def test_tab_completes_verbs_options_and_what_there_is(kernel: Callable, repository: Path) -> None:
    (repository / "train.ipynb").write_text("{}", encoding="utf-8")
    (repository / "runs").mkdir()
    (repository / "runs" / "old.ipynb").write_text("{}", encoding="utf-8")
    (repository / "rows.csv").write_text("a\n", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    said = k.run("open('rows.csv').read()\n%mlrepro record")["text"]
    digest = said.partition("sha256:")[2][:12]
    assert complete(k, "%mlrepro ver") == ["%mlrepro verify"]
    assert "%mlrepro trace" in complete(k, "%mlrepro ")
    assert complete(k, "%mlrepro seed") == ["%mlrepro seed"]
    assert complete(k, "%mlrepro verify --tim") == ["%mlrepro verify --timeout"]
    assert complete(k, "%mlrepro build --kind s") == ["%mlrepro build --kind service"]
    assert complete(k, "%mlrepro verify tr") == ["%mlrepro verify train.ipynb"]
    assert complete(k, "%mlrepro verify runs/") == ["%mlrepro verify runs/old.ipynb"]
    assert complete(k, f"%mlrepro show {digest[:3]}") == [f"%mlrepro show {digest}"]
    assert complete(k, f"%mlrepro show sha256:{digest[:3]}") == [f"%mlrepro show sha256:{digest}"]
    assert "%mlrepro trace rows.csv" in complete(k, "%mlrepro trace ro")
    assert complete(k, "x = 1\n%mlrepro dif") == ["x = 1\n%mlrepro diff"]
    assert complete(k, "%%mlrepro rec") == ["%%mlrepro record"]
    assert complete(k, "%%mlrepro record --n") == ["%%mlrepro record --name"]
    assert complete(k, "%mlrepro help tra") == ["%mlrepro help trace"]
    assert "%mlrepro" in complete(k, "%mlrep")
    k.run("%unload_ext mlrepro_nb")
    assert "%mlrepro verify" not in complete(k, "%mlrepro ver")
    k.close()
    assert len(k.record().code.cells) == 3, "completing is no cell"


def test_status_says_what_a_rerun_would_miss(kernel: Callable, repository: Path) -> None:
    k = kernel(JPY_SESSION_NAME="nb.ipynb")
    k.run(LOAD, cell="a")
    k.run("import random\nx = random.random()", cell="b")
    k.run("print('<b>&amp;')", cell="c")
    k.run("!echo '<script>alert(1)</script>'", cell="d")
    (bundle,) = k.run("%mlrepro status", cell="e")["bundles"]
    text, html = bundle["text/plain"], bundle["text/html"]
    for says in ("unseeded", "peak", "MiB", "commands", "capture", "executions of"):
        assert says in text, text
        assert says in html
    assert "<script>" not in html
    assert 'scope="row"' in html
    assert "<caption" in html
    assert "var(--jp-content-font-color1" in html
    assert "#000" not in html
    assert "white" not in html
    from xml.dom.minidom import parseString

    parseString(html)  # every tag is closed
    table = bundle["application/vnd.mlrepro.status+json"]["table"]
    assert table[0][:3] == ["#", "cell", "state"]
    assert [row[4] for row in table[1:]][1] == "unseeded"


def test_verbs_are_the_commands_of_the_same_name(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    digest = k.run("x = 1\n%mlrepro record")["text"].partition("sha256:")[2][:12]
    for line, says in (
        ("%mlrepro log", digest),
        (f"%mlrepro show {digest}", "environment"),
        (f"%mlrepro diff {digest} {digest}", "Nothing changed."),
        (f"%mlrepro trace {digest}", "generated by Notebook run"),
        ("%mlrepro show nothing", "mlrepro log"),
    ):
        done = k.run(line)
        assert says in done["text"] + str(done["errors"]), line
        assert not done["errors"], "no exit, no traceback: the kernel goes on"


def test_a_kernel_that_shuts_down_does_not_wait_for_the_dead() -> None:
    dead, living = subprocess.Popen(["true"]), subprocess.Popen(["sleep", "60"])
    try:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        kernel = SimpleNamespace(
            _process_children=lambda: [psutil.Process(dead.pid), psutil.Process(living.pid)]
        )
        magics._bury_the_dead(kernel)
        assert [child.pid for child in kernel._process_children()] == [living.pid]
    finally:
        living.kill()
        living.wait()
        dead.wait()


def test_a_kernel_that_may_open_no_more_files_can_when_it_ends() -> None:
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))\n"
        "from mlrepro_nb.faces import magics\nfiles = []\n"
        "try:\n  while True: files.append(open('/dev/null'))\nexcept OSError: pass\n"
        "magics._spare_handles()\nopen('/dev/null').close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
