"""What changed between two records, and nothing else."""

import msgspec

from mlrepro_nb.changes import Change, changes, edited_cell
from mlrepro_nb.model import Code, Distribution, Origin
from tests.records import a_cell, a_record

replace = msgspec.structs.replace


def test_a_record_does_not_differ_from_itself() -> None:
    assert changes(a_record(), a_record()) == ()


def test_when_and_by_whom_is_not_a_change() -> None:
    later = Origin(mode="verify", who="ci", started="2027", ended="2028", tool="mlrepro-nb 9")
    assert changes(a_record(), a_record(lineage=later)) == ()


def test_an_edited_cell_is_shown_with_its_sources() -> None:
    before = a_record(code=Code(notebook="n.ipynb", cells=(a_cell(0, "x = 1"),)))
    after = a_record(code=Code(notebook="n.ipynb", cells=(a_cell(0, "x = 2"),)))
    assert changes(before, after) == (
        Change(part="code", subject="cell 0", before="x = 1", after="x = 2", cell=0),
    )


def test_a_changed_file_names_the_cell_that_reads_it() -> None:
    before = a_record()
    (access,) = before.data
    after = a_record(data=(replace(access, digest=f"blake3:{'ef' * 32}"),))
    (change,) = changes(before, after)
    assert (change.part, change.subject, change.cell) == ("data", "data.csv", 1)


def test_a_distribution_that_nobody_imported_is_marked_as_unused() -> None:
    before = a_record()
    numpy, _ = before.environment.distributions
    after = a_record(
        environment=replace(
            before.environment,
            distributions=(
                replace(numpy, version="2.5.0"),
                Distribution(name="six", version="1.17.0"),
            ),
        )
    )
    assert [(c.subject, c.used) for c in changes(before, after)] == [
        ("numpy", True),
        ("six", False),
    ]


def test_a_metric_that_moved() -> None:
    before = a_record()
    after = a_record(results=replace(before.results, metrics={"accuracy": 0.91}))
    assert [(c.before, c.after) for c in changes(before, after)] == [("0.9", "0.91")]


def test_a_notebook_is_held_against_its_record() -> None:
    cells = (a_cell(0, "x = 1"), a_cell(2, "print(x)"))
    record = a_record(code=Code(notebook="n.ipynb", cells=cells))
    assert edited_cell(record, ["x = 1", "never run", "print(x)"]) is None
    assert edited_cell(record, ["print(x)", "", "x = 1"]) is None, "cells may change places"
    assert edited_cell(record, ["x = 2", "", "print(x)"]) == 0
    assert edited_cell(record, ["x = 1", ""]) == 2, "what is gone is not as it ran"
