"""What recording costs a notebook: seconds, CPU and memory, beside the peers' kernels.

Each round runs every notebook in a fresh kernel of each kind, all at once and a cell at a
time in turn, so that the machine's noise falls on each alike. Noise only ever adds: of each
cell the fastest round counts, and a notebook takes the sum of these. CPU is that of the kernel
with its children and threads and of what it left to nobody (our survey of what is installed),
so it counts what is done in the background too.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.kernels import (
    LOAD,
    MODULES,
    OURS,
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


class _Run(NamedTuple):
    """What one run of a notebook took."""

    seconds: list[float]
    """Of each cell."""
    cpu: float
    memory: int


def notebooks() -> dict[str, list[str]]:
    """Return the notebooks by name, as the sources of their cells."""
    tour = json.loads((ROOT / "notebooks" / "00-tour.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(c["source"]) for c in tour["cells"] if c["cell_type"] == "code"]
    plain = [source.replace("%%mlrepro record --name train\n", "") for source in sources]
    return {
        "tour (pandas, scikit-learn)": [
            source for source in plain if "mlflow" not in source and not source.startswith("%")
        ],
        "sales (pandas, scikit-learn)": SALES.split("---\n"),
        "training (a search, a forest)": TRAINING.split("---\n"),
        "200 tiny cells (numpy)": TINY,
    }


def measure(rounds: int = 5, kinds: Sequence[str] = tuple(MODULES)) -> list[dict[str, object]]:
    """Return, for each notebook and kernel, what it took and the ratios to a plain kernel."""
    python = interpreter()
    found: dict[tuple[str, str], list[_Run]] = {}
    silent: dict[str, str] = {}
    adopt_orphans()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "init", "-q", name], check=True)
        shutil.copytree(ROOT / "notebooks" / "data", folder / "data")
        subprocess.run([python, "-c", _MAKE_DATA], cwd=folder, check=True)
        for turn in range(rounds):
            for title, cells in notebooks().items():
                shutil.rmtree(folder / ".mlrepro", ignore_errors=True)
                wanted = [k for k in (*kinds[turn:], *kinds[:turn]) if k not in silent]
                for kind, one in _run(wanted, cells, folder, python, silent).items():
                    found.setdefault((title, kind), []).append(one)
    rows = [_row(title, kind, found) for title in notebooks() for kind in kinds
            if (title, kind) in found]  # fmt: skip
    return rows + [
        {**dict.fromkeys(rows[0], ""), "notebook": why, "kernel": kind}
        for kind, why in silent.items()
    ]


def _run(
    kinds: Sequence[str], cells: list[str], folder: Path, python: Path, silent: dict[str, str]
) -> dict[str, _Run]:
    """Return what each kernel took; a peer that does not run here says why in `silent`."""
    kernels: dict[str, Kernel] = {}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}

    def failed(kind: str, error: RuntimeError) -> None:
        if kind in LOAD or kind == "plain ipykernel":
            raise error
        silent[kind] = str(error)
        if kind in kernels:
            kernels.pop(kind).stop()

    try:
        for kind in kinds:
            try:
                kernels[kind] = Kernel(kind, folder, python)
            except RuntimeError as error:  # noqa: PERF203
                failed(kind, error)
        orphans_cpu(kernels.values())
        before = {kind: kernel.cpu() for kind, kernel in kernels.items()}
        for number, cell in enumerate(cells):
            turn = number % len(kernels)
            order = list(kernels)
            for kind in order[turn:] + order[:turn]:
                try:
                    seconds[kind].append(kernels[kind].run(cell))
                except RuntimeError as error:  # noqa: PERF203
                    failed(kind, error)
        time.sleep(_SETTLE)
        orphans = orphans_cpu(kernels.values())
        return {
            kind: _Run(
                seconds[kind],
                # Nobody but we leaves a program to nobody.
                kernel.cpu() - before[kind] + (orphans if kind == OURS else 0.0),
                kernel.memory(),
            )
            for kind, kernel in kernels.items()
        }
    finally:
        for kernel in kernels.values():
            kernel.stop()


def _least(runs: list[_Run]) -> tuple[float, float, float]:
    return (
        sum(map(min, zip(*(run.seconds for run in runs), strict=True))),
        min(run.cpu for run in runs),
        statistics.median(run.memory for run in runs),
    )


def _row(title: str, kind: str, found: dict[tuple[str, str], list[_Run]]) -> dict[str, object]:
    seconds, cpu, memory = _least(found[title, kind])
    plain = _least(found[title, "plain ipykernel"])
    return {
        "notebook": title,
        "kernel": kind,
        "seconds": f"{seconds:.2f}",
        "ratio": f"{seconds / plain[0]:.3f}",
        "CPU, s": f"{cpu:.2f}",
        "CPU ratio": f"{cpu / plain[1]:.3f}",
        "memory, MiB": f"{memory / 2**20:.0f}",
        "memory ratio": f"{memory / plain[2]:.3f}",
    }
