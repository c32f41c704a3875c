"""Repairs are pure: from a case and its causes to edits, and from edits to a notebook."""

import nbformat.v4 as v4
import pytest

from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.attribute.case import cause
from mlrepro_nb.verify.repair import Edit, applied, propose, source_diff
from mlrepro_nb.verify.repair._apply import origins
from mlrepro_nb.verify.repair._kernel import ported


def case_of(folder, *sources, counts=None):
    cells = {
        index: Seen(
            index=index, id=None, source=source, reference=(), stored=(),
            count=counts[index] if counts else index + 1, executed=True, compared=True,
        )
        for index, source in enumerate(sources)
    }  # fmt: skip
    return Case(
        cells, record=None, rerun=None, root=folder, folder=folder, notebook=folder / "a.ipynb"
    )


def fixed(folder, kind, cell, subject, *sources, counts=None):
    case = case_of(folder, *sources, counts=counts)
    nb = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    proposal = propose(case, [cause(kind, cell, subject, "evidence", "fix")], len(sources))
    made = applied(nb, proposal.edits)
    assert made.cells != nb.cells or not proposal.edits or proposal.edits[0].action == "outputs"
    assert [c.source for c in nb.cells] == list(sources), "the original is not changed"
    assert made == applied(nb, proposal.edits), "the same edits give the same file"
    return [c.source for c in made.cells], proposal


def test_cells_are_put_before_what_needs_them(tmp_path):
    cells, _ = fixed(tmp_path, "out-of-order", 0, "b", "print(b)", "b = a + 1", "a = 1")
    assert cells == ["a = 1", "b = a + 1", "print(b)"]


def test_cells_are_put_into_the_order_in_which_they_ran(tmp_path):
    cells, _ = fixed(
        tmp_path, "out-of-order", 1, "x", "x = 1", "print(x)", "x = 10", counts=[1, 3, 2]
    )
    assert cells == ["x = 1", "x = 10", "print(x)"]


def test_a_library_that_everybody_calls_so_is_imported(tmp_path):
    cells, _ = fixed(tmp_path, "deleted-definition", 0, "np", "print(np.pi)")
    assert cells == ["import numpy as np", "print(np.pi)"]


def test_what_a_package_of_the_notebooks_has_is_imported_from_it_once(tmp_path):
    package = tmp_path / "survival"
    package.mkdir()
    (package / "__init__.py").write_text("from .fitters import Fitter\nraise SystemExit\n")
    (package / "datasets.py").write_text("def load():\n    return Fitter\n")
    sources = ("from survival.datasets import load", "Fitter()", "Fitter()", "load_all()")
    case = case_of(tmp_path, *sources)
    causes = [cause("deleted-definition", cell, name, "evidence", "fix")
              for cell, name in ((1, "Fitter"), (2, "Fitter"), (3, "load_all"))]  # fmt: skip
    proposal = propose(case, causes, len(sources))
    assert [(edit.cell, edit.source) for edit in proposal.edits] == [
        (1, "from survival import Fitter"),
    ]  # fmt: skip
    assert [refusal.cell for refusal in proposal.refused] == [3]


def test_a_name_that_two_packages_have_is_left_to_a_person(tmp_path):
    for name in ("one", "other"):
        (tmp_path / f"{name}.py").write_text("def fit(): ...\n")
    cells, proposal = fixed(tmp_path, "deleted-definition", 1, "fit", "import one, other", "fit()")
    assert cells == ["import one, other", "fit()"]
    assert proposal.refused
    cells, _ = fixed(tmp_path, "deleted-definition", 1, "fit", "import one", "fit()")
    assert cells == ["import one", "from one import fit", "fit()"]


def test_what_no_record_holds_is_left_to_a_person(tmp_path):
    cells, proposal = fixed(tmp_path, "deleted-definition", 0, "vat", "print(vat)")
    assert cells == ["print(vat)"]
    assert proposal.refused[0].why.startswith("No record holds")


def test_generators_are_seeded_in_plain_code(tmp_path):
    cells, _ = fixed(
        tmp_path, "unseeded-randomness", 1, "numpy.Generator",
        "import numpy as np", "rng = np.random.default_rng()\nprint(rng.random())  # é",
    )  # fmt: skip
    assert cells == [
        "import numpy\nnumpy.random.seed(0)",
        "import numpy as np",
        "rng = np.random.default_rng(0)\nprint(rng.random())  # é",
    ]


def test_a_path_of_another_machine_becomes_relative(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("a\n")
    cells, _ = fixed(
        tmp_path, "absolute-path", 0, "/home/al/p/data/x.csv", "open('/home/al/p/data/x.csv')"
    )
    assert cells == ["open('data/x.csv')"]
    cells, _ = fixed(
        tmp_path, "absolute-path", 0, "/home/al/p/data/x.csv",
        "BASE = '/home/al/p'\nopen(BASE + '/data/x.csv')",
    )  # fmt: skip
    assert cells == ["BASE = '.'\nopen(BASE + '/data/x.csv')"]


def test_a_set_is_sorted_where_its_order_shows_only(tmp_path):
    cells, _ = fixed(
        tmp_path, "hash-seed", 0, "set order", "for w in set(words):\n    print(w)\nlen({1, 2})"
    )
    assert cells == ["for w in sorted(set(words), key=str):\n    print(w)\nlen({1, 2})"]
    _, proposal = fixed(tmp_path, "hash-seed", 0, "set order", "seen = set(words)\nprint(seen)")
    assert proposal.refused


def test_a_listing_is_sorted(tmp_path):
    cells, _ = fixed(
        tmp_path, "listing-order", 0, "os.listdir",
        "import os\nprint([f for f in os.listdir('p')])",
    )  # fmt: skip
    assert cells == ["import os\nprint([f for f in sorted(os.listdir('p'))])"]


def test_every_cause_ends_in_an_edit_or_a_reason(tmp_path):
    from mlrepro_nb.model import CAUSES

    for kind in [k for group in CAUSES.values() for k in group]:
        _, proposal = fixed(tmp_path, kind, 0, "x", "x = 1")
        assert proposal.edits or proposal.refused, kind
        assert all(edit.cause == kind for edit in proposal.edits)


def test_the_difference_is_of_sources():
    one = v4.new_notebook(cells=[v4.new_code_cell("a = 1")])
    other = v4.new_notebook(cells=[v4.new_code_cell("a = 2")])
    diff = source_diff(one, other, ("a.ipynb", "b.ipynb"))
    assert "-a = 1\n+a = 2\n" in diff


def test_the_projects_own_package_is_put_on_the_path(tmp_path):
    (tmp_path / "src" / "ours").mkdir(parents=True)
    (tmp_path / "src" / "ours" / "__init__.py").write_text("")
    (tmp_path / "examples").mkdir()
    cells = {0: Seen(index=0, id=None, source="import ours", reference=(), stored=(), count=1,
                     executed=True, compared=True)}  # fmt: skip
    case = Case(cells, record=None, rerun=None, root=tmp_path, folder=tmp_path / "examples",
                notebook=tmp_path / "examples" / "a.ipynb")  # fmt: skip
    told = cause("undeclared-dependency", 0, "ours", "evidence", "fix")
    (edit,) = propose(case, [told], 1).edits
    assert (edit.action, edit.cell) == ("insert", 0)
    assert edit.source == "import sys\nsys.path.insert(0, '../src')"


PYTHON2 = """\
%matplotlib inline
import urllib2
print "n:", 3
files = !ls
for key, value in d.iteritems():
    print key
"""


def test_cells_of_python_2_are_ported(tmp_path):
    cells, _ = fixed(tmp_path, "python2", 0, "syntax", PYTHON2)
    assert cells == [
        "%matplotlib inline\nimport urllib.request, urllib.error, urllib.parse\n"
        'print("n:", 3)\nfiles = !ls\nfor key, value in d.items():\n    print(key)\n'
    ]


@pytest.mark.parametrize(
    ("source", "function", "expected"),
    [
        ("print 'a', 1", False, "print('a', 1)"),
        ("print('a', 1)", True, "print('a', 1)"),
        ("print('a', file=f)", False, "print('a', file=f)"),
        ("%%timeit\nxrange(3)", False, "%%timeit\nrange(3)"),
        ("what is this", False, "what is this"),
    ],
)
def test_what_is_ported_stays_as_it_is_otherwise(source, function, expected):
    assert ported(source, function=function) == expected


def test_the_cells_of_a_copy_are_known_by_where_they_were():
    edits = [
        Edit(cause="a", action="insert", cell=1, source="x", what=""),
        Edit(cause="a", action="order", order=(1, 0, 2), what=""),
    ]
    assert origins(3, edits) == [None, 1, 0, 2]
