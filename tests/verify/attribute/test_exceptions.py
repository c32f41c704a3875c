"""Why a cell raises that ran before, where nothing but the notebook's file is known."""

import pytest

from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.attribute.exceptions import cause_of_error
from tests.records import a_record


def an_error(ename, evalue, *lines):
    trace = [f"----> {number} {line}" for number, line in enumerate(lines, 1)]
    return {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": trace}


def a_case(folder, *sources, python="3.5.1", printed="1\n"):
    output = [{"output_type": "stream", "name": "stdout", "text": printed}] if printed else []
    cells = {
        index: Seen(index=index, id=None, source=source, reference=output, stored=output,
                    count=index + 1, executed=True, compared=True)
        for index, source in enumerate(sources)
    }  # fmt: skip
    return Case(cells, record=None, rerun=a_record(), root=folder, folder=folder,
                notebook=folder / "a.ipynb", language={"version": python})  # fmt: skip


def named(case, index, error):
    case.cells[index].error = error
    found = cause_of_error(case, index, error)
    return found.kind, found.subject


SYNTAX = an_error("SyntaxError", "'(' was never closed")


@pytest.mark.parametrize(
    ("source", "printed", "kind"),
    [
        ("print(1\nprint(2)", "1\n", "edited-after-run"),
        ("print(1\nprint(2)", "", "exception"),
        ("print(1, async=True)", "1\n", "exception"),
        ("print 1", "1\n", "python2"),
    ],
)
def test_what_cannot_be_parsed_did_not_give_its_output(tmp_path, source, printed, kind):
    case = a_case(tmp_path, source, printed=printed)
    assert named(case, 0, SYNTAX)[0] == kind


ARRAYS = an_error(
    "TypeError", "only 0-dimensional arrays can be converted to Python scalars", "f(row)",
    "float(a)",
)  # fmt: skip


def test_what_compiled_code_refuses_since_it_is_of_today_is_an_api_change(tmp_path):
    sources = ("import numpy as np\nimport pandas as pd", "row = np.ones(1)", "float(row)")
    assert named(a_case(tmp_path, *sources), 2, ARRAYS) == ("api-change", "numpy")
    here = a_record().environment.python
    assert named(a_case(tmp_path, *sources, python=here), 2, ARRAYS)[0] == "exception"


def test_the_library_is_the_one_that_the_failing_line_uses(tmp_path):
    case = a_case(tmp_path, "import numpy as np\nimport torch", "a = np.ones(1)\ntorch.dot(a, a)")
    error = an_error("RuntimeError", "refused", "torch.dot(a, a)")
    assert named(case, 1, error) == ("api-change", "torch")


def test_what_rests_on_a_cell_that_failed_says_nothing_of_a_library(tmp_path):
    case = a_case(tmp_path, "import numpy as np", "row = np.load('x')", "float(row)")
    case.cells[1].error = an_error("RuntimeError", "no")
    assert named(case, 2, ARRAYS)[0] == "exception"


def test_the_class_that_refuses_a_keyword_is_looked_up_in_the_libraries(tmp_path):
    case = a_case(tmp_path, "import pandas as pd", "df.x.astype('category', categories=[1])")
    message = "NDFrame.astype() got an unexpected keyword argument 'categories'"
    found = named(case, 1, an_error("TypeError", message))
    assert found == ("api-change", "NDFrame.astype")


@pytest.mark.parametrize(("ename", "evalue"), [
    ("ValueError", "numpy.dtype size changed, may indicate binary incompatibility. "
                   "Expected 96 from C header, got 88 from PyObject"),
    ("ImportError", "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.6"),
    ("ImportError", "numpy.core.multiarray failed to import"),
    ("AttributeError", "_ARRAY_API not found"),
])  # fmt: skip
def test_a_library_that_was_compiled_for_another_numpy_is_seen(tmp_path, ename, evalue):
    case = a_case(tmp_path, "from demo import thing")
    error = an_error(ename, evalue, "from demo import thing")
    error["traceback"].append("File /x/site-packages/demo/__init__.py:3")
    assert named(case, 0, error) == ("version-drift", "numpy")
    found = cause_of_error(case, 0, error)
    assert "demo, which was compiled for another NumPy" in found.evidence
    assert found.requirement in ("numpy<2", "numpy<3")


def test_a_name_that_nothing_defines_comes_with_the_import_it_had(tmp_path):
    case = a_case(tmp_path, "from json import loads", "dumps(1)")
    error = an_error("NameError", "name 'dumps' is not defined", "dumps(1)")
    assert named(case, 1, error) == ("deleted-definition", "dumps")
    assert "(from json import dumps)" in cause_of_error(case, 1, error).fix
