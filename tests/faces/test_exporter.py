"""`jupyter nbconvert --to mlrepro`: what a reviewer gets."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from mlrepro_nb.model import Cause, CellVerdict, Verification
from mlrepro_nb.store import Store
from tests.records import a_record

pytest.importorskip("nbconvert")

EXTERNAL = re.compile(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']https?:""")


def page(path: Path) -> str:
    """Convert as nbconvert's command does, the exporter found by its name."""
    from nbconvert.exporters import get_exporter

    text, _ = get_exporter("mlrepro")().from_filename(str(path))
    return str(text)


@pytest.fixture
def notebook(repository: Path) -> Path:
    path = repository / "train.ipynb"
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_markdown_cell("# Training"),
        nbformat.v4.new_code_cell("import numpy", execution_count=1),
        nbformat.v4.new_code_cell("print(1)", execution_count=2),
    ]
    nbformat.write(nb, path)
    return path


def test_it_shows_the_record_and_at_each_cell_the_verdict_and_its_cause(
    notebook: Path, store: Store
) -> None:
    digest = store.put(a_record())
    cause = Cause(
        kind="unseeded-randomness", cell=2, subject="<script>alert(1)</script>",
        evidence="It draws & is not seeded.", fix="Seed it.",
    )  # fmt: skip
    store.put(Verification(
        verdict="different", notebook="train.ipynb", record=digest,
        cells=(
            CellVerdict(index=1, verdict="bitwise"),
            CellVerdict(index=2, verdict="different", cause=cause, detail="stdout: 1 → 2"),
        ),
        causes=(cause,), created="2026-11-23T12:00:00.000Z",
    ))  # fmt: skip
    text = page(notebook)
    assert digest in text
    for part in ("code", "data", "parameters", "environment", "randomness", "hardware", "results"):
        assert f"<details><summary>{part}</summary>" in text
    assert text.index("bitwise") < text.index("import</span>") < text.index("stdout: 1 → 2")
    assert "unseeded-randomness" in text
    assert "Seed it." in text
    assert "<script>alert(1)" not in text
    assert not EXTERNAL.search(text)
    assert "default-src 'none'" in text


def test_a_notebook_that_was_never_recorded_is_shown_and_said_to_be(
    notebook: Path, store: Store
) -> None:
    text = page(notebook)
    assert "The store has no record of this notebook." in text
    assert "Training" in text
