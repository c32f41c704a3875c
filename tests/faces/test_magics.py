"""``%mlrepro`` in a live kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
    assert said.count("\n") == 1
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
    ],
)
def test_lines_are_answered_in_words(kernel: Callable, line: str, says: str) -> None:
    k = kernel()
    k.run(LOAD)
    said = k.run(line)
    assert said["errors"] == []
    assert says in said["text"]
