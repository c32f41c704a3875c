# ruff: noqa: E501 - cells are told in one line
"""Notebooks with one planted fault each, and harmless ones: the data of the corpus.

A case says which cells the file holds, what really ran for its reference, and
what became of the project afterwards. The references are made by running.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PENGUINS = "species,bill,mass\n" + "".join(
    f"{('adelie', 'gentoo', 'chinstrap')[i % 3]},{38 + (i * 7) % 13 + i / 10:.1f},{3300 + i * 41}\n"
    for i in range(40)
)
SALES = "day,units,price\n" + "".join(f"{i},{(i * 13) % 29},{2 + i % 5}.5\n" for i in range(1, 25))
IMPORTS = "import numpy as np\nimport pandas as pd"


@dataclass
class Fault:
    """A notebook and what became of it."""

    name: str
    cells: list[str]
    """As the file holds them."""
    expect: tuple[str, int | None] | None
    """The cause and the cell to blame; None: it reproduces."""
    ran: list[tuple[int | None, str]] | None = None
    """What ran for the reference, in order: index in the file (or None) and source."""
    files: dict[str, str] = field(default_factory=dict)
    after: dict[str, str | None] = field(default_factory=dict)
    """Files as they are at the time of the rerun; None: deleted."""
    prelude: str = ""
    """Run in the reference's kernel first: what only that machine had."""
    edit: Callable[[dict], None] | None = None
    """Done to the stored notebook."""
    counts: bool = True
    recorded: bool = False
    """The reference is a record of the file as in `before`."""
    before: dict[int, str] = field(default_factory=dict)
    """With `recorded`: the sources that the cells had."""
    verdicts: tuple[str, ...] = ()
    also: tuple[tuple[str, int | None], ...] = ()
    """Further causes that are named."""
    slow: bool = False
    """Left to the benchmark: it takes many reruns."""


def order(cells: list[str], *indices: int) -> list[tuple[int | None, str]]:
    return [(index, cells[index]) for index in indices]


def replace(index: int, old: str, new: str) -> Callable[[dict], None]:
    def edit(nb: dict) -> None:
        changed = 0
        for output in nb["cells"][index]["outputs"]:
            if "text" in output and old in output["text"]:
                output["text"] = output["text"].replace(old, new)
                changed += 1
            for mime, value in (output.get("data") or {}).items():
                if isinstance(value, str) and old in value:
                    output["data"][mime] = value.replace(old, new)
                    changed += 1
        assert changed, f"{old!r} is not in the outputs of cell {index}: {nb['cells'][index]}"

    return edit


def a_day_before(index: int) -> Callable[[dict], None]:
    def edit(nb: dict) -> None:
        (output,) = nb["cells"][index]["outputs"]
        output["text"] = f"{float(output['text']) - 86_400}\n"

    return edit


def in_another_zone(index: int) -> Callable[[dict], None]:
    def moved(match: re.Match[str]) -> str:
        minutes = 60 * int(match[1]) + int(match[2]) + 330
        return f"{minutes // 60 % 24:02}:{minutes % 60:02}"

    def edit(nb: dict) -> None:
        (output,) = nb["cells"][index]["outputs"]
        output["text"] = re.sub(r"(\d\d):(\d\d)", moved, output["text"])

    return edit


def only(mime: str, index: int, old: str, new: str) -> Callable[[dict], None]:
    def edit(nb: dict) -> None:
        data = nb["cells"][index]["outputs"][0]["data"]
        assert old in data[mime]
        data[mime] = data[mime].replace(old, new)

    return edit


TRAIN = [
    IMPORTS,
    "df = pd.read_csv('penguins.csv')\ndf.describe()",
    "heavy = df[df.mass > df.mass.quantile(0.6)]\nprint(len(heavy), heavy.bill.mean())",
    "slope, offset = np.polyfit(df.bill, df.mass, 1)\n"
    "residual = df.mass - (slope * df.bill + offset)\n"
    "print('R2', round(1 - residual.var() / df.mass.var(), 6))",
    "df.groupby('species').mass.agg(['mean', 'max'])",
]
DATA = {"penguins.csv": PENGUINS, "sales.csv": SALES}


def build() -> list[Fault]:
    """Return the corpus."""
    faults: list[Fault] = []

    def add(name: str, cells: list[str], expect: tuple[str, int | None] | None, **more) -> None:
        more.setdefault("files", DATA)
        faults.append(Fault(name=name, cells=cells, expect=expect, **more))

    # --- out-of-order
    cells = [IMPORTS, "print(total * rate)", "total = 120\nrate = 1.19"]
    add("out-of-order/defined-below", cells, ("out-of-order", 1), ran=order(cells, 0, 2, 1))
    cells = ["x = 1", "print('x is', x)", "x = 10", "print(x + 1)"]
    add("out-of-order/redefined-below", cells, ("out-of-order", 1), ran=order(cells, 0, 2, 1, 3))
    cells = [IMPORTS, "df = pd.read_csv('sales.csv')", "df.head(3)", "df['units'] = df.units * 100",
             "print(df.units.sum())"]  # fmt: skip
    add("out-of-order/mutated-below", cells, ("out-of-order", 2), ran=order(cells, 0, 1, 3, 2, 4))
    cells = [IMPORTS, "print(score(3))", "def score(v):\n    return v * weight", "weight = 2.5"]
    add("out-of-order/function-below", cells, ("out-of-order", 1), ran=order(cells, 0, 2, 3, 1))

    cells = ["import numpy as np", "shares = np.array([0.84498331, 0.51624532])", "print(shares)",
             "np.set_printoptions(precision=3)", "print(shares * 2)"]  # fmt: skip
    add("out-of-order/setting-below", cells, ("out-of-order", 2), ran=order(cells, 0, 1, 3, 2, 4))
    cells = ["calls = 0", "def step():\n    global calls\n    calls += 1\n    return calls",
             "print('calls', calls)", "step(); step()\nprint('done')"]  # fmt: skip
    add("out-of-order/global-of-a-function", cells, ("out-of-order", 2),
        ran=order(cells, 0, 1, 3, 2))  # fmt: skip

    # --- cells that ran again: what they change is not seen in their source
    account = ("class Account:\n    def __init__(self):\n        self.total = 100\n"
               "    def draw(self, n):\n        self.total -= n\n        return self")  # fmt: skip
    cells = [account, "account = Account()", "account.draw(30)\nprint('drawn')",
             "print(account.total)"]  # fmt: skip
    add("repeated-execution/own-method", cells, ("repeated-execution", 2),
        ran=order(cells, 0, 1, 2, 2, 3))  # fmt: skip
    cells = ["import itertools", "numbers = itertools.count()",
             "some = list(itertools.islice(numbers, 3))", "print(some)"]  # fmt: skip
    add("repeated-execution/iterator", cells, ("repeated-execution", 2),
        ran=order(cells, 0, 1, 2, 2, 3))  # fmt: skip
    cells = ["from pathlib import Path\nlog = Path('log.txt')\nlog.write_text('')",
             "with log.open('a') as file:\n    _ = file.write('seen\\n')", "print(log.read_text())"]  # fmt: skip
    add("repeated-execution/file", cells, ("repeated-execution", 1), ran=order(cells, 0, 1, 1, 2))
    cells = [IMPORTS, "df = pd.read_csv('sales.csv')", "rng = np.random.default_rng(3)",
             "rows = rng.choice(df.units, 4)", "print(rows, rng.integers(100))"]  # fmt: skip
    add("shifted-stream/generator-object", cells, ("shifted-stream", 3),
        ran=order(cells, 0, 1, 2, 3, 3, 4))  # fmt: skip

    # --- something else is the cause, and an execution is missing all the same
    cells = [IMPORTS, "df = pd.read_csv('sales.csv')", "df['revenue'] = df.units * df.price",
             "print(df.revenue.sum())"]  # fmt: skip
    scratch = [(0, cells[0]), (1, cells[1]), (None, "df.head()"), (2, cells[2]), (3, cells[3])]
    add("changed-data/beside-a-gap", cells, ("changed-data", 1), ran=scratch,
        after={"sales.csv": SALES.replace("\n1,13,", "\n1,14,")})  # fmt: skip
    add("edited-output/beside-a-gap", cells, ("edited-output", 3), ran=scratch,
        edit=replace(3, "1", "7"))  # fmt: skip
    cells = ["import os", "top = int(os.environ.get('TOP_ROWS', '5'))", "rows = []",
             "for i in range(top):\n    rows.append(i)", "print(rows)"]  # fmt: skip
    add("environment-variable/beside-a-gap", cells, ("environment-variable", 1),
        prelude="import os; os.environ['TOP_ROWS'] = '3'",
        ran=[*order(cells, 0, 1, 2), (None, "1 + 1"), *order(cells, 3, 4)])  # fmt: skip

    # --- the same values, shown otherwise
    cells = [IMPORTS, "df = pd.read_csv('sales.csv')", "df.price.describe()"]
    add("deleted-definition/setting", cells, ("deleted-definition", 2),
        ran=[*order(cells, 0, 1), (None, "pd.set_option('display.precision', 2)"), (2, cells[2])])  # fmt: skip
    add("version-drift/words-of-a-type", [IMPORTS, "df = pd.read_csv('sales.csv')", "df.dtypes"],
        ("version-drift", 2), edit=replace(2, "units      int64", "units      Int64"))  # fmt: skip
    cells = ["from IPython.display import Markdown\nimport pandas as pd",
             "total = pd.read_csv('sales.csv').units.sum()", "Markdown(f'Total **{total}**')"]  # fmt: skip
    add("changed-data/markdown", cells, ("changed-data", 1),
        after={"sales.csv": SALES.replace("\n1,13,", "\n1,14,")})  # fmt: skip
    # A file is a definition, too.
    cells = ["from pathlib import Path", "rate = float(Path('rate.txt').read_text())\nprint(rate * 3)",
             "Path('rate.txt').write_text('2.5')"]  # fmt: skip
    add("out-of-order/file-made-below", cells, ("out-of-order", 1), ran=order(cells, 0, 2, 1),
        after={"rate.txt": None})  # fmt: skip
    add("missing-file/made-anew-below", cells, ("missing-file", 1), files={"rate.txt": "2.5"},
        after={"rate.txt": None})  # fmt: skip
    cells = ["import nonesuch_engine", "nonesuch_engine.go()\nopen('report.txt', 'w').write('5')",
             "back = open('report.txt').read()\nprint(back)", "print(back * 2)"]  # fmt: skip
    add("undeclared-dependency/of-a-file-s-maker", cells, ("undeclared-dependency", 0), after={"report.txt": None},
        prelude="import sys; sys.modules['nonesuch_engine'] = m = type(sys)('nonesuch_engine'); m.go = print")  # fmt: skip

    # --- deleted-definition
    cells = [IMPORTS, "df = pd.read_csv('sales.csv')", "print(df.units.sum() * vat)"]
    add("deleted-definition/constant", cells, ("deleted-definition", 2),
        ran=[(0, cells[0]), (1, cells[1]), (None, "vat = 1.19"), (2, cells[2])])  # fmt: skip
    cells = ["values = [3, 1, 2]", "print(clean(values))"]
    add("deleted-definition/function", cells, ("deleted-definition", 1),
        ran=[(0, cells[0]), (None, "def clean(v):\n    return sorted(v)"), (1, cells[1])])  # fmt: skip
    model = (
        "class NotFittedError(ValueError):\n    pass\nclass Model:\n    rate = None\n    def fit(self, rate):\n"
        "        self.rate = rate\n    def predict(self, x):\n        if self.rate is None:\n"
        "            raise NotFittedError('This Model instance is not fitted yet')\n        return x * self.rate"
    )
    cells = [model, "model = Model()", "print(model.predict(3))"]
    add("deleted-definition/fit", cells, ("deleted-definition", 2),
        ran=[(0, cells[0]), (1, cells[1]), (None, "model.fit(2)"), (2, cells[2])])  # fmt: skip
    add("exception/never-fitted", cells, ("exception", 2),
        ran=[(0, cells[0]), (1, cells[1]), (2, "print(6)")])  # fmt: skip
    cells = [
        "import sqlite3",
        "db = sqlite3.connect(':memory:')",
        "print(db.execute('select count(*) from t').fetchall())",
    ]
    add("deleted-definition/table", cells, ("deleted-definition", 2),
        ran=[(0, cells[0]), (1, cells[1]), (None, "_ = db.execute('create table t (a)')"), (2, cells[2])])  # fmt: skip
    cells = ["data = [2.0, 3.5]", "print(np.sum(data))"]
    add(
        "startup-state/by-gapless-counts", cells, ("startup-state", 1), prelude="import numpy as np"
    )
    cells = ["data = [2.0, 3.5]", "print(sum(data) * vat)"]
    add("deleted-definition/edited-out", cells, ("deleted-definition", 1),
        ran=[(0, "data = [2.0, 3.5]\nvat = 1.19"), (1, cells[1])])  # fmt: skip
    cells = ["print(np.arange(4).sum())"]
    add("deleted-definition/import", cells, ("deleted-definition", 0),
        ran=[(None, "import numpy as np"), (0, cells[0])])  # fmt: skip

    # --- edited-after-run
    cells = ["threshold = 3", IMPORTS, "a = np.arange(10)\nprint((a > threshold).sum())",
             "print('mean', a[a > threshold].mean())"]  # fmt: skip
    add("edited-after-run/constant", cells, ("edited-after-run", 0),
        ran=[(0, "threshold = 5"), *order(cells, 1, 2, 3)])  # fmt: skip
    cells = list(TRAIN)
    old = cells[2].replace("0.6", "0.8")
    add("edited-after-run/method", cells, ("edited-after-run", 2),
        ran=[*order(cells, 0, 1), (2, old), *order(cells, 3, 4)])  # fmt: skip
    add("edited-after-run/recorded", list(TRAIN), ("edited-after-run", 2), recorded=True,
        before={2: TRAIN[2].replace("0.6", "0.8")})  # fmt: skip
    cells = ["k = 4", "y = k * 2\nprint(y)"]
    add("edited-after-run/ran-again", cells, ("edited-after-run", 0),
        ran=[(None, "k = 3"), (1, cells[1]), (0, cells[0])])  # fmt: skip

    # --- edited-output
    cells = [IMPORTS, "df = pd.read_csv('sales.csv')", "revenue = (df.units * df.price).sum()",
             "print('revenue', revenue)", "print('per day', revenue / len(df))"]  # fmt: skip
    add(
        "edited-output/stdout",
        cells,
        ("edited-output", 3),
        edit=replace(3, "revenue 1", "revenue 9"),
    )
    add("edited-output/recorded", list(TRAIN), ("edited-output", 3), recorded=True,
        edit=replace(3, "R2 0", "R2 1"))  # fmt: skip
    add("edited-output/html-only", list(TRAIN), ("edited-output", 4),
        edit=only("text/html", 4, "4899", "5899"))  # fmt: skip

    # --- missing-file
    add("missing-file/csv", list(TRAIN), ("missing-file", 1), after={"penguins.csv": None})
    cells = [
        "from pathlib import Path",
        "text = Path('notes/readme.txt').read_text()",
        "print(len(text))",
    ]
    add("missing-file/pathlib", cells, ("missing-file", 1),
        files={"notes/readme.txt": "hello\n"}, after={"notes/readme.txt": None})  # fmt: skip
    cells = [
        "import json",
        "with open('config.json') as f:\n    config = json.load(f)",
        "print(config['a'])",
    ]
    add("missing-file/recorded", cells, ("missing-file", 1), files={"config.json": '{"a": 1}'},
        after={"config.json": None}, recorded=True)  # fmt: skip
    cells = ["import numpy as np",
             "w = np.load('weights.npy')\nprint(w.sum())"]  # fmt: skip
    add("missing-file/numpy", cells, ("missing-file", 1),
        prelude="import numpy; numpy.save('weights.npy', numpy.arange(3))",
        after={"weights.npy": None})  # fmt: skip

    cells = ["!head -3 penguins.csv", "print('rows are shown above')"]
    add("missing-file/shell", cells, ("missing-file", 0), after={"penguins.csv": None})

    # --- changed-data
    changed = PENGUINS.replace("3300", "3301", 1)
    add("changed-data/one-byte", list(TRAIN), ("changed-data", 1), recorded=True,
        after={"penguins.csv": changed})  # fmt: skip
    cells = ["import json", "config = json.load(open('config.json'))", "print(config['rate'] * 3)"]
    add("changed-data/json", cells, ("changed-data", 1), files={"config.json": '{"rate": 2}'},
        after={"config.json": '{"rate": 5}'}, recorded=True)  # fmt: skip
    add("changed-data/never-recorded", list(TRAIN), ("changed-data", 1),
        after={"penguins.csv": changed})  # fmt: skip
    cells = [IMPORTS, "DATA = 'sales.csv'", "df = pd.read_csv(DATA)", "print(df.units.sum())"]
    add("changed-data/rows-gone", cells, ("changed-data", 2), recorded=True,
        after={"sales.csv": "\n".join(SALES.splitlines()[:-5]) + "\n"})  # fmt: skip

    # Of a notebook that was run from the top one cell ran again later, in another kernel: its
    # count says that it saw the later values, its output that it did not.
    cells = ["values = [1, 2, 3]", "total = sum(values)\nprint('total', total)", "values = [4, 5]",
             "print(total + len(open('penguins.csv').read()))"]  # fmt: skip
    add("changed-data/counts-of-two-kernels", cells, ("changed-data", 3),
        edit=lambda nb: [c.update(execution_count=n) for c, n in zip(nb["cells"], (1, 3, 2, 4))],  # noqa: B905
        after={"penguins.csv": PENGUINS + "adelie,40.1,3400\n"})  # fmt: skip

    # Paths that no literal spells, files that a module opens, what a listing finds anew.
    cells = ["year = 2023\nfolder = 'data'", "text = open(f'{folder}/sales_{year}.csv').read()",
             "print(text.split())"]  # fmt: skip
    add("changed-data/path-put-together", cells, ("changed-data", 1),
        files={"data/sales_2023.csv": "1\n2\n"}, after={"data/sales_2023.csv": "1\n3\n"})  # fmt: skip
    cells = ["import rawrows", "rows = rawrows.get()", "print(rows)"]
    add("changed-data/read-in-a-module", cells, ("changed-data", 1), after={"raw.txt": "5 6\n"},
        files={"rawrows.py": "def get():\n    return open('raw.txt').read().split()\n", "raw.txt": "5\n"})  # fmt: skip
    months = {"months/feb.txt": "3\n", "months/jan.txt": "1\n"}
    listing = ["from pathlib import Path", "files = sorted(Path('months').glob('*.txt'))\nprint([f.stem for f in files])",
               "print(sum(int(f.read_text()) for f in files))"]  # fmt: skip
    add("changed-data/listed-anew", listing, ("changed-data", 1), files=months,
        after={"months/mar.txt": "9\n"})  # fmt: skip
    add("benign/listed-beside", listing, None, files=months, after={"months/mar.csv": "9\n"})
    add("changed-data/listed-anew-recorded", listing, ("changed-data", 1), files=months,
        after={"months/mar.txt": "9\n"}, recorded=True)  # fmt: skip
    add("missing-file/listed-recorded", listing, ("missing-file", 1), files=months,
        after={"months/jan.txt": None}, recorded=True)  # fmt: skip
    cells = ["from pathlib import Path", "known = Path('known.txt')\n"
             "value = known.read_text() if known.exists() else '10'\nknown.write_text(value)", "print(value)"]  # fmt: skip
    add("missing-file/with-a-default", cells, ("missing-file", 1), files={"known.txt": "7"},
        after={"known.txt": None}, recorded=True)  # fmt: skip
    cells = ["from pathlib import Path", "part = Path('part.txt')\npart.write_text('7')\nvalue = part.read_text()\npart.unlink()",
             "print(value)", "rate = 2", "print(rate * 3.5, value)"]  # fmt: skip
    add("benign/made-and-taken-away", cells, None, files={}, recorded=True)
    add("edited-after-run/beside-a-file-taken-away", cells, ("edited-after-run", 3), files={},
        recorded=True, before={3: "rate = 3"})  # fmt: skip
    add("benign/listed-beside-recorded", listing, None, files=months, recorded=True,
        after={"months/mar.csv": "9\n"})  # fmt: skip
    cells = [*listing, "rate = 2", "print(rate * 3.5)"]
    add("edited-after-run/beside-what-is-listed-anew", cells, ("edited-after-run", 3), files=months,
        after={"months/apr.csv": "9\n", "helpers.py": "A = 1\n"},
        ran=[*enumerate(cells[:3]), (3, "rate = 3"), (4, cells[4])])  # fmt: skip

    # --- absolute-path
    cells = [IMPORTS, "df = pd.read_csv('/home/alice/project/penguins.csv')", "print(len(df))"]
    alice = (
        "import pandas\n_r = pandas.read_csv\npandas.read_csv = lambda p: _r(p.rpartition('/')[2])"
    )
    add("absolute-path/home", cells, ("absolute-path", 1), prelude=alice)
    cells = [
        IMPORTS,
        r"df = pd.read_csv('C:\\Users\\bob\\Desktop\\penguins.csv')",
        "print(len(df))",
    ]
    add("absolute-path/windows", cells, ("absolute-path", 1), prelude=alice.replace("'/'", r"'\\'"))
    cells = [
        IMPORTS,
        "BASE = '/Users/carol/work'",
        "df = pd.read_csv(BASE + '/penguins.csv')",
        "print(len(df))",
    ]
    add("absolute-path/joined", cells, ("absolute-path", 1), prelude=alice)
    cells = ["import os\nos.chdir('/home/dave/analysis')", "print(open('sales.csv').readline())"]
    add(
        "absolute-path/chdir",
        cells,
        ("absolute-path", 0),
        prelude="import os; os.chdir = lambda p: None",
    )

    # --- columns, and what else a cell makes of what it did not define
    read = "df = pd.read_csv('penguins.csv')"
    ratio = "df['ratio'] = df.mass / df.bill"
    cells = [IMPORTS, read, "print(round(df.ratio.mean(), 3))", ratio]
    add("out-of-order/column-attribute", cells, ("out-of-order", 2), ran=order(cells, 0, 1, 3, 2))
    cells = [IMPORTS, read, "df.groupby('species').ratio.mean().round(3)", ratio]
    add("out-of-order/column-of-groups", cells, ("out-of-order", 2), ran=order(cells, 0, 1, 3, 2))
    cells = ["class Net:\n    depth = 3\nnet = Net()", "print(net.size())",
             "def size(self):\n    return self.depth ** 2\nNet.size = size"]  # fmt: skip
    add("out-of-order/method", cells, ("out-of-order", 1), ran=order(cells, 0, 2, 1))
    for name, shown in (("column-key", "df['ratio']"), ("column-attribute", "df.ratio")):
        cells = [IMPORTS, read, f"print(round({shown}.mean(), 3))"]
        add(f"deleted-definition/{name}", cells, ("deleted-definition", 2),
            ran=[(0, cells[0]), (1, cells[1]), (None, ratio), (2, cells[2])])  # fmt: skip
    cells = ["import os\nfrom dotenv import load_dotenv\n_ = load_dotenv('.env')",
             "print(len(os.environ['PLACE']))"]  # fmt: skip
    add(
        "changed-data/of-secrets",
        cells,
        ("changed-data", 0),
        recorded=True,
        files={".env": "PLACE=here\n"},
        after={".env": "PLACE=elsewhere\n"},
    )
    add("changed-data/column-gone", [IMPORTS, read, "print(df.mass.mean())"], ("changed-data", 1),
        after={"penguins.csv": "species,bill,weight\nadelie,39,3000\n"})  # fmt: skip

    cells = ["from helpers import clean", "print(clean(' a '))"]
    before = {"helpers.py": "def clean(s):\n    return s.strip()\n"}
    add("local-edit/name-gone", cells, ("local-edit", 0), files=before,
        after={"helpers.py": "def tidy(s):\n    return s.strip()\n"})  # fmt: skip
    cells = ["import helpers", "print(1)", "print(helpers.clean(' a '))"]
    spread = "def spread(x):\n    return max(x) - {}\n"
    cells = [
        "from spreading import spread",
        "values = [3, 9, 4]",
        "print(spread(values))",
        "print(len(values))",
    ]
    add("local-edit/module-of-a-package", cells, ("local-edit", 0),
        files={"spreading/__init__.py": "from .stats import spread\n", "spreading/stats.py": spread.format("min(x)")},
        after={"spreading/stats.py": spread.format("2")})  # fmt: skip
    outside = [
        "import sys\nsys.path.insert(0, '../lib')\nimport afar",
        "print(afar.spread([3, 9]))",
    ]
    add("local-edit/outside-of-the-project", outside, ("local-edit", 0), recorded=True,
        files={"../lib/afar.py": spread.format("1")}, after={"../lib/afar.py": spread.format("2")})  # fmt: skip
    add("local-edit/of-a-package-recorded", cells, ("local-edit", 0), recorded=True,
        files={"spreading/__init__.py": "from .stats import spread\n", "spreading/stats.py": spread.format("min(x)")},
        after={"spreading/stats.py": spread.format("2")})  # fmt: skip
    cells = [
        "import sys\nsys.path.insert(0, 'src')\nimport srcfeatures",
        "print(srcfeatures.spread([3, 9]))",
    ]
    add("local-edit/src-layout", cells, ("local-edit", 0), files={"src/srcfeatures.py": spread.format("1")},
        after={"src/srcfeatures.py": spread.format("2")})  # fmt: skip
    cells = ["import helpers", "print(1)", "print(helpers.clean(' a '))"]
    add("local-edit/attribute-gone", cells, ("local-edit", 0), files=before,
        after={"helpers.py": "def tidy(s):\n    return s.strip()\n"})  # fmt: skip

    # --- keywords and behaviour that libraries dropped; the stored outputs are of their time
    for name, source, pre in (
        (
            "keyword-of-a-function",
            "pd.read_csv('penguins.csv', error_bad_lines=False).head(2)",
            "import pandas as pd; _r = pd.read_csv; "
            "pd.read_csv = lambda p, error_bad_lines=True, **k: _r(p, **k)",
        ),
        (
            "numbers-alone",
            "pd.read_csv('penguins.csv').assign(sex='m').groupby('species').mean()",
            "import pandas as pd; _r = pd.read_csv\n"
            "class Frame(pd.DataFrame):\n"
            "    _constructor = property(lambda s: Frame)\n"
            "    def groupby(self, by): return super().groupby(by)[['bill', 'mass']]\n"
            "pd.read_csv = lambda p: Frame(_r(p))",
        ),
    ):
        cells = ["import pandas as pd", source]
        add(f"api-change/{name}", cells, ("api-change", 1), prelude=pre)

    # --- undeclared-dependency
    stub = ("import sys, types\nfor _n in ('catboost', 'Bio', 'skimage', 'skimage.filters'):\n"
            "    sys.modules[_n] = types.ModuleType(_n)\nsys.modules['Bio'].__version__ = '4'\n"
            "sys.modules['skimage.filters'].sobel = abs\nsys.modules['catboost'].CatBoostClassifier = dict")  # fmt: skip
    cells = [
        IMPORTS,
        "from catboost import CatBoostClassifier\nclf = CatBoostClassifier(depth=3)",
        "print(clf)",
    ]
    add("undeclared-dependency/catboost", cells, ("undeclared-dependency", 1), prelude=stub)
    colab = ("import sys, types\nfor _n in ('google', 'google.colab'):\n"
             "    sys.modules[_n] = types.ModuleType(_n)\nsys.modules['google.colab'].drive = len")  # fmt: skip
    add("undeclared-dependency/of-a-namespace", ["from google.colab import drive", "print(1)"],
        ("undeclared-dependency", 0), prelude=colab)  # fmt: skip
    add("undeclared-dependency/other-name", ["import Bio", "print(Bio.__version__)"],
        ("undeclared-dependency", 0), prelude=stub)  # fmt: skip
    add("undeclared-dependency/submodule", ["x = -2", "from skimage.filters import sobel\nprint(sobel(x))"],
        ("undeclared-dependency", 1), prelude=stub)  # fmt: skip

    magic = (
        "from IPython.core.magic import register_line_magic\n\n"
        "def load_ipython_extension(shell):\n"
        "    @register_line_magic\n    def stopwatch(line):\n        print('stopped at', line)\n"
    )
    add("undeclared-dependency/extension", ["%load_ext stopwatch", "%stopwatch 3", "print(1)"],
        ("undeclared-dependency", 0), files={"stopwatch.py": magic},
        after={"stopwatch.py": None})  # fmt: skip

    # --- unseeded-randomness
    # What is shown of a draw must have so many values that two runs never agree by chance.
    cells = [IMPORTS, "x = np.random.rand(5)", "print(x.mean())", "print(len(x))"]
    add("unseeded-randomness/numpy", cells, ("unseeded-randomness", 1))
    cells = ["import random", "deck = list(range(52))\nrandom.shuffle(deck)", "print(deck[:5])"]
    add("unseeded-randomness/random", cells, ("unseeded-randomness", 1))
    cells = ["import numpy as np", "rng = np.random.default_rng()", "print(rng.normal(size=3))"]
    add("unseeded-randomness/default-rng", cells, ("unseeded-randomness", 1))
    cells = [IMPORTS + "\nfrom sklearn.model_selection import train_test_split",
             "df = pd.read_csv('penguins.csv')",
             "train, test = train_test_split(df, test_size=0.3)",
             "print('test rows', test.index.tolist())", "print(len(train), len(test))"]  # fmt: skip
    add("unseeded-randomness/split", cells, ("unseeded-randomness", 2))
    cells = [IMPORTS, "df = pd.read_csv('penguins.csv')", "df.sample(3)"]
    add("unseeded-randomness/sample-recorded", cells, ("unseeded-randomness", 2), recorded=True)

    drawing = "import random\ndef draw(_): return random.random()\n"
    cells = [
        "from concurrent.futures import ProcessPoolExecutor\nfrom drawing import draw",
        "with ProcessPoolExecutor(2) as pool: x = sum(pool.map(draw, range(4)))",
        "print(x)",
    ]
    add("unseeded-randomness/worker", cells, ("unseeded-randomness", 1),
        files={"drawing.py": drawing})  # fmt: skip

    # Runs agree nearly always, and no hand was at it.
    cells = [
        "import numpy as np",
        "rare = np.random.rand() > 0.999_999",
        "print('rare:', bool(rare))",
    ]
    add("unseeded-randomness/one-of-few", cells, ("unseeded-randomness", 1),
        edit=replace(2, "False", "True"))  # fmt: skip
    # What is drawn beside it shapes nothing that is shown.
    cells = ["import numpy as np", "noise = np.random.rand(3)\nmasses = [3750.25, 3800.5, 3250.75]",
             "print(np.std(masses))"]  # fmt: skip
    add("edited-output/beside-a-draw", cells, ("edited-output", 2),
        edit=replace(2, "248.15997864281016", "251.3314285714281"))  # fmt: skip

    # --- clock
    add(
        "clock/now",
        ["from datetime import datetime", "print('run at', datetime.now())"],
        ("clock", 1),
    )
    cells = [
        "import time",
        "stamp = time.strftime('%Y-%m-%d %H:%M:%S')",
        "print(f'Report of {stamp}')",
    ]
    # Within a second of each other two runs would print the same.
    add("clock/strftime", cells, ("clock", 1), edit=replace(2, "Report of 2", "Report of 1"))
    cells = [
        "import datetime as dt",
        "today = dt.date.today()",
        "age = today.year - 1990\nprint('age', age)",
    ]
    add("clock/year", cells, ("clock", 1), edit=replace(2, "age ", "age 1"))
    cells = [IMPORTS, "df = pd.DataFrame({'born': pd.to_datetime(['1980-03-01', '1991-07-09'])})",
             "df['age'] = (pd.Timestamp.now() - df.born).dt.days // 365", "print(df.age.tolist())"]  # fmt: skip
    add("clock/age", cells, ("clock", 2), edit=replace(3, "[", "[1"))
    # Within seconds of each other two runs would agree: 1e-9 of all since 1970 is 1.8 of them.
    add("clock/epoch", ["import time", "print(time.time())"], ("clock", 1), edit=a_day_before(1))

    # --- output-loss
    cells = [IMPORTS, "df = pd.read_csv('penguins.csv')",
             "try:\n    extra = open('token.txt').read()\n    print('rows', len(df))\n"
             "    print(df.describe())\nexcept OSError:\n    pass"]  # fmt: skip
    add("output-loss/swallowed", cells, ("output-loss", 2), files={**DATA, "token.txt": "x"},
        after={"token.txt": None})  # fmt: skip
    cells = ["import os", "if os.path.exists('results.csv'):\n    for line in open('results.csv'):\n"
             "        print(line, end='')"]  # fmt: skip
    add("output-loss/branch", cells, ("output-loss", 1), files={"results.csv": SALES},
        after={"results.csv": None})  # fmt: skip

    # --- beyond what is asked for
    cells = ["count = 1", "count = count * 3", "print(count)"]
    add(
        "repeated-execution/multiply",
        cells,
        ("repeated-execution", 1),
        ran=order(cells, 0, 1, 1, 2),
    )
    cells = ["import numpy as np\nnp.random.seed(1)", "x = np.random.rand(3)", "print(x)"]
    add("shifted-stream/drawn-twice", cells, ("shifted-stream", 1), ran=order(cells, 0, 1, 1, 2))
    add("interactive-input/input", ["name = input('who? ')", "print('hi', name)"],
        ("interactive-input", 0), prelude="import builtins; builtins.input = lambda p: 'me'\nget_ipython().user_ns['input'] = builtins.input")  # fmt: skip
    add("python2/name", ["for i in xrange(3):\n    print(i)"], ("python2", 0),
        prelude="get_ipython().user_ns['xrange'] = range")  # fmt: skip
    add("api-change/append", [IMPORTS, "df = pd.DataFrame({'a': [1]})", "df = df.append({'a': 2}, ignore_index=True)\nprint(len(df))"],
        ("api-change", 2), prelude="import pandas as pd; pd.DataFrame.append = lambda s, r, ignore_index: s")  # fmt: skip
    add("api-change/attribute", ["import numpy as np", "print(np.float(3))"], ("api-change", 1),
        prelude="import numpy; numpy.float = float")  # fmt: skip
    add("environment-variable/key", ["import os", "print(os.environ['PLANTED_TOKEN'][:2])"],
        ("environment-variable", 1), prelude="import os; os.environ['PLANTED_TOKEN'] = 'abc'")  # fmt: skip
    cells = ["from datetime import datetime", "at = [datetime.fromtimestamp(t) for t in (1700000000, 1700050000)]",
             "print([t.hour for t in at])", "for t in at:\n    print(t.strftime('%H:%M'))"]  # fmt: skip
    add(
        "environment-variable/zone",
        [*cells[:2], cells[3]],
        ("environment-variable", 1),
        edit=in_another_zone(2),
    )
    add("edited-after-run/beside-local-times", [*cells[:2], "k = 3", "print(len(at) * k)"], ("edited-after-run", 2),
        ran=[(0, cells[0]), (1, cells[1]), (2, "k = 4"), (3, "print(len(at) * k)")])  # fmt: skip
    add("entropy/uuid", ["import uuid", "run = uuid.uuid4()", "print(run)"], ("entropy", 1))
    add("hash-seed/set", ["words = 'the quick brown fox jumps over lazy dogs again'.split()", "for w in set(words):\n    print(w)"],
        ("hash-seed", 1))  # fmt: skip
    cells = ["likes = {'ada': {'maths', 'chess', 'tennis', 'go', 'bowls'}, 'bo': {'chess', 'golf', 'rowing', 'judo', 'polo'}}", "every = set().union(*likes.values())",
             "place = {name: i for i, name in enumerate(every)}", "print([place[name] for name in sorted(place)])"]  # fmt: skip
    add("hash-seed/of-sets-in-a-dict", cells, ("hash-seed", 1))
    add("hash-seed/sets-in-a-dict-shown", [cells[0], "print([list(some) for some in likes.values()])"],
        ("hash-seed", 0))  # fmt: skip
    add("listing-order/listdir", ["import os", "print([f for f in os.listdir('parts')])"],
        ("listing-order", 1), files={f"parts/{n}.csv": n for n in "bdaceghf"},
        edit=replace(1, "[", "['b.csv', "))  # fmt: skip
    cells = ["x = 2", "x = 50", "print(x)"]
    add("skipped-cell/not-run", cells, ("skipped-cell", 1), ran=order(cells, 0, 2))
    add("exception/assert", ["import os", "assert os.path.exists('flag')", "print('ok')"],
        ("exception", 1), files={"flag": ""}, after={"flag": None})  # fmt: skip

    # --- what only reruns can tell apart
    cells = ["from made import rows", "print(rows())"]
    module = "def rows():\n    names = set('the quick brown fox jumps over lazy dogs'.split())\n    return list(names)\n"
    add("hash-seed/in-a-module", cells, ("hash-seed", 1), files={"made.py": module})
    cells = ["import random, uuid", "draw = random.random()",
             "names = list(set('the quick brown fox jumps over lazy dogs'.split()))",
             "print(names)", "print(round(draw, 3) > 2, len(names))"]  # fmt: skip
    add("hash-seed/beside-unused-draw", cells, ("hash-seed", 2), slow=True)
    cells = ["import random", "words = 'the quick brown fox jumps over lazy dogs'.split()",
             "noise = random.random()\nseen = set(words)", "first = sorted(seen)[0] + str(noise > 2)\nprint(first, list(seen))"]  # fmt: skip
    add("hash-seed/with-a-draw-that-does-not-show", cells, ("hash-seed", 2))
    cells = ["import random\nfrom datetime import datetime", "value = random.random()\nat = datetime.now()",
             "print('drawn', value)", "print('at', at)"]  # fmt: skip
    add(
        "several/draw-and-clock", cells, ("unseeded-randomness", 1), also=(("clock", 1),), slow=True
    )
    cells = ["from concurrent.futures import ThreadPoolExecutor, as_completed\nimport os, time",
             "def work(n):\n    time.sleep(os.getpid() * (n + 3) % 7 / 50)\n    return n",
             "with ThreadPoolExecutor(8) as pool:\n    print([f.result() for f in as_completed([pool.submit(work, n) for n in range(8)])])"]  # fmt: skip
    add("parallel-reduction/completion", cells, ("parallel-reduction", 2), slow=True)
    cells = [*cells[:2], "pool = ThreadPoolExecutor(8)", "done = [f.result() for f in as_completed([pool.submit(work, n) for n in range(8)])]",
             "print(done)", "print(done[:4])"]  # fmt: skip
    add("parallel-reduction/shown-below", cells, ("parallel-reduction", 3), slow=True)
    cells = ["import os", "total = ''.join(n[0] for n in os.listdir('parts'))", "print(total)"]
    add("listing-order/joined", cells, ("listing-order", 1), files={f"parts/{n}.csv": n for n in "bdaceghf"},
        edit=listed_in_order, slow=True)  # fmt: skip

    # --- found by notebooks written to be unlike those above
    sell = [IMPORTS, "df = pd.read_csv('sales.csv')\ndf.head(3)"]
    cells = [*sell, "print(df.query('units > @least').shape)"]
    add("deleted-definition/in-a-query", cells, ("deleted-definition", 2),
        ran=[*order(cells, 0, 1), (None, "least = 10"), (2, cells[2])])  # fmt: skip
    cells = [*sell, "LEAST = 20", "print(len(df.query('units > @LEAST')))"]
    add("edited-after-run/used-in-a-query", cells, ("edited-after-run", 2),
        ran=[*order(cells, 0, 1), (2, "LEAST = 12"), (3, cells[3])])  # fmt: skip
    cells = [*sell, "from sklearn.model_selection import train_test_split\n"
             "train, test = train_test_split(df, test_size=0.25, random_state=7)",
             "from sklearn.linear_model import Ridge\nmodel = Ridge(alpha=9.0).fit(train[['units']], "
             "train.price)\nprint(model.score(test[['units']], test.price))", "model.coef_"]  # fmt: skip
    add("edited-after-run/of-two-the-nearest", cells, ("edited-after-run", 3),
        ran=[*order(cells, 0, 1, 2), (3, cells[3].replace("9.0", "500.0")), (4, cells[4])])  # fmt: skip
    cells = [*sell, "df['price'] = df['price'] * 1.05", "print(df.price.sum())"]
    add(
        "in-place-mutation/column", cells, ("in-place-mutation", 2), ran=order(cells, 0, 1, 2, 2, 3)
    )
    cells = ["history = []", "history.append({'model': 'ridge'})", "print(history)"]
    add("in-place-mutation/appended", cells, ("in-place-mutation", 1), ran=order(cells, 0, 1, 1, 2))
    cells = ["import numpy as np\nnp.random.seed(0)", "noise = np.random.normal(size=50)",
             "print(np.random.normal(size=3))"]  # fmt: skip
    add(
        "shifted-stream/through-the-generator", cells, ("shifted-stream", 1),
        ran=order(cells, 0, 1, 1, 2),
    )  # fmt: skip
    cells = ["losses = []\nfor epoch in range(400):\n    losses.append(1 / (epoch + 1))",
             "print(len(losses), round(sum(losses), 4))"]  # fmt: skip
    add("interrupted/and-what-rests-on-it", cells, ("interrupted", 0),
        ran=[(0, f"{cells[0]}\n    if epoch == 150:\n        raise KeyboardInterrupt"),
             (1, cells[1])])  # fmt: skip
    cells = ["import ipywidgets as widgets\nk = widgets.IntSlider(value=3, min=1, max=9)",
             "print('neighbours', k.value)"]  # fmt: skip
    add("widget-state/slider", cells, ("widget-state", 1),
        ran=[(0, cells[0]), (None, "k.value = 8"), (1, cells[1])])  # fmt: skip
    cells = ["import sqlite3\nimport pandas as pd",
             "orders = pd.read_sql('select * from orders', sqlite3.connect('shop.db'))",
             "print(orders.amount.sum())"]  # fmt: skip
    shop = ("import sqlite3\ndb = sqlite3.connect('shop.db')\ndb.execute('create table orders (amount)')\n"
            "db.execute('insert into orders values (20)')\ndb.commit()\ndb.close()\ndel db, sqlite3")  # fmt: skip
    add("missing-file/sqlite", cells, ("missing-file", 1), prelude=shop, after={"shop.db": None})
    parts = {f"batches/{n}.csv": f"v\n{i}\n" for i, n in enumerate("abc")}
    cells = ["import glob\nimport pandas as pd", "files = sorted(glob.glob('batches/*.csv'))",
             "print(pd.concat(map(pd.read_csv, files)).v.sum())"]  # fmt: skip
    add("missing-file/none-listed", cells, ("missing-file", 1), files=parts,
        after=dict.fromkeys(parts))  # fmt: skip
    cells = [cells[0], "files = sorted(glob.glob('/home/eve/batches/*.csv'))\nprint(len(files))"]
    add("absolute-path/none-listed", cells, ("absolute-path", 1), files=parts,
        edit=replace(1, "0", "3"))  # fmt: skip
    cells = ["from pathlib import Path\nBASE = Path('/mnt/share/eve')",
             "print(sum(1 for p in (BASE / 'batches').glob('*.csv')))"]  # fmt: skip
    add("absolute-path/none-in-a-folder", cells, ("absolute-path", 0), edit=replace(1, "0", "3"))
    cells = ["import datetime", "start = datetime.date(2024, 1, 15)\n"
             "print('day', (datetime.date.today() - start).days)"]  # fmt: skip
    add("clock/days-since", cells, ("clock", 1), edit=replace(1, "day ", "day 1"))
    cells = ["import datetime", "print(len(str(datetime.datetime.now() - datetime.timedelta(days=7))))",
             "since = datetime.date.today() - datetime.timedelta(days=7)\nprint(since.toordinal())"]  # fmt: skip
    add("clock/a-week-ago", cells, ("clock", 2), edit=replace(2, "7", "6"))
    cells = [*sell, "print(sorted(df.price.unique()))"]
    add("unexecuted-stamp/no-output", cells, ("unexecuted-stamp", 2),
        edit=lambda nb: nb["cells"][2].update(outputs=[]))  # fmt: skip
    add("api-change/refused-value", ["import matplotlib.pyplot as plt\nplt.style.use('seaborn-ticks')", "print(1)"],
        ("api-change", 0), prelude="import matplotlib.pyplot as plt; plt.style.use = print")  # fmt: skip
    book = ("import zipfile\nz = zipfile.ZipFile('a.xlsx', 'w')\nz.writestr('xl/workbook.xml', '<x/>')\n"
            "z.close()\ndel z\nimport pandas as pd; pd.read_excel = lambda p: pd.DataFrame({'a': [1]})")  # fmt: skip
    add("undeclared-dependency/optional", [IMPORTS, "print(pd.read_excel('a.xlsx').shape)"],
        ("undeclared-dependency", 1), prelude=book)  # fmt: skip
    add("hardware/cores", ["import os", "workers = os.cpu_count()\nprint('workers', workers)"],
        ("hardware", 1), edit=replace(1, "workers ", "workers 9"))  # fmt: skip

    # --- benign: nothing to report
    add(
        "benign/addresses",
        ["class A:\n    pass", "A()", "print(A(), [A(), object()])", "print(lambda: 0)"],
        None,
    )
    add("benign/timings", ["import time\nt0 = time.time()", "total = sum(range(1000))\nprint(f'took {time.time() - t0:.5f} s')",
                           "%time y = sum(range(100000))", "elapsed = time.time() - t0\nprint(elapsed)",
                           "%timeit -n 2 -r 2 sum(range(10))"], None)  # fmt: skip
    add("benign/progress", ["from tqdm import tqdm\nimport sys, time", "for i in tqdm(range(3), file=sys.stdout):\n    time.sleep(0.05)",
                            "for i in range(3):\n    print(f'\\r{i}/3 [{time.perf_counter():.2f}s]', end='')\nprint('\\rdone')"], None)  # fmt: skip
    add("benign/warnings", ["import warnings", "warnings.warn('careful')\nprint('ok')"], None)
    add("benign/float-noise", [IMPORTS, "print(0.1 + 0.2, np.pi)", "pd.DataFrame({'a': [0.1 + 0.2, 1e-3]})"], None,
        edit=replace(1, "0.30000000000000004", "0.3"))  # fmt: skip
    add("benign/picture", ["import matplotlib.pyplot as plt", "fig, ax = plt.subplots()\nax.plot([1, 3, 2])\nplt.show()"], None,
        edit=reencode)  # fmt: skip
    add("benign/dict-order", ["d = {'b': 1, 'a': [2, 3]}\nprint(d)"], None,
        edit=replace(0, "{'b': 1, 'a': [2, 3]}", "{'a': [2, 3], 'b': 1}"))  # fmt: skip
    add(
        "benign/temporary",
        [
            "import tempfile, os",
            "d = tempfile.mkdtemp()\nprint('in', d)",
            "print(os.path.join(d, 'x.csv'))",
        ],
        None,
    )
    add(
        "benign/cwd",
        ["import os", "print(os.getcwd())", "print(os.path.abspath('penguins.csv'))"],
        None,
    )
    add("benign/model", list(TRAIN), None)
    script = ["import sys", "!{sys.executable} tool.py"]
    add("changed-data/a-program", script, ("changed-data", 1), recorded=True,
        files={"tool.py": "print(5)\n"}, after={"tool.py": "print(6)\n"})  # fmt: skip
    add("benign/a-program", script, None, recorded=True, files={"tool.py": "print(5)\n"})
    size = ["import os", "print(1)", "print(os.path.getsize('note.txt'))"]
    add("unrecorded/size", size, ("unrecorded", 2), recorded=True,
        files={"note.txt": "abc"}, after={"note.txt": "abcd"})  # fmt: skip
    add("unrecorded/size-without-outputs", size, ("unrecorded", 2), recorded=True,
        files={"note.txt": "abc"}, after={"note.txt": "abcd"},
        edit=lambda nb: [cell.update(outputs=[], execution_count=None) for cell in nb["cells"]])  # fmt: skip
    add("benign/recorded", list(TRAIN), None, recorded=True)
    cells = [IMPORTS + "\nfrom sklearn.ensemble import RandomForestClassifier",
             "df = pd.read_csv('penguins.csv')",
             "clf = RandomForestClassifier(n_estimators=5, random_state=0).fit(df[['bill', 'mass']], df.species)\nclf",
             "print(clf.score(df[['bill', 'mass']], df.species))"]  # fmt: skip
    add("benign/seeded", cells, None)
    cells = [IMPORTS + "\nfrom sklearn.linear_model import Ridge\nfrom sklearn.model_selection import GridSearchCV",
             "df = pd.read_csv('sales.csv')", "search = GridSearchCV(Ridge(), {'alpha': [1, 10]}, cv=3, verbose=3)\n"
             "search.fit(df[['units']], df.price)", "pd.DataFrame(search.cv_results_)[['mean_fit_time', 'std_score_time', 'param_alpha', 'mean_test_score']]"]  # fmt: skip
    add("benign/search-times", cells, None)
    add("benign/logged", ["import logging, sys\nlogging.basicConfig(stream=sys.stdout, format='%(asctime)s %(levelname)s %(message)s', force=True)",
                          "logging.warning('loss=%.4f', 1 / 3)"], None)  # fmt: skip
    add("benign/since-the-start", ["import datetime", "begun = datetime.datetime.now()",
                                   "print('elapsed', datetime.datetime.now() - begun)"], None)  # fmt: skip
    add("benign/styler", [IMPORTS, "pd.DataFrame({'a': [1.5, 2.5]}).style.format('{:.1f}')"], None)
    add("benign/raises", ["1 / 0", "print('after')"], None)
    add("benign/counts-gone", ["print(1)", "2 + 2"], None, counts=False)
    add(
        "benign/writes",
        [
            IMPORTS,
            "pd.read_csv('sales.csv').to_csv('copy.csv', index=False)",
            "print(open('copy.csv').read()[:20])",
        ],
        None,
    )
    cells = ["import numpy as np", "a = np.arange(3)", "print(a)", "b = a + 1\nprint(b)"]
    add("benign/odd-order", cells, None, ran=order(cells, 0, 1, 3, 2))
    cells = ["# scratch", "n = 3", "n = 3\nprint(n)"]
    add("benign/ran-twice", cells, None, ran=order(cells, 0, 1, 2, 2))
    return faults


def listed_in_order(nb: dict) -> None:
    """Have the reference be of a file system that lists files by name."""
    nb["cells"][2]["outputs"][0]["text"] = "abcdefgh\n"


def reencode(nb: dict) -> None:
    """Store the picture of the second cell with other PNG compression."""
    import base64
    import io

    from PIL import Image

    for output in nb["cells"][1]["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
            file = io.BytesIO()
            picture.save(file, "PNG", compress_level=1)
            data["image/png"] = base64.b64encode(file.getvalue()).decode()


def write_files(folder: Path, files: dict[str, str | None]) -> None:
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
