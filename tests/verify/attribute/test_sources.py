"""What the source says that a notebook takes in from outside."""

import pytest

from mlrepro_nb.dataflow import Flow, read_cell
from mlrepro_nb.verify.attribute.sources import find_sources
from mlrepro_nb.verify.attribute.spelled import listed_patterns, written_files


def flow(*cells):
    return Flow([read_cell(index, source) for index, source in enumerate(cells)])


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ("import glob\nglob.glob('a/*.csv')", "a/*.csv"),
        ("from glob import iglob as g\nDATA = '/mnt/x'\nlist(g(DATA + '/*.csv'))", "/mnt/x/*.csv"),
        ("import os\nos.listdir(os.path.join('a', 'b'))", "a/b/*"),
        ("from pathlib import Path\nB = Path('a')\nlist((B / 'b').rglob('*.p'))", "a/b/**/*.p"),
        ("from pathlib import Path\nd = 'x'\nlist(Path(f'a/{d}').iterdir())", "a/x/*"),
    ],
)  # fmt: skip
def test_the_files_that_a_cell_lists_are_spelled_by_its_source(source, pattern):
    made = flow(source)
    assert listed_patterns(made.cells[0], made) == [pattern]


@pytest.mark.parametrize(
    "source",
    [
        "import glob, sys\nglob.glob(sys.argv[1])",
        "import os\nfor d in ('a', 'b'):\n    os.listdir(d)",
        "import os\np = 'a'\np = p + 'b'\nos.listdir(p)",
        "from pathlib import Path\nlist(Path.home().glob('*'))",
    ],
)
def test_a_pattern_that_the_source_does_not_spell_is_none(source):
    made = flow(source)
    assert listed_patterns(made.cells[0], made) == []


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import time\nt = time.time()\nprint(time.time() - t)", "timer"),
        ("import time\ndef since(t):\n    return time.time() - t", "timer"),
        ("import time\nprint(time.time() - time.time())", "timer"),
        ("from datetime import date\nprint(date.today() - date(2024, 1, 15))", "clock"),
        ("from datetime import date\nborn = date(1990, 1, 1)\nprint(date.today() - born)", "clock"),
        ("import pandas as pd\npd.Timestamp.now() - pd.Timedelta(days=7)", "clock"),
        ("import time\nprint(time.time() - 3600)", "clock"),
    ],
)  # fmt: skip
def test_a_clock_behind_a_fixed_date_measures_no_time(source, kind):
    kinds = {found.kind for found in find_sources(flow(*source.split("\n", 1)))}
    assert kinds == {kind}


def test_what_a_person_or_a_machine_gives_is_a_source():
    made = flow(
        "import ipywidgets as w, os\nk = w.IntSlider(3)",
        "n = k.value",
        "k.value = 4\nos.cpu_count()",
    )
    assert [(s.kind, s.cell, s.subject) for s in find_sources(made)] == [
        ("widget", 1, "k"), ("machine", 2, "os.cpu_count"),
    ]  # fmt: skip


def test_what_a_query_names_is_used():
    made = flow("least = 3", "df.query('a > @least and b < @most')")
    assert made.upstream(1) == {0, 1}
    assert {"least", "most"} <= made.cells[1].uses


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("df.to_csv('a.csv', index=False)", {"a.csv"}),
        ("OUT = 'out'\ndf.to_csv(f'{OUT}/a.csv')", {"out/a.csv"}),
        ("open('a.txt', 'w').write('b.txt')", {"a.txt", "b.txt"}),
        ("open('a.txt').read()\ngzip.open('waxed.gz')", set()),
        ("gzip.open('a.gz', 'wt')\nh5py.File('a.h5', mode='r+')", {"a.gz", "a.h5"}),
        ("with pd.ExcelWriter('a.xlsx') as w:\n    df.to_excel(w)", {"a.xlsx"}),
        ("joblib.dump(model, 'm.pkl')", {"m.pkl"}),
        ("from pathlib import Path\np = Path('o') / 'a.txt'\np.write_text('b.txt')", {"o/a.txt"}),
        ("from pathlib import Path\nPath('a.log').open('a')\nPath('b.log').open()", {"a.log"}),
        ("pd.read_csv('a.csv')\nPath('b.txt').read_text()", set()),
    ],
)
def test_files_that_a_cell_writes(source, paths):
    made = Flow([read_cell(0, source)])
    assert written_files(made.cells[0], made) == paths
