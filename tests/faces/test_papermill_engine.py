"""`papermill --engine mlrepro`: what papermill does, and a record."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from mlrepro_nb import stamp
from mlrepro_nb.model import Record
from mlrepro_nb.store import Store


def write(path: Path, *sources: str) -> None:
    nb = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    nb.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)


def kept(path: Path, store: Store) -> Record:
    """Return the record that an executed notebook names."""
    named = stamp.read(nbformat.read(path, 4).metadata)
    assert named is not None
    return store.get(Record, named.record)


def test_the_output_is_papermills_and_leads_to_the_record(repository: Path, store: Store) -> None:
    import papermill

    write(repository / "in.ipynb", "rate = 1", "print(rate)", "import os; print(os.getcwd())")
    (repository / "sub").mkdir()
    papermill.execute_notebook(
        "in.ipynb", "out.ipynb", parameters={"rate": 5}, engine_name="mlrepro", cwd="sub",
        progress_bar=False,
    )  # fmt: skip
    out = nbformat.read(repository / "out.ipynb", 4)
    assert out.metadata.papermill.parameters == {"rate": 5}
    assert out.cells[2].outputs[0].text == "5\n"
    assert out.cells[3].outputs[0].text.strip().endswith("/sub")
    record = kept(repository / "out.ipynb", store)
    assert record.code.notebook == "in.ipynb"
    assert record.parameters.papermill == {"rate": 5}
    assert record.results.status == "ok"
    assert [cell.index for cell in record.code.cells] == [0, None, 1, 2]


def test_a_cell_that_raises_ends_it_as_papermill_has_it_and_is_recorded(
    repository: Path, store: Store
) -> None:
    import papermill

    write(repository / "in.ipynb", "x = 1", "1 / 0", "print(2)")
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(
            "in.ipynb", "out.ipynb", engine_name="mlrepro", progress_bar=False
        )
    record = kept(repository / "out.ipynb", store)
    assert record.results.status == "error"
    assert "cell 1: ZeroDivisionError" in (record.results.error or "")
