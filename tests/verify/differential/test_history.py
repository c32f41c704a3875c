"""What execution counts leave room for is tried, and nothing else."""

from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.compare import compare_cell
from mlrepro_nb.verify.differential import Budget
from mlrepro_nb.verify.differential._history import History


def printed(text):
    return [{"output_type": "stream", "name": "stdout", "text": text}] if text else []


def a_case(folder, *cells):
    """Return a case of cells, each a source, its count, and what is stored and came out."""
    seen = {}
    for index, (source, count, stored, now) in enumerate(cells):
        cell = Seen(index=index, id=None, source=source, reference=printed(stored),
                    stored=printed(stored), count=count, executed=True, compared=True)  # fmt: skip
        cell.outputs = printed(now)
        cell.difference = compare_cell(cell.reference, cell.outputs)
        seen[index] = cell
    return Case(seen, record=None, rerun=None, root=folder, folder=folder,
                notebook=folder / "a.ipynb")  # fmt: skip


def told(case, runs, left=6):
    """Return the orders that were run; `runs` gives what comes out of each."""
    tried, trials = [], []

    def go(held):
        tried.append(held.order)
        return {index: printed(text) for index, text in runs.get(held.order, {}).items()}

    def same(_, one, other):
        return compare_cell(one, other).level != "different"

    History(case, go, same, Budget(left=left), trials).tell()
    return tried, trials


CELLS = (("x = []", 1, "", ""), ("f(x)", 3, "", ""), ("print(x)", 4, "2", "1"))


def test_a_cell_that_gives_what_is_stored_when_it_runs_again_is_named(tmp_path):
    case = a_case(tmp_path, *CELLS)
    tried, trials = told(case, {(0, 1, 1, 2): {2: "2"}})
    assert tried == [(0, 1, 1, 2)]
    assert trials[0].told == (2,)
    (found,) = case.confirmed[2]
    assert (found.kind, found.cell, found.confidence) == ("repeated-execution", 1, "confirmed")


def test_one_that_does_not_is_no_suspect_any_more(tmp_path):
    case = a_case(tmp_path, *CELLS)
    told(case, {(0, 1, 1, 2): {2: "7"}})
    assert not case.confirmed
    assert case.however_often == {2}


def test_the_order_of_the_counts_is_tried_first(tmp_path):
    case = a_case(tmp_path, ("a = 1", 1, "", ""), ("print(a)", 3, "2", "1"), ("g()", 2, "", ""))
    tried, _ = told(case, {(0, 2, 1): {1: "2"}})
    assert tried == [(0, 2, 1)]
    assert (case.confirmed[1][0].kind, case.confirmed[1][0].cell) == ("out-of-order", 1)
    case = a_case(tmp_path, ("a = 1", 1, "", ""), ("print(a)", 3, "2", "1"), ("g()", 2, "", ""))
    told(case, {(0, 2, 1): {1: "1"}})
    assert case.in_any_order == {1}


def test_of_several_the_one_that_does_it_alone_is_named(tmp_path):
    case = a_case(tmp_path, ("x = []", 1, "", ""), ("f(x)", 3, "", ""), ("g(x)", 5, "", ""),
                  ("print(x)", 6, "2", "1"))  # fmt: skip
    runs = {(0, 1, 1, 2, 2, 3): {3: "2"}, (0, 1, 1, 2, 3): {3: "2"}, (0, 1, 2, 2, 3): {3: "1"}}
    told(case, runs)
    assert [found.cell for found in case.confirmed[3]] == [1]


def test_nothing_is_tried_where_counts_tell_nothing(tmp_path):
    for counts in ((1, 2, 3), (None, None, None), (1, 1, 4), (1, 90, 91)):
        cells = [(source, count, *rest) for (source, _, *rest), count in
                 zip(CELLS, counts, strict=True)]  # fmt: skip
        assert told(a_case(tmp_path, *cells), {})[0] == []
    assert told(a_case(tmp_path, *CELLS), {}, left=0)[0] == []


def test_a_cell_without_a_count_is_not_put_down_to_the_order(tmp_path):
    case = a_case(tmp_path, ("a = 1", 3, "", ""), ("b = 1", 2, "", ""), ("print(a)", None, "", "1"))
    tried, _ = told(case, {(1, 0): {}})
    assert tried == []
    assert not case.confirmed
