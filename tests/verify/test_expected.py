"""One rerun of a notebook that expects something of its metrics."""

from __future__ import annotations

from pathlib import Path

import nbformat
import nbformat.v4 as v4
from click.testing import CliRunner

from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import CellVerdict, Expectation, Results
from mlrepro_nb.verify import sentence, verify
from mlrepro_nb.verify._expected import with_expectations
from tests.records import a_record


def test_a_cell_whose_promise_is_not_kept_differs() -> None:
    kept = Expectation(metric="a", operator=">", limit=0.5, value=0.9, cell=0)
    missed = Expectation(metric="b", operator=">", limit=0.5, problem="it is NaN", cell=1)
    cells = [CellVerdict(index=index, verdict="bitwise") for index in range(2)]
    rerun = a_record(results=Results(expectations=(kept, missed)))
    found, notes = with_expectations(cells, rerun)
    assert [cell.verdict for cell in found] == ["bitwise", "different"]
    assert notes == ("Expected b > 0.5: not met: it is NaN.",)
    failed = [CellVerdict(index=1, verdict="failed")]
    assert with_expectations(failed, rerun)[0] == failed
    assert with_expectations(cells, None) == (cells, ())


def test_record_and_verify_say_what_is_not_as_expected(repository: Path) -> None:
    cells = [v4.new_code_cell(c) for c in ("accuracy = 0.9", "%mlrepro expect accuracy >= 0.93")]
    metadata = {"kernelspec": {"name": "python3", "display_name": ""}}
    nbformat.write(v4.new_notebook(metadata=metadata, cells=cells), repository / "a.ipynb")
    shown = CliRunner().invoke(main, ["record", "a.ipynb", "--no-lock"])
    assert shown.exit_code == 1
    assert "accuracy >= 0.93: not met: it is 0.9" in shown.output
    found = verify(repository / "a.ipynb")
    assert found.verdict == "different"
    assert found.cells[1].detail == "expected accuracy >= 0.93: not met: it is 0.9"
    assert "not reproduced" in sentence(found)
