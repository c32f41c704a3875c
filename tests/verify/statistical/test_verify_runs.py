"""``mlrepro verify --runs N``: from a notebook to a verdict on its metrics."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import nbformat
import nbformat.v4 as v4
import pytest
from click.testing import CliRunner

from mlrepro_nb.errors import UsageError
from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import Randomness, Record, Results, Seed, Step, Verification
from mlrepro_nb.record import record
from mlrepro_nb.store import Store
from mlrepro_nb.verify import Outcome, Problem, Update, verify_runs
from mlrepro_nb.verify._reference import locate
from mlrepro_nb.verify.statistical import _verify
from mlrepro_nb.verify.statistical._reference import references
from mlrepro_nb.verify.statistical._sample import Measured, Sample
from tests.records import a_cell, a_record

TRAIN = """\
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

SEED = 42
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(scale(X), y, test_size=.4, random_state=SEED)
model = LogisticRegression(C=1.0).fit(X_train, y_train)
accuracy = model.score(X_test, y_test)
"""
BREAKS = "import random\nrandom.seed(0)\nassert random.random() < 2\nresult = 'high'"


def write(path: Path, *cells: str) -> Path:
    metadata = {"kernelspec": {"name": "python3", "display_name": ""}}
    nb = v4.new_notebook(metadata=metadata, cells=[v4.new_code_cell(c) for c in cells])
    nbformat.write(nb, path)
    return path


def accuracies(seeds: range) -> list[float]:
    found = []
    for seed in seeds:
        names: dict[str, Any] = {}
        exec(TRAIN.replace("SEED = 42", f"SEED = {seed}"), names)
        found.append(names["accuracy"])
    return found


def again(store: Store, own: Record, values: list[float]) -> None:
    """Keep records of runs as they would be if somebody had recorded other seeds."""
    for number, value in enumerate(values):
        seeds = (Seed(generator="random", value=str(number)),)
        store.put(
            msgspec.structs.replace(
                own,
                randomness=msgspec.structs.replace(own.randomness, seeds=seeds),
                results=msgspec.structs.replace(own.results, variables={"accuracy": value}),
            )
        )


def test_an_honest_model_is_equivalent_and_a_planted_regression_differs(
    repository: Path, store: Store
) -> None:
    path = write(repository / "train.ipynb", TRAIN, "%mlrepro expect accuracy >= 0.9 delta 0.03")
    _, own = record(path, lock=False)
    again(store, own, accuracies(range(100, 110)))
    steps: list[str] = []
    found = verify_runs(path, runs=4, report=lambda step: steps.append(step.message))
    (metric,) = found.metrics
    assert found.verdict == "statistically-equivalent", metric
    assert (len(metric.reference), len(metric.rerun), metric.source) == (11, 4, "variable")
    assert len(set(metric.rerun)) > 1, "the seeds are varied"
    assert (metric.operator, metric.limit, metric.met) == (">=", 0.9, 4)
    assert "4 of 4 runs done" in steps
    again_ = store.get(Verification, store.entries(Verification)[0].digest)
    assert again_ == found, "it is kept"
    reruns = [store.get(Record, str(run.record)) for run in found.runs]
    assert [one.randomness.variation for one in reruns] == [1, 2, 3, 4]
    assert len(references(locate(path, store=None, notebook=None, outputs=None)).records) == 15

    worse = TRAIN.replace("C=1.0", "C=1e-9")
    write(path, worse, "%mlrepro expect accuracy delta 0.02", BREAKS, "%mlrepro expect result > 1")
    found = verify_runs(path, runs=3)
    verdicts = {one.metric: one.verdict for one in found.metrics}
    assert (found.verdict, verdicts["accuracy"]) == ("different", "different")
    assert verdicts["result"] == "inconclusive", "a text is no metric"


# --- what runs gave, told by hand


@pytest.fixture
def recorded(repository: Path, store: Store) -> Path:
    path = write(repository / "train.ipynb", "SEED = 1", "accuracy = 0.9")
    nb = nbformat.read(path, as_version=4)
    cells = tuple(a_cell(i, c.source) for i, c in enumerate(nb.cells))
    own = a_record(
        data=(), results=Results(variables={"accuracy": 0.93}, metrics={"loss": 0.2}),
        randomness=Randomness(cells={"0": "seeded"}),
    )  # fmt: skip
    store.put(msgspec.structs.replace(own, code=msgspec.structs.replace(own.code, cells=cells)))
    return path


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the runs give what is told: numbers, measured values, problems, or an exception."""

    def told(*results: Any) -> None:
        def verify_many(tasks: list, *, jobs: int | None, report: Callable) -> None:
            for index, task in enumerate(tasks):
                one = results[index % len(results)]
                if isinstance(one, BaseException):
                    raise one
                outcome = Outcome(target="", problem=Problem(message=one))
                if not isinstance(one, str):
                    metric = one if isinstance(one, Measured) else Measured(value=one)
                    sample = Sample(
                        run=task.run, metrics=dict.fromkeys(task.metrics, metric), record="sha256:0"
                    )
                    outcome = Outcome(target="", sample=sample)
                report(Update(index=index, outcome=outcome))

        monkeypatch.setattr(_verify, "verify_many", verify_many)

    return told


def test_a_run_that_fails_is_told_and_the_others_count(recorded: Path, give: Callable) -> None:
    give(0.93, 0.931, "cell 1: ValueError: no", 0.929)
    steps: list[Step] = []
    found = verify_runs(recorded, runs=4, deltas={"accuracy": 0.05}, report=steps.append)
    assert found.verdict == "inconclusive"
    assert found.metrics[0].verdict == "consistent"
    assert found.metrics[0].rerun == (0.93, 0.931, 0.929)
    assert [run.problem for run in found.runs] == [None, None, "cell 1: ValueError: no", None]
    assert any("run 3 of 4 failed: cell 1" in step.message for step in steps if step.log)
    give("cell 1: ValueError: no")
    assert verify_runs(recorded, runs=2, deltas={"accuracy": 0.05}).verdict == "failed"


def test_too_few_runs_are_inconclusive_and_say_how_many(
    recorded: Path, store: Store, give: Callable
) -> None:
    own = store.get(Record, str(store.latest_record("train.ipynb")))
    again(store, own, [0.92, 0.94, 0.935])
    give(0.925, 0.94)
    found = verify_runs(recorded, runs=2, deltas={"accuracy": 0.015})
    assert found.verdict == "inconclusive"
    assert (found.metrics[0].needed or 0) > 2
    assert any("2 runs seldom tell" in note for note in found.notes)


def test_one_run_and_one_record_tell_nothing(recorded: Path, give: Callable) -> None:
    give(0.93)
    assert verify_runs(recorded, runs=1, deltas={"accuracy": 0.05}).verdict == "inconclusive"


def test_a_metric_of_two_sources_is_told(recorded: Path, give: Callable) -> None:
    give(Measured(value=0.93, source="mlflow", others=("variable",)))
    notes = verify_runs(recorded, runs=3, deltas={"accuracy": 0.05}).notes
    assert "accuracy is also a variable of another value, which does not count." in notes
    assert any("All runs gave the same accuracy" in note for note in notes)


def test_a_delta_is_insisted_on_before_anything_runs(recorded: Path, give: Callable) -> None:
    give(AssertionError("nothing may run"))
    with pytest.raises(UsageError, match="Its metrics: accuracy, loss") as error:
        verify_runs(recorded, runs=5)
    assert "--delta NAME=0.01" in error.value.remedy


def test_without_a_record_there_is_no_reference(repository: Path, store: Store) -> None:
    path = write(repository / "new.ipynb", "x = 1")
    with pytest.raises(UsageError, match="no record"):
        verify_runs(path, runs=2, deltas={"x": 1})


def test_of_earlier_records_those_count_that_differ_by_chance_alone(
    recorded: Path, store: Store
) -> None:
    own = store.get(Record, str(store.latest_record("train.ipynb")))
    again(store, own, [0.91, 0.92, 0.92])

    def of(**changed: Any) -> None:
        store.put(msgspec.structs.replace(own, **changed))

    other_code = (a_cell(0, "SEED = 1"), a_cell(1, "accuracy = 0.8"))
    of(code=msgspec.structs.replace(own.code, cells=other_code))
    other_seed = (a_cell(0, "SEED = 2"), a_cell(1, "accuracy = 0.9"))
    of(code=msgspec.structs.replace(own.code, cells=other_seed))
    of(hardware=msgspec.structs.replace(own.hardware, cpu="Another"))
    of(results=Results(status="error"))
    # The same draw once more: it tells nothing new.
    of(lineage=msgspec.structs.replace(own.lineage, who="somebody else"))
    found = references(locate(recorded, store=None, notebook=None, outputs=None))
    assert found.left_out == {"failed": 1, "of other code": 1, "on another machine": 1}
    assert len(found.records) == 1 + 3 + 1
    assert "3 earlier runs do not count as reference" in found.notes[0]


def test_the_command_shows_and_writes_it(
    recorded: Path, give: Callable, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(0.93, 0.935, 0.925, "cell 1: ValueError: <no>")
    runs = ["verify", "train.ipynb", "--runs", "4", "--delta", "accuracy=0.05"]
    shown = CliRunner().invoke(main, [*runs, "--report", "r.html", "--junit", "j.xml"])
    assert shown.exit_code == 1
    assert "accuracy" in shown.output
    assert "inconclusive (3 of 4 runs" in " ".join(shown.output.split())
    page = (repository / "r.html").read_text()
    assert page.count("<svg") == 1
    assert "ValueError: &lt;no&gt;" in page
    cases = {c.get("name"): c for c in ET.parse(repository / "j.xml").iter("testcase")}
    assert set(cases) == {"metric accuracy", "run 4"}
    told = json.loads(CliRunner().invoke(main, [*runs, "--json", "-q"]).stdout)
    assert (told["verdict"], len(told["runs"])) == ("inconclusive", 4)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--runs", "0"], "0 is not in the range"),
        (["--runs", "3", "--delta", "accuracy=0"], "no delta"),
        (["--runs", "3", "--delta", "accuracy"], "names no metric with its delta"),
        (["--delta", "accuracy=1"], "--delta is for several runs"),
        (["--runs", "3", "--replay"], "--replay is for one run"),
        (["--runs", "3", "--fix"], "--fix does not go with --runs"),
        (["--runs", "3", "--env", "image"], "does not run in an image"),
        (["--runs", "3"], "none is declared"),
    ],
)
def test_wrong_options_are_told(recorded: Path, options: list[str], says: str) -> None:
    shown = CliRunner().invoke(main, ["verify", "train.ipynb", *options])
    assert shown.exit_code == 2
    assert says in shown.output


def test_ctrl_c_says_how_far_it_came(recorded: Path, give: Callable) -> None:
    give(0.93, 0.94, KeyboardInterrupt())
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        verify_runs(
            recorded, runs=5, deltas={"accuracy": 0.05}, report=lambda s: steps.append(s.message)
        )
    assert "interrupted: 2 of 5 runs were done; the records of 2 are kept" in steps[-1]
