"""A file that is no notebook is told in one sentence with a remedy."""

import contextlib
import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro_nb.errors import NotebookError
from mlrepro_nb.execute import cell_ids, read_notebook

V4 = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "There is no file"),
        ("", "is empty"),
        ("print(1)", "not JSON"),
        ("[1, 2]", "not a notebook"),
        ('{"a": 1}', "not a notebook"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not text"),
        (json.dumps({"nbformat": 3, "worksheets": 3}), "nbformat 3"),
        (json.dumps({**V4, "nbformat": 9}), "newer Jupyter"),
        (json.dumps({**V4, "nbformat": "4"}), "unreadable nbformat"),
        (json.dumps({**V4, "cells": {}}), "no list of cells"),
        (json.dumps({**V4, "cells": [3]}), "cell 0"),
        (json.dumps({**V4, "cells": [{"cell_type": "code", "source": 4}]}), "cell 0"),
        ("[" * 200_000, "too deeply"),
        ('{\n<<<<<<< HEAD\n"a": 1\n=======\n>>>>>>> b\n}', "merge conflicts"),
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path, content, says):
    path = tmp_path / "x.ipynb"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(NotebookError, match=says) as error:
        read_notebook(path)
    assert error.value.remedy
    assert "\n" not in error.value.message


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(NotebookError, match="folder"):
        read_notebook(tmp_path)


def test_the_remedy_for_nbformat_3_converts_it(tmp_path):
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps({"nbformat": 3, "worksheets": []}))
    with pytest.raises(NotebookError) as error:
        read_notebook(path)
    assert "jupyter nbconvert --to notebook --nbformat 4" in error.value.remedy


def test_older_minors_get_ids_that_stay(tmp_path):
    path = tmp_path / "x.ipynb"
    cell = {"cell_type": "code", "source": ["a\n", "b"], "outputs": [], "metadata": {}}
    path.write_text(json.dumps({**V4, "nbformat_minor": 2, "cells": [cell, cell]}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = read_notebook(path), read_notebook(path)
    assert one.cells[0].source == "a\nb"
    assert [c.id for c in one.cells] == [c.id for c in other.cells]
    assert len({c.id for c in one.cells}) == 2


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["cells", "cell_type", "source", "outputs", "metadata", "data", "tags"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_hostile_cells_never_raise_anything_else(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("n") / "x.ipynb"
    path.write_text(json.dumps({**V4, "cells": value}))
    with contextlib.suppress(NotebookError):
        read_notebook(path)


def test_a_notebook_of_an_older_format_is_upgraded(tmp_path):
    cells = [
        {"cell_type": "heading", "level": 1, "source": ["Old"], "metadata": {}},
        {
            "cell_type": "code", "input": ["a = 1\n", "a"], "language": "python",
            "metadata": {}, "collapsed": False, "prompt_number": 3,
            "outputs": [
                {"output_type": "pyout", "prompt_number": 3, "text": ["1"], "metadata": {}}
            ],
        },
    ]  # fmt: skip
    path = tmp_path / "old.ipynb"
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": "Old"}}
    path.write_text(json.dumps({**old, "worksheets": [{"cells": cells, "metadata": {}}]}))
    nb = read_notebook(path)
    assert [c.cell_type for c in nb.cells] == ["markdown", "code"]
    assert (nb.cells[1].source, nb.cells[1].execution_count) == ("a = 1\na", 3)
    assert nb.cells[1].outputs[0].data == {"text/plain": "1"}
    assert (nb.nbformat, nb.metadata.orig_nbformat) == (4, 3)
    assert [c.id for c in read_notebook(path).cells] == [c.id for c in nb.cells]
    assert cell_ids(path) == (None, None)
