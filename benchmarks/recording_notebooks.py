"""What recording costs a notebook: seconds, CPU and memory, beside the peers' kernels.

Each round runs every notebook in a fresh kernel of each kind, one kernel after the other, as
its user has one: side by side, a cell of each in turn, a plain kernel with an audit hook that
does nothing took 5 % longer than one without. Noise only ever adds: of each cell the fastest
round counts, and a notebook takes the sum of these. When Python collects its garbage is chance:
one more or less in a notebook is 0.05 to 0.1 s. CPU is that of the kernel with its children and
threads and of what it left to nobody (our survey of what is installed), so it counts what is
done in the background too.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.kernels import (
    LOAD,
    MODULES,
    OURS,
    PLAIN,
    ROOT,
    Kernel,
    adopt_orphans,
    interpreter,
    orphans_cpu,
)

_SETTLE = 2.0
"""Seconds in which what was begun in the background ends."""

_MAKE_DATA = """\
import numpy as np, pandas as pd
rng = np.random.default_rng(0)
n = 200_000
pd.DataFrame({
    "store": rng.integers(0, 300, n), "item": rng.integers(0, 2000, n),
    "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, n), "D"),
    "price": rng.gamma(2, 8, n).round(2), "units": rng.poisson(3, n),
}).to_csv("sales.csv", index=False)
pd.DataFrame({"store": range(300), "area": rng.integers(50, 900, 300)}).to_csv(
    "stores.csv", index=False)
"""

SALES = """\
import numpy as np
import pandas as pd
---
sales = pd.read_csv("sales.csv", parse_dates=["day"])
stores = pd.read_csv("stores.csv")
sales.head()
---
sales.describe()
---
data = sales.merge(stores, on="store")
data["revenue"] = data["price"] * data["units"]
data["weekday"] = data["day"].dt.dayofweek
data["month"] = data["day"].dt.month
---
monthly = data.groupby(["store", data["day"].dt.to_period("M")])["revenue"].sum().unstack()
monthly.iloc[:5, :5]
---
data["rank"] = data.groupby("store")["revenue"].rank(pct=True)
data["rolling"] = (
    data.sort_values("day").groupby("store")["revenue"].transform(lambda s: s.rolling(50, 1).mean())
)
---
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
data.groupby("weekday")["revenue"].mean().plot.bar()
plt.show()
---
from sklearn.model_selection import train_test_split
features = data[["store", "item", "price", "area", "weekday", "month", "rank", "rolling"]]
train_x, test_x, train_y, test_y = train_test_split(
    features, data["units"], test_size=0.25, random_state=7)
---
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
ridge = make_pipeline(StandardScaler(), Ridge()).fit(train_x, train_y)
ridge.score(test_x, test_y)
---
from sklearn.ensemble import HistGradientBoostingRegressor
boosted = HistGradientBoostingRegressor(max_iter=60, random_state=7).fit(train_x, train_y)
boosted.score(test_x, test_y)
---
from sklearn.ensemble import RandomForestRegressor
forest = RandomForestRegressor(8, max_depth=10, random_state=7).fit(
    train_x[:60_000], train_y[:60_000])
forest.score(test_x, test_y)
---
pd.Series(forest.feature_importances_, train_x.columns).sort_values()
---
predicted = boosted.predict(test_x)
print(f"{np.abs(predicted - test_y).mean():.4f}")
---
test_x.assign(predicted=predicted).to_csv("predicted.csv", index=False)
"""

TRAINING = """\
import numpy as np
import pandas as pd
sales = pd.read_csv("sales.csv", parse_dates=["day"])
stores = pd.read_csv("stores.csv")
---
data = sales.merge(stores, on="store")
data["weekday"], data["month"] = data["day"].dt.dayofweek, data["day"].dt.month
data["high"] = (data["units"] * data["price"] > 40).astype(int)
columns = ["store", "item", "price", "area", "weekday", "month"]
---
from sklearn.model_selection import train_test_split
train, test = train_test_split(data, test_size=0.25, random_state=7)
train["high"].mean()
---
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV
search = GridSearchCV(
    HistGradientBoostingClassifier(max_iter=30, random_state=7),
    {"learning_rate": [0.05, 0.1, 0.2], "max_leaf_nodes": [15, 31]}, cv=3,
).fit(train[columns], train["high"])
search.best_params_
---
pd.DataFrame(search.cv_results_)[["params", "mean_test_score", "std_test_score"]]
---
from sklearn.ensemble import RandomForestClassifier
forest = RandomForestClassifier(20, max_depth=12, random_state=7)
forest.fit(train[columns], train["high"]).score(test[columns], test["high"])
---
from sklearn.inspection import permutation_importance
importance = permutation_importance(
    search.best_estimator_, test[columns], test["high"], n_repeats=5, random_state=7)
pd.Series(importance.importances_mean, columns).sort_values()
---
from sklearn.metrics import brier_score_loss, roc_auc_score
predicted = search.predict_proba(test[columns])[:, 1]
print(f"{roc_auc_score(test['high'], predicted):.4f}")
print(f"{brier_score_loss(test['high'], predicted):.4f}")
---
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
from sklearn.calibration import CalibrationDisplay
CalibrationDisplay.from_predictions(test["high"], predicted, n_bins=20)
plt.show()
---
rng = np.random.default_rng(7)
auc = [
    roc_auc_score(test["high"].to_numpy()[rows], predicted[rows])
    for rows in (rng.integers(0, len(test), len(test)) for _ in range(100))
]
np.quantile(auc, [0.025, 0.975])
---
import joblib
joblib.dump(search.best_estimator_, "model.joblib")
test.assign(predicted=predicted).to_csv("scored.csv", index=False)
"""

TINY = ["import numpy as np\na = np.arange(1000.0)"] + [
    f"b{i} = a * {i} + 1\nb{i}.sum()" for i in range(199)
]


class Notebook(NamedTuple):
    """A notebook to be measured."""

    title: str
    cells: list[str]
    prepare: Callable[[], Path]
    """Returns the folder in which to run it, as it was before any run."""


class _Costs(NamedTuple):
    """What a run of a notebook took, or the least of several."""

    seconds: list[float]
    """Of each cell."""
    cpu: float
    memory: float


class Measured(NamedTuple):
    """What was found, by the notebook's title and the kernel."""

    costs: dict[tuple[str, str], _Costs]
    silent: dict[tuple[str, str], str]
    """Why a peer did not run a notebook to its end."""


def measure(rounds: int = 5, kinds: Sequence[str] = tuple(MODULES)) -> list[dict[str, object]]:
    """Return, for each notebook and kernel, what it took and the ratios to a plain kernel."""
    python = interpreter()
    with _own(python) as notebooks:
        return table(run(notebooks, rounds, kinds, python))


@contextlib.contextmanager
def _own(python: Path) -> Iterator[list[Notebook]]:
    """Make the notebooks that we wrote, which share a folder."""
    tour = json.loads((ROOT / "notebooks" / "00-tour.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(c["source"]) for c in tour["cells"] if c["cell_type"] == "code"]
    plain = [source.replace("%%mlrepro record --name train\n", "") for source in sources]
    written = {
        "tour (pandas, scikit-learn)": [
            source for source in plain if "mlflow" not in source and not source.startswith("%")
        ],
        "sales (pandas, scikit-learn)": SALES.split("---\n"),
        "training (a search, a forest)": TRAINING.split("---\n"),
        "200 tiny cells (numpy)": TINY,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "init", "-q", name], check=True)
        shutil.copytree(ROOT / "notebooks" / "data", folder / "data")
        subprocess.run([python, "-c", _MAKE_DATA], cwd=folder, check=True)

        def prepare() -> Path:
            shutil.rmtree(folder / ".mlrepro", ignore_errors=True)
            return folder

        yield [Notebook(title, cells, prepare) for title, cells in written.items()]


def run(notebooks: Sequence[Notebook], rounds: int, kinds: Sequence[str], python: Path) -> Measured:
    """Run each notebook on each kind of kernel, as often as there are rounds."""
    found: dict[tuple[str, str], list[_Costs]] = {}
    silent: dict[tuple[str, str], str] = {}
    adopt_orphans()
    for turn in range(rounds):
        for notebook in notebooks:
            for kind in (*kinds[turn % len(kinds) :], *kinds[: turn % len(kinds)]):
                if (notebook.title, kind) in silent:
                    continue
                try:
                    costs = _run(kind, notebook, python)
                except RuntimeError as error:
                    if kind in LOAD or kind == PLAIN:
                        raise
                    silent[notebook.title, kind] = str(error)
                else:
                    found.setdefault((notebook.title, kind), []).append(costs)
    return Measured({key: _least(runs) for key, runs in found.items() if key not in silent}, silent)


def _run(kind: str, notebook: Notebook, python: Path) -> _Costs:
    """Return what a notebook took in a kernel.

    Raises
    ------
    RuntimeError
        It does not run there to its end.
    """
    kernel = Kernel(kind, notebook.prepare(), python)
    try:
        orphans_cpu([kernel])
        before = kernel.cpu()
        seconds = [kernel.run(cell) for cell in notebook.cells]
        time.sleep(_SETTLE)
        orphans = orphans_cpu([kernel])
        return _Costs(
            seconds,
            # Nobody but we leaves a program to nobody.
            kernel.cpu() - before + (orphans if kind == OURS else 0.0),
            kernel.memory(),
        )
    finally:
        kernel.stop()


def _least(runs: list[_Costs]) -> _Costs:
    return _Costs(
        list(map(min, zip(*(run.seconds for run in runs), strict=True))),
        min(run.cpu for run in runs),
        statistics.median(run.memory for run in runs),
    )


def table(measured: Measured, together: str = "") -> list[dict[str, object]]:
    """Return the rows, and if it has a name one of all notebooks for each kernel.

    That one sums what the notebooks took, and has the geometric means of their ratios: each
    notebook counts alike. A peer's is of those that it ran.
    """
    rows = [_row(title, kind, [costs], [measured.costs[title, PLAIN]])
            for (title, kind), costs in measured.costs.items()]  # fmt: skip
    for kind in dict.fromkeys(kind for _, kind in measured.costs) if together else ():
        some = {title: costs for (title, of), costs in measured.costs.items() if of == kind}
        plain = [measured.costs[title, PLAIN] for title in some]
        rows.append(_row(f"{together}: {len(some)}", kind, list(some.values()), plain))
    return rows + [
        {**dict.fromkeys(rows[0], ""), "notebook": f"{title}: {why}", "kernel": kind}
        for (title, kind), why in measured.silent.items()
    ]


def _row(title: str, kind: str, costs: list[_Costs], plain: list[_Costs]) -> dict[str, object]:
    def ratio(of: Callable[[_Costs], float]) -> str:
        pairs = zip(costs, plain, strict=True)
        return f"{statistics.geometric_mean(of(one) / of(base) for one, base in pairs):.3f}"

    return {
        "notebook": title,
        "kernel": kind,
        "seconds": f"{sum(sum(one.seconds) for one in costs):.2f}",
        "ratio": ratio(lambda one: sum(one.seconds)),
        "CPU, s": f"{sum(one.cpu for one in costs):.2f}",
        "CPU ratio": ratio(lambda one: one.cpu),
        "memory, MiB": f"{sum(one.memory for one in costs) / 2**20:.0f}",
        "memory ratio": ratio(lambda one: one.memory),
    }
