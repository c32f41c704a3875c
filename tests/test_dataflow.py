"""What a cell defines, uses and takes in: read, never run."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro_nb.dataflow import Flow, read_cell
from mlrepro_nb.verify.attribute.sources import find_sources


def flow(*sources):
    return Flow([read_cell(index, source) for index, source in enumerate(sources)])


def kinds(*sources):
    return [(s.kind, s.cell) for s in find_sources(flow(*sources))]


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_no_source_is_too_odd(source):
    graph = flow(source, "x = 1")
    graph.upstream(0)
    find_sources(graph)


def test_uses_and_definitions():
    cell = read_cell(
        0, "import numpy as np\nx += y\nfor i in z:\n    w[i] = np.abs(i)\n[k for k in q]"
    )
    assert cell.defines == {"np", "x", "i"}
    assert cell.uses == {"x", "y", "z", "w", "q"}
    assert cell.mutates == {"w"}
    assert cell.accumulates >= {"x", "w"}


def test_functions_need_their_names_when_they_are_called():
    graph = flow("def f(a):\n    b = a\n    return b + c", "c = 1", "f(2)")
    assert graph.by_index[0].deferred == {"c"}
    assert graph.upstream(2) == {0, 1, 2}
    assert graph.upstream(0) == {0}


@pytest.mark.parametrize(
    "source",
    [
        "def f(): return base\nr = f()",
        "def g(): return base\ndef f(): return g()\nr = f()",
        "class A:\n    def f(self): return base\nr = A().f()",
        "r = t.apply(lambda v: v * base)",
        "r = sorted(t, key=lambda v: base[v])",
        "f = lambda: base\nr = f()",
        "r = list(map(lambda v: v + base, t))",
        "r = eval('base + 1')",
        "!cat {base} > o.txt",
        "!cat $base > o.txt",
        "t.query('x > @base')",
    ],
)
def test_what_a_cell_calls_needs_its_names_in_that_cell(source):
    assert "base" in read_cell(0, source).uses


@pytest.mark.parametrize(
    "source",
    [
        "def f(): return base",
        "f = lambda: base",
        "class A:\n    def f(self): return base",
        "base = 1\nr = t.apply(lambda v: v * base)",
        "r = t.apply(lambda base: base)",
        "def f():\n    base = 1\n    return base\nr = f()",
    ],
)
def test_what_is_not_called_or_its_own_is_not_needed(source):
    assert "base" not in read_cell(0, source).uses


def test_what_is_given_to_be_filled_is_changed():
    assert read_cell(0, "np.sqrt(x, out=y)").mutates == {"y"}


def test_a_module_is_not_changed_by_calling_its_functions():
    assert read_cell(0, "import numpy as np\nc = np.add(a, b)").mutates == frozenset()
    assert (
        read_cell(0, "import numpy as np\ndef f(a): return np.append(a, 1)").mutates == frozenset()
    )
    graph = flow("import numpy as np\ns = set()", "c = np.add(1, 2)\ns.add(c)", "np.zeros(3)", "s")
    assert [cell.mutates for cell in graph.cells] == [set(), {"s"}, set(), set()]
    assert graph.upstream(2) == {0, 2}
    assert graph.upstream(3) == {0, 1, 3}
    # What a module holds is changed, and so is its generator.
    graph = flow("import random, sys", "sys.path.append('x')", "random.seed(0)", "random.random()")
    assert [cell.mutates for cell in graph.cells] == [set(), {"sys"}, {"random"}, set()]
    assert graph.upstream(3) == {0, 2, 3}
    assert flow("import np", "np = T()", "np.add(1)", "np").upstream(3) == {1, 2, 3}


def test_magics_are_read_through():
    assert read_cell(0, "%%time\ny = x").defines == {"y"}
    assert read_cell(0, "%time y = x").uses == {"x"}
    assert read_cell(0, "%matplotlib inline\nfiles = !ls\ny = x").defines == {"files", "y"}
    assert read_cell(0, "%%bash\nls x").defines == frozenset()
    assert read_cell(0, "x?").tree is not None


def test_slices_follow_the_last_definition_and_all_mutations():
    graph = flow("a = []", "a.append(1)", "a = [2]", "a.append(3)", "print(a)")
    assert graph.upstream(4) == {2, 3, 4}
    assert graph.reaching(4, [0, 4, 2, 1, 3])["a"] == 0


def test_seeds_cover_what_is_drawn_after_them():
    assert kinds("import numpy as np", "np.random.rand()") == [("random", 1)]
    assert kinds("import numpy as np\nnp.random.seed(0)", "np.random.rand()") == []
    assert kinds("import numpy as np\nnp.random.seed()", "np.random.rand()") == [("random", 1)]
    assert kinds("import numpy as np\nrng = np.random.default_rng(3)") == []
    assert kinds("from numpy.random import default_rng\nr = default_rng()") == [("random", 0)]
    assert kinds("from sklearn.cluster import KMeans\nKMeans(3, random_state=1)") == []
    assert kinds("from sklearn.cluster import KMeans\nKMeans(3)") == [("random", 0)]


def test_a_clock_that_only_measures_is_a_timer():
    assert kinds("import time\nt = time.time()", "print(time.time() - t)") == [
        ("timer", 0), ("timer", 1),
    ]  # fmt: skip
    assert kinds("import time\nt = time.time()", "print(t)") == [("clock", 0)]
    assert kinds("from datetime import datetime as d\nprint(d.now())") == [("clock", 0)]


def test_sets_and_listings_count_where_their_order_can_show():
    assert kinds("x = sorted(set(y))\nn = len({1, 2})\n3 in {3}") == []
    assert kinds("for x in set(y):\n    print(x)") == [("hash", 0)]
    assert kinds("import os\nos.listdir('.')") == [("listing", 0)]
    assert kinds("import os\nsorted(os.listdir('.'))") == []
