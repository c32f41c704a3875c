"""`mlrepro record NOTEBOOK`: what is kept, what is left alone, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from mlrepro_nb.faces.cli import main
from mlrepro_nb.store import Store
from tests.conftest import git


def _notebook(path: Path, *cells: str, parameters: str | None = None) -> Path:
    nb = nbformat.v4.new_notebook()
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "P", "language": "python"}
    if parameters is not None:
        nb.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    nb.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nb, path)
    return path


def test_a_run_is_recorded_and_the_notebook_left_alone(repository: Path) -> None:
    (repository / "sub").mkdir()
    (repository / "sub" / "d.csv").write_text("a\n1\n")
    path = _notebook(
        repository / "sub" / "n.ipynb",
        "import pandas as pd, random\nframe = pd.read_csv('d.csv')",
        "random.seed(n)\nframe.a.sum() + random.random() * 0 + n",
        "api_token",
        parameters="n = 1\napi_token = ''",
    )
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "x")
    before = path.read_bytes()
    arguments = ["record", "sub/n.ipynb", "-p", "n", "5", "-p", "api_token", "hunter2xyz", "--json"]
    done = CliRunner().invoke(main, [*arguments, "-o", "sub/out.ipynb"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    record = said["record"]
    assert path.read_bytes() == before
    assert said["digest"] == Store.find().latest_record("sub/n.ipynb")
    assert record["code"]["notebook"] == "sub/n.ipynb"
    assert record["code"]["dirty"] is False, "a run makes nothing dirty"
    assert record["parameters"]["papermill"] == {"n": 5, "api_token": "***"}
    assert [c["index"] for c in record["code"]["cells"]] == [0, None, 1, 2, 3]
    (data,) = record["data"]
    assert (data["path"], data["repo_path"], data["access"], data["cell"], data["tracked"]) == (
        "d.csv", "sub/d.csv", "read", 1, True,
    )  # fmt: skip
    imported = {d["name"] for d in record["environment"]["distributions"] if d.get("imported")}
    assert "pandas" in imported
    assert not imported & {"ipykernel", "ipython", "mlrepro-nb", "blake3", "jedi"}
    assert record["randomness"]["seeds"][0]["value"] == "5"
    assert record["results"]["status"] == "ok"
    executed = Store.find().blobs.get(record["results"]["notebook"])
    assert json.loads(executed)["cells"]
    stamped = json.loads((repository / "sub" / "out.ipynb").read_text())
    assert stamped["metadata"]["_mlrepro"] == f"{said['digest']} recorded v1"


def test_a_notebook_that_raises_is_kept_and_exits_with_1(repository: Path) -> None:
    _notebook(repository / "n.ipynb", "x = 1", "raise ValueError('no good')", "never = 1")
    done = CliRunner().invoke(main, ["record", "n.ipynb"])
    assert done.exit_code == 1
    assert "cell 1: ValueError: no good" in done.stdout
    _, record = Store.find().find_record("n.ipynb")
    assert record.results.status == "error"
    assert [c.status for c in record.code.cells] == ["ok", "error"]


def test_two_runs_of_one_notebook_differ_only_in_when(repository: Path) -> None:
    from mlrepro_nb.record import record

    _notebook(repository / "n.ipynb", "import random\nrandom.seed(1)\nrandom.random()")
    (_, a), (_, b) = record(Path("n.ipynb")), record(Path("n.ipynb"))
    assert a.results.outputs == b.results.outputs
    assert a.environment == b.environment
    assert a.randomness.uses[0].after == b.randomness.uses[0].after


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["missing.ipynb"], 2, "missing.ipynb"),
        (["n.ipynb", "-f", "none.yaml"], 2, "none.yaml"),
        (["n.ipynb", "-f", "list.yaml"], 2, "no parameters"),
        (["n.ipynb", "-p", "typo", "1"], 2, "typo"),
        (["n.ipynb", "--kernel", "julia"], 3, "julia"),
        (["n.ipynb", "-o", "no/where.ipynb"], 2, "no folder"),
        (["n.ipynb", "-o", "x.ipynb", "--inplace"], 2, "exclude"),
        (["text.ipynb"], 2, "text.ipynb"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    repository: Path, arguments: list[str], code: int, says: str
) -> None:
    _notebook(repository / "n.ipynb", "x = 1", parameters="n = 1")
    (repository / "list.yaml").write_text("- 1\n")
    (repository / "text.ipynb").write_text("hello")
    before = sorted(p.name for p in repository.iterdir())
    done = CliRunner().invoke(main, ["record", *arguments])
    assert done.exit_code == code, done.output
    assert says in done.stderr
    assert "Traceback" not in done.output
    assert sorted(p.name for p in repository.iterdir()) == before


def test_without_a_repository_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    _notebook(tmp_path / "n.ipynb", "open('ran', 'w')")
    done = CliRunner().invoke(main, ["record", "n.ipynb"])
    assert done.exit_code == 3
    assert "git init" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["n.ipynb"]


def test_every_cell_that_reads_or_writes_a_file_is_told(repository: Path) -> None:
    _notebook(
        repository / "n.ipynb",
        "open('r.csv', 'w').write('1')",
        "first = open('r.csv').read()",
        "open('r.csv', 'a').write('2')",
        "print(open('r.csv').read())",
    )
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "x")
    done = CliRunner().invoke(main, ["record", "n.ipynb", "--json"])
    assert done.exit_code == 0, done.output
    told = {a["access"]: a for a in json.loads(done.stdout)["record"]["data"]}
    assert told["write"]["executions"] == [0, 2]
    assert told["read"]["executions"] == [1, 3]
    shown = CliRunner().invoke(main, ["show", "n.ipynb"]).output
    assert "cells 0, 2" in shown
    assert "cells 1, 3" in shown
    chain = CliRunner().invoke(main, ["trace", "r.csv"]).output
    assert "generated by Cell 2" in chain, chain
    assert "used by Cell 3" in chain, "what it reads is what cell 2 left"
    assert "used by Cell 1" not in chain


def test_the_script_that_a_program_runs_is_data(repository: Path) -> None:
    (repository / "tool.py").write_text("print(5)\n")
    _notebook(repository / "n.ipynb", "import sys\n!{sys.executable} tool.py")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "x")
    done = CliRunner().invoke(main, ["record", "n.ipynb", "--json"])
    assert done.exit_code == 0, done.output
    (script,) = json.loads(done.stdout)["record"]["data"]
    assert (script["repo_path"], script["access"], script["cell"]) == ("tool.py", "read", 0)
    assert script["digest"]
