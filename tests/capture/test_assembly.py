"""A record is made of whatever events are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture import assemble, output_digests
from mlrepro_nb.model import Record, canonical, decode
from tests.records import a_record

NO_BLOB = "sha256:" + "0" * 64
BEGIN = {"id": None, "name": None, "digest": "sha256:x", "started": "2026-01-01T00:00:00Z"}

json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
KINDS = ["start", "begin", "end", "opens", "output", "file", "gap", "seal", "modules", "x"]


def _make(events: list[Any], root: Path | None = None) -> Record:
    return assemble(
        events, notebook="n.ipynb", root=root, mode="headless", put_blob=lambda data: NO_BLOB
    )


def test_nothing_is_a_partial_record() -> None:
    record = _make([])
    assert record.lineage.capture == "partial"
    assert decode(Record, canonical(record)) == record


def test_a_cell_without_an_end_was_interrupted() -> None:
    record = _make([("begin", {**BEGIN, "order": 0, "source": "x"})])
    assert [c.status for c in record.code.cells] == ["interrupted"]
    assert record.results.status == "interrupted"


def test_in_an_image_its_own_commit_counts_and_git_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = a_record()
    (tmp_path / "record.json").write_bytes(canonical(built))
    (tmp_path / "project" / ".git").mkdir(parents=True)  # as a container's project is marked
    monkeypatch.setenv("MLREPRO_IMAGE", str(tmp_path / "record.json"))
    monkeypatch.setenv("PATH", "")
    code = (made := _make([], tmp_path / "project")).code
    assert built.code.commit is not None
    assert (code.commit, code.dirty) == (built.code.commit, built.code.dirty)
    assert not any("git" in gap for gap in made.lineage.gaps)
    monkeypatch.delenv("MLREPRO_IMAGE")
    assert any("git" in gap for gap in _make([], tmp_path / "project").lineage.gaps)


@given(st.lists(st.tuples(st.sampled_from(KINDS), json), max_size=6))
def test_damaged_events_are_left_out_and_named(events: list[Any]) -> None:
    record = _make([("start", {"time": "2026-01-01T00:00:00Z"}), *events])
    assert record.lineage.capture == "partial"


def test_the_forms_of_one_output_have_one_digest() -> None:
    def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
        return output_digests(a) == output_digests(b)

    def stream(text: Any) -> dict[str, Any]:
        return {"output_type": "stream", "name": "stdout", "text": text}

    def shown(mime: str, value: Any) -> dict[str, Any]:
        return {"output_type": "display_data", "data": {mime: value}}

    assert same(stream("a\nb\n"), stream(["a\n", "b\n"]))
    assert not same(stream("a\n"), stream("b\n"))
    assert same(shown("image/png", "AAAA\nBBBB\n"), shown("image/png", "AAAABBBB"))
    assert same(
        shown("application/json", {"a": 1, "b": 2}), shown("application/json", {"b": 2, "a": 1})
    )
    assert not same(shown("text/html", "x"), shown("text/html", "x "))
